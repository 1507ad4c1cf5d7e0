"""Recordings to magnitude spectrograms, or to samples."""
