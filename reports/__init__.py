"""Saved runs and studies in, tables, plots and pages out: compares what they left behind; no TensorFlow."""
