"""Spectrogram patches in HDF5 files of other tools: layouts, and reading in blocks."""
