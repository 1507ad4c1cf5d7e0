"""How far lists from predicted factors agree with lists from reference factors: NumPy in, numbers out."""
