"""The tests: one folder for each package and room, and the whole road in end_to_end/."""
