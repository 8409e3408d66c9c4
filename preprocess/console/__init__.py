"""How a command speaks: its arguments, its progress, its processes, and the look of its pages."""
