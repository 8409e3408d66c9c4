"""Writing the page of a sweep into its folder, finished or not."""

from __future__ import annotations

from angioray.report.page import Page
from preprocess.storage import Location, open_storage
from tune.page.parameters import parameters
from tune.page.sections import sections
from tune.page.sweep import Sweep
from tune.page.words import headline, notices, subtitle

PAGE_FILE = "report.html"


def write_page(location: Location) -> str:
    """Write ``report.html`` from ``sweep.json`` and ``trials.json``: one file, without network.

    Returns:
        Where it lies.

    Raises:
        ValueError: the folder is no sweep, or its files are damaged.
    """
    folder = open_storage(location)
    sweep = Sweep.open(folder)
    searched = parameters(sweep)
    page = Page(
        title=f"Sweep of {sweep.what}",
        subtitle=subtitle(sweep),
        headline=headline(sweep, searched),
        notices=notices(sweep),
        sections=sections(sweep, searched),
        banner=sweep.banner,
    )
    folder.write_text(PAGE_FILE, page.html())
    return str(folder / PAGE_FILE)
