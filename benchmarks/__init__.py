"""Benchmarks: speed of the slow parts, compared with other libraries that do the same work."""
