"""Steps that evaluate predictions: a run in, ``evaluation.json`` and its companions out."""
