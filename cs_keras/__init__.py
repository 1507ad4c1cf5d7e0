"""Predict collaborative-filtering factors of tracks from audio, and evaluate the predictions."""

__version__ = "0.1.0"
