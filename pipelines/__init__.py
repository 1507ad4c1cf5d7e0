"""Steps of a job, one per file: settings to library calls to files."""
