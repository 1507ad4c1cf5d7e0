"""Metrics of predicted factors: overlap with the reference's lists, ranking, statistics; NumPy only."""
