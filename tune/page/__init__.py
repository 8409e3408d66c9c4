"""The page of a sweep: what was searched on whose data, what came out, at which cost."""

from tune.page.writing import write_page

__all__ = ["write_page"]
