"""The default config, and what is derived from the keys of a config."""

import re

from ml_collections import ConfigDict
from PIL import ImageColor

from gan_jax.algorithms import reconstruction
from gan_jax.config import key_table
from gan_jax.core import errors
from gan_jax.data import arrays
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax import networks
from gan_jax.objectives import losses
from gan_jax.ops import augment
from gan_jax.ops import mixtures


def default_config():
    """Make a config with every key; recipes start from it."""
    config = ConfigDict()
    for key, option in key_table.keys().items():
        *groups, name = key.split('.')
        group = config
        for part in groups:
            if part not in group:
                group[part] = ConfigDict()
            group = group[part]
        group[name] = option.default
    return config


def data_config():
    """Return the keys of one source of data, with their defaults."""
    return default_config().data


def image_size(config):
    """Parse data.image_size into (height, width), or None where it is ''.

    Raises:
        errors.ConfigError: where it is neither '64' nor '48x80'.
    """
    text = config.data.image_size
    if not text:
        return None
    match = re.fullmatch(r'(\d{1,6})(?:x(\d{1,6}))?', text, re.ASCII)
    height, width = (
        (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    )
    if height * width > pictures.MAX_PIXELS:
        raise errors.ConfigError(
            f'data.image_size={text!r} has more than {pictures.MAX_PIXELS:,} '
            'pixels'
        )
    if not height * width:
        raise errors.ConfigError(
            f"data.image_size={text!r} is not a size such as '64' or '48x80' "
            '(height x width)'
        )
    return height, width


def groups(config):
    """Name the sources that have a group of the data keys under `data`.

    () where there is one source, which has `data` itself, and for what is no
    config.
    """
    data = config.get('data')
    if not isinstance(data, ConfigDict):
        return ()
    return tuple(
        name for name, value in data.items() if isinstance(value, ConfigDict)
    )


def grouped_data(*names):
    """Return what `data` is where each of these sources has a group."""
    return ConfigDict({name: data_config() for name in names})


def of_source(config, name=None):
    """Return the config in which `data` is the group of one source.

    Args:
        config: ConfigDict of a run.
        name: of a source; by default the first of `groups`.
    """
    names = groups(config)
    if not names:
        return config
    own = config.copy_and_resolve_references()
    own.data = config.data[name or names[0]].copy_and_resolve_references()
    return own


def discriminator_name(config):
    """Name D's network: as an autoencoder where the loss is about energies."""
    name = config.discriminator.name
    if losses.LOSSES[config.loss.name].energies:
        return networks.NETWORKS[name].autoencoder or name
    return name


def encoder(config):
    """Return the module class that encodes for an algorithm.

    None for a GAN, and for codes that are a table or given.
    """
    if config.algorithm not in reconstruction.ENCODED:
        return None
    return networks.NETWORKS[config.discriminator.name].encoder


def is_conditional(config):
    """Say whether the players are told the classes of images."""
    return config.generator.condition != 'none'


def network_names(config):
    """Return the names of both networks of a config, for people."""
    return f'{config.generator.name!r} and {config.discriminator.name!r}'


def convolutional(config):
    """Say whether a network of this config convolves."""
    return any(
        networks.NETWORKS[options.name].convolutional
        for options in (config.generator, config.discriminator)
    )


def images_per_batch(config):
    """Count the real images of one batch: D judges `packing` as one."""
    return config.batch_size * config.packing


def has_mixture(config):
    """Say whether the data are points, made on the fly."""
    return not config.data.path and config.data.name in mixtures.MIXTURES


def source(config):
    """Give the name or URI of the data, of `data.sources` or a mixture."""
    if config.data.path:
        return sources.of_path(config.data.path)
    return config.data.name


def has_points(config):
    """Say whether the data are points: made on the fly, or a table's rows.

    A table is known by its file's header; where the file is not there, as on a
    machine that only samples, it counts as images.
    """
    scheme, _, path = source(config).partition(':')
    if scheme in ('npy', 'npz'):
        return arrays.axes(path) == 2
    return has_mixture(config)


def classes(config):
    """Parse data.classes into names; () is all.

    Raises:
        errors.ConfigError: where a name is empty or comes twice.
    """
    text = config.data.classes
    names = tuple(name.strip() for name in text.split(','))
    if not text.strip():
        return ()
    if '' in names or len(set(names)) < len(names):
        raise errors.ConfigError(
            f"data.classes={text!r} is not names such as '3,7', each of them "
            'once'
        )
    return names


def eval_metrics(config):
    """Parse eval_metrics into names."""
    return tuple(
        name.strip() for name in config.eval_metrics.split(',') if name.strip()
    )


def background(config):
    """Parse data.background into (red, green, blue).

    Raises:
        errors.ConfigError: where it is no colour.
    """
    try:
        colour = ImageColor.getrgb(config.data.background)[:3]
    except ValueError:
        colour = (-1,)
    if not all(0 <= part <= 255 for part in colour):
        raise errors.ConfigError(
            f'data.background={config.data.background!r} is not a colour such '
            "as 'white' or '#808080'"
        )
    return colour


def treats_labels(config):
    """Say whether D's targets differ from the hard labels."""
    return config.labels.to_dict() != default_config().labels.to_dict()


def active_augmentations(config):
    """List the augmentations that are on, sorted by name."""
    return tuple(
        name for name in sorted(augment.AUGMENTATIONS) if config.augment[name]
    )


def active_penalties(config):
    """List the penalties with a weight, sorted by name."""
    return tuple(
        name for name, options in sorted(config.penalties.items())
        if options.weight > 0
    )


def flatten(config):
    """Give {'loss.name': value, ...}, one entry a leaf, sorted by key."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, dict)):
            nested = flatten(value)
            flat.update({f'{key}.{k}': v for k, v in nested.items()})
        else:
            flat[key] = value
    return dict(sorted(flat.items()))
