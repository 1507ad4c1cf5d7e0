"""Integrity of dataset folders: checks, audio fingerprints, tables rebuilt from shards."""
