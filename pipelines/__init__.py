"""Steps of a job, one per file: each takes settings, calls the library and writes files."""
