"""Saved run folders in, tables out: reads what runs left behind and computes nothing anew; no TensorFlow."""
