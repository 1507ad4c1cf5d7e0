"""Tables of a report of runs: one module a table, and what they share."""
