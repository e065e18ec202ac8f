"""DCGAN."""

from gan_jax.config import default_config

def get_config(arg=None):
    config = default_config()
    config.generator.width = 32
    config.discriminator.width = 32
    if arg: config.data.name = arg
    return config
