"""Steps that make, check and repair dataset folders: recordings, items or patch files in, shards out."""
