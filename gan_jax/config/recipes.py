"""Shared parts of the recipes in configs/: loading, settings by data set."""

import importlib.util
import pathlib

from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.ops import mixtures

IMAGES = (
    'celeb_a', 'cifar10', 'digits', 'fashion_mnist', 'images', 'mnist',
    'stacked_mnist',
)


def load(path, argument=''):
    """Load the config of a recipe, as --config=path:argument does.

    Args:
        path: of a file with `get_config`.
        argument: text after the colon; '' is the recipe's default.

    Returns:
        ConfigDict.
    """
    spec = importlib.util.spec_from_file_location(
        pathlib.Path(path).stem, path
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*([argument] if argument else []))


def on_images(
    recipe, argument, players=('generator', 'discriminator'), sizes=(),
):
    """Create the config of a recipe on images.

    Args:
        recipe: name of its file in configs/, without the suffix.
        argument: one of `IMAGES`; 'digits' needs no download, and 'images' are
            those of data.path, resized to 64x64.
        players: keys of the networks that the recipe uses.
        sizes: the recipe's other arguments 'images_256', ...: images of
            data.path, resized to that side.

    Returns:
        `defaults.default_config` with data, widths, number of steps and
        cadences set.

    Raises:
        errors.ConfigError: for another argument.
    """
    _check(recipe, argument, (*IMAGES, *sizes))
    config = defaults.default_config()
    config.data.name = argument
    if argument == 'digits':
        for player in players:
            config[player].width = 24 if player == 'generator' else 16
        config.num_steps = 2000
        config.sample_every = config.checkpoint_every = 500
        config.log_every = 100
        return config
    config.num_steps = 20_000
    config.sample_every = config.checkpoint_every = 1000
    if argument == 'images' or argument in sizes:
        config.data.name = ''
        config.data.image_size = argument.partition('_')[2] or '64'
    if argument == 'celeb_a':
        config.data.image_size = '64'
        config.num_steps = 100_000
    return config


def with_patchgan(recipe, argument):
    """Create the config of a residual autoencoder with a PatchGAN.

    Args:
        recipe: name of its file in configs/, without the suffix; also the name
            of the algorithm.
        argument: one of `IMAGES`.

    Returns:
        `defaults.default_config` with data, networks, losses and cadences set.

    Raises:
        errors.ConfigError: for another argument.
    """
    config = on_images(recipe, argument)
    config.algorithm, config.latent, config.latent_size = recipe, 'fitted', 4
    generator, discriminator = config.generator, config.discriminator
    small = argument == 'digits'
    generator.name, generator.norm = 'resnet_autoencoder', 'group'
    generator.width, generator.num_blocks = (8, 1) if small else (32, 2)
    discriminator.name, discriminator.norm = 'patchgan', 'none'
    discriminator.width, discriminator.depth = (16, 2) if small else (32, 3)
    config.batch_size = 16 if small else 32
    config.loss.name = 'hinge'
    config.reconstruction.error = 'l1'
    config.reconstruction.adversarial = 0.1
    config.reconstruction.start = config.num_steps // 4
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1, optimizer.b2 = 5e-4, 0.5, 0.9
    return config


def on_points(recipe, argument):
    """Create the config of a recipe on points: MLPs with 2 layers of 128 units.

    Args:
        recipe: name of its file in configs/, without the suffix.
        argument: one of `mixtures.MIXTURES`.

    Returns:
        `defaults.default_config` with data, networks, batch size and cadences
        set.

    Raises:
        errors.ConfigError: for another argument.
    """
    _check(recipe, argument, mixtures.MIXTURES)
    config = defaults.default_config()
    config.data.name = argument
    for player in (config.generator, config.discriminator):
        player.name, player.norm, player.width = 'mlp', 'none', 128
    config.batch_size = 512
    config.log_every = config.sample_every = config.eval_every = 1000
    config.checkpoint_every = 5000
    return config


def between_domains(recipe, argument, sizes):
    """Create the config of a recipe that translates images.

    Both optimizers are Adam with b1 of 0.5, as in CycleGAN and pix2pix, and the
    rates are held for half of the steps and then fall linearly to 0.

    Args:
        recipe: name of its file in configs/, without the suffix; also the name
            of the algorithm.
        argument: one of the keys of `sizes`. 'digits' need no download; others
            are images of data.path, which are mirrored and cropped at random.
        sizes: {argument: (width of G, width of D, depth of D, data.image_size,
            data.random_crop, batch size, steps)}.

    Returns:
        `defaults.default_config` with groups of data keys for a and b.

    Raises:
        errors.ConfigError: for another argument.
    """
    _check(recipe, argument, sizes)
    config = defaults.default_config()
    config.algorithm = recipe
    config.data = data = defaults.grouped_data('a', 'b')
    (
        config.generator.width, config.discriminator.width,
        config.discriminator.depth, data.image_size, data.random_crop,
        config.batch_size, config.num_steps,
    ) = sizes[argument]
    if argument == 'digits':
        data.name, data.test_share = 'digits', 0.1
    else:
        data.flip, data.crop = True, 'stretch'
    config.discriminator.name = 'patchgan'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.schedule = 0.5, 'linear'
        optimizer.schedule_steps = config.num_steps
        optimizer.hold_steps = config.num_steps // 2
    config.sample_every = config.checkpoint_every = 1000
    config.log_every = 100
    return config


def _check(recipe, argument, arguments):
    if argument not in arguments:
        raise errors.ConfigError(
            errors.unknown_name(f'configs/{recipe}.py:', argument, arguments)
        )
