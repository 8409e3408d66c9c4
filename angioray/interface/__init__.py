"""The Python interface: a cohort as a data set, and a study's trained networks on new frames.

`docs/python.md` is its page, and a test runs that page. `import angioray` loads none of it: its
names come from here when they are first used.
"""
