"""Predict a track's collaborative-filtering factors from its sound, and measure how well."""

__version__ = "0.1.0"
