"""The report tables: one module a table, and what they share."""
