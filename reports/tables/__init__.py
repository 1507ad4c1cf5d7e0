"""Tables of a report of runs, one module per table."""
