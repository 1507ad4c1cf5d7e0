"""Where files lie, on a disk or behind a URL, in the same words; and how they are read over a bad network."""
