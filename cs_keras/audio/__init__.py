"""Recordings to magnitude spectrograms."""
