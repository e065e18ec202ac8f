"""Commands of `python -m gan_jax`, one module each.

A module holds the flags of its command and a `main`; the work is done by the
rooms below. Heavy imports are inside `main`, so that --help is quick.
"""
