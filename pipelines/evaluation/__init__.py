"""Steps that evaluate the predictions of a run and write ``evaluation.json`` and ``queries.npz``."""
