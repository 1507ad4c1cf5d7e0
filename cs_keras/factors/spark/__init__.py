"""Interactions that Apache Spark reads and factorises, for more of them than one process holds."""
