"""Layers: the Kapre front end and what is built on it, as plain functions that return Keras tensors."""
