"""Tables that a single command prints: ``factors --select``, ``genres``, ``hybrid`` and ``size-study``."""
