"""The report of a tuner study."""
