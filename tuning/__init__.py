"""Keras Tuner over the baselines: their search spaces, front end included."""
