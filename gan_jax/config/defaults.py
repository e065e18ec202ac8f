"""The default config, and values derived from a config.

Parses text keys, such as sizes and lists of names, and derives what several
modules need to know of a config. Builds no objects; see `builders`.
"""

import contextlib
import math
import os
import re

from ml_collections import ConfigDict
from PIL import ImageColor

from gan_jax.algorithms import reconstruction
from gan_jax.config import key_table
from gan_jax.core import errors
from gan_jax.data import arrays
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.data import tasks
from gan_jax import networks
from gan_jax.objectives import losses
from gan_jax.ops import augment
from gan_jax.ops import mixtures

PLAYERS = ('generator', 'discriminator')  # keys of networks


def default_config():
    """Create a config of all keys with their defaults."""
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
    return _size('data.image_size', config.data.image_size)


def random_crop(config):
    """Parse data.random_crop, as `image_size` does, and compare the two.

    Raises:
        errors.ConfigError: where it is no size, or larger than the images.
    """
    crop = _size('data.random_crop', config.data.random_crop)
    size = image_size(config)
    if crop and size and (crop[0] > size[0] or crop[1] > size[1]):
        raise errors.ConfigError(
            f'data.random_crop={config.data.random_crop!r} is larger than '
            f'data.image_size={config.data.image_size!r}'
        )
    return crop


def _size(key, text):
    """Parse the text of a size into (height, width), or None where it is ''."""
    if not text:
        return None
    match = re.fullmatch(r'(\d{1,6})(?:x(\d{1,6}))?', text, re.ASCII)
    height, width = (
        (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    )
    if height * width > pictures.MAX_PIXELS:
        raise errors.ConfigError(
            f'{key}={text!r} has more than {pictures.MAX_PIXELS:,} pixels'
        )
    if not height * width:
        raise errors.ConfigError(
            f"{key}={text!r} is not a size such as '64' or '48x80' (height x "
            'width)'
        )
    return height, width


def groups(config):
    """List the sources that have a group of data keys of their own in `data`.

    The result is () for a single source, whose keys are in `data` itself, and
    for an object that is not a config.
    """
    data = config.get('data')
    if not isinstance(data, ConfigDict):
        return ()
    return tuple(
        name for name, value in data.items() if isinstance(value, ConfigDict)
    )


def grouped_data(*names):
    """Return the value of `data` with a group of keys for each source.

    A key of `data` itself sets the keys of all groups that are not set in the
    group. There is no default name.
    """
    data = data_config()
    data.name = ''
    keys = list(data)
    for name in names:
        data[name] = ConfigDict({key: data.get_oneway_ref(key) for key in keys})
    return data


def of_source(config, name=None):
    """Return the config in which `data` is the group of one source.

    If two sources share their images, the first one gets `data.side` 'A' and
    the second 'B', unless it is set; the other one gets the other side then.

    Args:
        config: ConfigDict of a run.
        name: of the source; by default the first of `groups`.
    """
    names = groups(config)
    if not names:
        return config
    name = name or names[0]
    own = config.copy_and_resolve_references()
    own.data = config.data[name].copy_and_resolve_references()
    if own.data.get('side') == '' and _share_images(config, names):
        number = names.index(name)
        other = config.data[names[1 - number]].get('side')
        if other in tasks.SIDES:
            number = 1 - tasks.SIDES.index(other)
        own.data.side = tasks.SIDES[number]
    return own


def origin(data):
    """Return the path or name of a group of `data`, in one spelling.

    It is None where both keys are missing, which `validation` reports later.
    """
    if data.get('path'):
        return os.path.normpath(os.path.expanduser(data.path))
    return data.get('name')


def _share_images(config, names):
    """Return whether one source of images holds the domains of two groups."""
    groups = [config.data[name] for name in names]
    origins = {origin(group) for group in groups}
    parts = {(group.get('split'), group.get('classes')) for group in groups}
    is_one = len(origins) == len(parts) == 1
    if len(groups) != 2 or origins & set(mixtures.MIXTURES) or (
            is_one and _is_table(groups[0].get('path'))):
        return False
    return is_one or any(group.get('task') for group in groups)


@contextlib.contextmanager
def naming(config, name):
    """Add the name of a source to the keys in errors, data.KEY, if it has one.

    Args:
        config: ConfigDict of a run.
        name: of the source.
    """
    try:
        yield
    except errors.UserError as error:
        if name not in groups(config):
            raise
        keys = '|'.join(config.data[name])
        text = re.sub(
            rf'(?<![\w./\'"])data\.(?=({keys})\b)', f'data.{name}.', str(error)
        )
        raise type(error)(text) from error


def discriminator_name(config):
    """Return the name of D's network, an autoencoder for energy losses."""
    name = config.discriminator.name
    if losses.LOSSES[config.loss.name].energies:
        return networks.FAMILIES[name].autoencoder or name
    return name


def encoder(config):
    """Return the module class of the encoder.

    None for a GAN, and for algorithms whose codes are a table or known.
    """
    if config.algorithm not in reconstruction.ENCODED:
        return None
    return networks.FAMILIES[config.discriminator.name].encoder


def is_conditional(config):
    """Return whether the networks are conditioned on class labels."""
    return config.generator.condition != 'none'


def network_names(config):
    """Return the names of both networks, for messages."""
    return f'{config.generator.name!r} and {config.discriminator.name!r}'


def convolutional(config):
    """Return whether a network of a config has convolutions."""
    return any(
        networks.FAMILIES[options.name].convolutional
        for options in (config.generator, config.discriminator)
    )


def images_per_batch(config):
    """Count the real images of one batch, `packing` for each output of D."""
    return config.batch_size * config.packing


def has_mixture(config):
    """Return whether the data are points generated on the fly."""
    return not config.data.path and config.data.name in mixtures.MIXTURES


def source(config):
    """Return the name or URI of the data, for `data.sources` or `mixtures`."""
    if config.data.path:
        return sources.uri_of_path(config.data.path)
    return config.data.name


def has_points(config):
    """Return whether the data are points: generated, or rows of a table.

    A table is recognised by its file's header. Where the file is missing, as on
    a machine that only samples, the data count as images.
    """
    return _is_table(config.data.path) or has_mixture(config)


def names_linear_output(config):
    """Return whether the config makes the last layer of G linear."""
    return config.generator.output == 'linear'


def _is_table(path):
    """Return whether a path is that of rows of numbers."""
    scheme, _, file = sources.uri_of_path(path or '').partition(':')
    return scheme in ('npy', 'npz') and arrays.axes(file) == 2


def classes(config):
    """Parse data.classes into names; () is all classes.

    Raises:
        errors.ConfigError: where a name is empty or occurs twice.
    """
    text = config.data.classes
    names = tuple(name.strip() for name in text.split(','))
    if not text.strip():
        return ()
    if '' in names or len(set(names)) < len(names):
        raise errors.ConfigError(
            f"data.classes={text!r} is not a list such as '3,7' of different "
            'names'
        )
    return names


def eval_metrics(config):
    """Parse eval_metrics into a tuple of names."""
    return _names(config.eval_metrics)


def frozen(config):
    """Parse freeze into a tuple of patterns."""
    return _names(config.freeze)


def init_players(config):
    """Parse init_players into a tuple of names; () is all."""
    return _names(config.init_players)


def loggers(config):
    """Parse loggers into a tuple of names."""
    return _names(config.loggers)


def _names(text):
    """Parse a text of names joined by commas into a tuple."""
    return tuple(name.strip() for name in text.split(',') if name.strip())


def limits(config):
    """Parse data.range into floats: low and high, of all channels or of each.

    Raises:
        errors.ConfigError: where they are not pairs of rising finite numbers.
    """
    try:
        numbers = tuple(map(float, _names(config.data.range)))
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        valid = all(-math.inf < low < high < math.inf for low, high in pairs)
    except ValueError:
        valid = False
    if not valid:
        raise errors.ConfigError(
            f"data.range={config.data.range!r} is not 'low,high', such as "
            "'-40,60', or such a pair for each channel"
        )
    return numbers


def shown_channels(config):
    """Parse data.shown into a tuple of channels.

    Raises:
        errors.ConfigError: where it is not 1 or 3 of them.
    """
    names = _names(config.data.shown)
    if len(names) not in (0, 1, 3) or not all(
            name.isdecimal() and len(name) < 4 for name in names):
        raise errors.ConfigError(
            f"data.shown={config.data.shown!r} is not 1 or 3 channels, such as "
            "'3,2,1'"
        )
    return tuple(map(int, names))


def background(config):
    """Parse data.background into (red, green, blue).

    Raises:
        errors.ConfigError: where it is not a color.
    """
    try:
        color = ImageColor.getrgb(config.data.background)[:3]
    except ValueError:
        color = (-1,)
    if not all(0 <= part <= 255 for part in color):
        raise errors.ConfigError(
            f'data.background={config.data.background!r} is not a color such '
            "as 'white' or '#808080'"
        )
    return color


def treats_labels(config):
    """Return whether D's targets differ from the hard labels."""
    return config.labels.to_dict() != default_config().labels.to_dict()


def active_augmentations(config):
    """List the names of the augmentations that are on, sorted.

    An adaptive probability without one of them means ADA, hence its 'bgc'.
    """
    names = tuple(
        name for name in sorted(augment.AUGMENTATIONS) if config.augment[name]
    )
    return names or ('bgc',) * bool(config.augment.adaptive)


def annealed(config):
    """List the names of `annealing.MOVING` that move, those not at defaults."""
    default = default_config().anneal
    return tuple(
        name for name, value in config.anneal.items()
        if name != 'images' and value != default[name]
    )


def active_penalties(config):
    """List the names of the penalties with a positive weight, sorted."""
    return tuple(
        name for name, options in sorted(config.penalties.items())
        if options.weight > 0
    )


def flatten(config):
    """Flatten a config into {'loss.name': value, ...}, sorted by key."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, dict)):
            nested = flatten(value)
            flat.update({f'{key}.{k}': v for k, v in nested.items()})
        else:
            flat[key] = value
    return dict(sorted(flat.items()))
