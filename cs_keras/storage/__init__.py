"""Files on a disk or behind a URL: locations, retried requests, caches."""
