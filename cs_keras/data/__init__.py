"""Dataset folders: schema, shards, folds, reading as tf.data, and the synthetic demo music."""
