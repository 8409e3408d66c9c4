"""A cohort in the formats of other tools, and what was drawn there back into it.

A format is a module with ``write_cine``, which writes the pictures and boxes of one cine, and
``finish``, which writes what belongs to all of them. Pictures have 8 bits, as a reader sees them.
What comes back is read by ``annotations``; ``correct.py`` compares it with the cohort.
"""
