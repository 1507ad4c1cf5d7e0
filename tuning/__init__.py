"""Hyperparameter search over the baselines with Keras Tuner, front end included."""
