"""Names as text that a terminal, a table or a page can show."""

MAX_LENGTH = 200  # characters of a name on a page


def printable(text: str) -> str:
    """Replace line breaks, terminal controls and bidirectional marks by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def shorten(text: str, length: int = MAX_LENGTH) -> str:
    """Return printable text of at most `length` characters, the last one an ellipsis if it was cut."""
    shown = printable(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
