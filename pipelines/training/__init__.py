"""Steps that train one baseline: settings and a dataset in, a run folder out."""
