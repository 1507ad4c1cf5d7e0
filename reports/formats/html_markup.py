"""HTML from text that is data: everything is escaped on its way in, so that no name becomes markup."""

import html

from reports.formats.markdown_csv import printable

VOID = ("link", "meta")  # elements that have no content
MAX_LENGTH = 200  # characters of a name that a page shows


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def element(tag: str, /, *content: str, **attributes: str | float | bool | None) -> Markup:
    """Return an HTML element.

    Parameters
    ----------
    tag
        Such as ``td``.
    content
        Escaped, unless it is `Markup`.
    attributes
        By name, with underscores for hyphens and one behind names that Python reserves (``class_``). True gives the
        bare attribute; None and False give none.
    """
    written = "".join(
        f" {_attribute(key)}" if value is True else f' {_attribute(key)}="{_escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*content)}</{tag}>")


def join(*content: str) -> Markup:
    """Return pieces one after the other: text escaped, markup as it is."""
    return Markup("".join(piece if isinstance(piece, Markup) else _escape(piece) for piece in content))


def shorten(text: str) -> str:
    """Return a name of no more characters than a page has room for, without controls and marks that reorder it."""
    shown = printable(text)
    return shown if len(shown) <= MAX_LENGTH else f"{shown[: MAX_LENGTH - 1]}…"


def _attribute(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _escape(text: str) -> str:
    return html.escape(printable(text))
