"""Jinja2 templates of the HTML report. Names are data: every value is escaped and made printable."""

from typing import Any

import jinja2
from markupsafe import Markup

from reports.formats.text import printable, shorten


def _finalize(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("reports"),
    autoescape=True,
    finalize=_finalize,
    lstrip_blocks=True,
    trim_blocks=True,
    undefined=jinja2.StrictUndefined,
)
ENVIRONMENT.filters["shorten"] = shorten
