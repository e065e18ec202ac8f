"""Numbers that say how good samples are: NumPy in, floats out."""
