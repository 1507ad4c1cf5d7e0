"""Interactions to collaborative-filtering factors: interaction files, weighted matrix factorisation, scaling."""
