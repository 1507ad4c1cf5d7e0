"""Dataset folders: tables, shards, folds and reading as tf.data."""
