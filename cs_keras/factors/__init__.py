"""Listening data to collaborative-filtering factors: interactions, weighted matrix factorisation, scaling."""
