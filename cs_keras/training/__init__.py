"""Fitting networks and codebooks, and predicting tracks."""
