"""Errors for users; their common root distinguishes them from defects of the program.

Each message is one sentence: what was wrong, what was expected, and what was received.
"""


class CsKerasError(Exception):
    """Root of all errors that are caused by input, settings or the machine."""


class ConfigError(CsKerasError, ValueError):
    """A setting has an unknown name or a value outside its range."""


class DataError(CsKerasError, ValueError):
    """A table, an array or a dataset has invalid content."""


class AudioError(DataError):
    """One recording cannot be used: unreadable, silent, too short or not finite."""


class StorageError(CsKerasError, OSError):
    """A file or folder cannot be read or written, or is damaged."""


class UnreachableError(StorageError):
    """A file cannot be reached because of the network, the server or a permission; it may be intact."""
