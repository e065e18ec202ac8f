"""Metrics of samples: NumPy arrays in, floats out.

`catalog` lists the names, `registry` computes each by name beside its floor,
and every other module holds one metric. Nothing here imports jax.
"""
