"""How things are run: one step per file, from settings through the library to files."""
