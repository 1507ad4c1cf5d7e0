"""Words of messages."""


def count(n: int, noun: str) -> str:
    """Return ``1 track`` or ``2 tracks``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
