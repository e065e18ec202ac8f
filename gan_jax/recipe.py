"""What recipes of image GANs share: the data sets that they take by name."""

from gan_jax import config as config_lib
from gan_jax import errors

IMAGES = ('celeb_a', 'cifar10', 'digits', 'fashion_mnist', 'mnist')


def on_images(recipe, argument):
    """Start a recipe on a set of images, with networks of a fitting width.

    Args:
        recipe: name of its file in configs/, without the ending.
        argument: one of `IMAGES`; 'digits' needs no download.

    Returns:
        ConfigDict of `config.default_config` with data, widths, length and
        cadences set.

    Raises:
        errors.ConfigError: for another argument.
    """
    if argument not in IMAGES:
        raise errors.ConfigError(
            errors.unknown_name(f'configs/{recipe}.py:', argument, IMAGES)
        )
    config = config_lib.default_config()
    config.data.name = argument
    if argument == 'digits':
        config.generator.width, config.discriminator.width = 24, 16
        config.num_steps = 2000
        config.sample_every = config.checkpoint_every = 500
        config.log_every = 100
        return config
    config.num_steps = 20_000
    config.sample_every = config.checkpoint_every = 1000
    if argument == 'celeb_a':
        config.data.image_size = '64'
        config.num_steps = 100_000
    return config
