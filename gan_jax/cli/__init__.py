"""The commands: a module each, listed by `python -m gan_jax`."""
