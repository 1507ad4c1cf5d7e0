"""Whether a dataset folder is whole: checks, audio fingerprints, tables rebuilt from shards."""
