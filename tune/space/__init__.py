"""The space of a search: its YAML file, its parameters and their conditions."""
