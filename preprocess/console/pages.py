"""HTML pages: one file each, that needs no network and runs no script but its own.

Names in a page come from a person's sheets, or from a cohort that somebody else has made. They are
escaped everywhere, and a policy in the page forbids scripts and addresses that are not its own.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup


def render(package: str, template: str, *, style: str, script: str = "", **values: Any) -> str:
    """A page from a template in ``package``.

    Args:
        package: that has the files.
        template: the name of a Jinja template. It has ``policy``, ``style`` and ``script`` besides
            the values, and a filter ``svg`` for markup that this project has made itself.
        style: the name of the CSS that the page has besides the style of every page.
        script: the name of its JavaScript; without one it runs none.
        values: what the template shows.
    """
    code = _text(package, script) if script else ""
    return render_part(
        package,
        template,
        policy=_policy(code),
        style=Markup(_text("preprocess.console", "page.css") + _text(package, style)),
        script=Markup(code),
        **values,
    )


def render_part(package: str, template: str, **values: Any) -> str:
    """A part of a page from a template in ``package``, which a page takes by the filter ``svg``."""
    return _template(package, template).render(**values)


@cache  # a page may have thousands of parts, and compiling takes longer than rendering
def _template(package: str, name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["svg"] = Markup
    return environment.from_string(_text(package, name))


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """The page's Content-Security-Policy (W3C, level 3).

    Figures have their style in attributes, which no hash can allow; a style can load nothing here.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if script else "'none'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
