"""Patch files made elsewhere: their layouts, and reading them a block at a time."""
