"""Steps that make, check and repair dataset folders, from recordings, items or patch files."""
