"""Settings of official StyleGAN2 networks, from their pickles to our config.

Checks that the networks are those of stylegan2-ada-pytorch, or StyleGAN2 of
the stylegan3 repository, and are such that ours can be the same. Knows neither
our networks' parameters nor run folders.

A `pickles.FormatError` has a message that follows the name of the file.
"""

import re
from typing import NamedTuple, Optional, Tuple

import numpy as np

from gan_jax.core import pickles
from gan_jax.core import torch_pickles
from gan_jax.data import sources
from gan_jax.networks import r3gan

FormatError = pickles.FormatError

NETWORKS = {'G': 'Generator', 'D': 'Discriminator', 'G_ema': 'Generator'}
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64  # of all resampling
MAX_SIDE = 2**13  # of images
MAX_GROUP = 2**16  # of D's minibatch deviation
MAX_CLASSES = 2**16
CLASS_LAYERS = 8  # of D's mapping in the authors' code
RESUMED_IMAGES = 100_000  # in which ADA's probability can go from 0 to 1
PLAIN = (str, int, float, type(None))
BGC = {  # factors of the probabilities of ADA's augmentations
    **dict.fromkeys((
        'xflip', 'rotate90', 'xint', 'scale', 'rotate', 'aniso', 'xfrac',
        'brightness', 'contrast', 'lumaflip', 'hue', 'saturation',
    ), 1),
    **dict.fromkeys(('imgfilter', 'noise', 'cutout'), 0),
}
# What an attribute of a module may be where a module has it: pattern of the
# module's name, attribute, values.
ALLOWED = (
    (r'G.*', 'architecture', ('skip',)),
    (r'D.*', 'architecture', ('resnet', 'orig')),
    (r'.*\.(affine|torgb|skip|embed|out)', 'activation', ('linear',)),
    (r'.*\.(conv\d?|fc\d*|fromrgb)', 'activation', ('lrelu',)),
    (r'.*\.mapping\.fc\d+', 'bias_gain', (0.01,)),
    (r'.*\.(affine|embed|out|b4\.fc)', 'bias_gain', (1,)),
    (r'.*', 'use_noise', (True,)),
    # Theirs guards float16 and acts in float32 too; ours in bfloat16 alone.
    (r'.*', 'conv_clamp', (None, 256)),
    (r'D\.b4\.mbstd', 'num_channels', (1,)),
)


class Settings(NamedTuple):
    """Settings that G and D are built from.

    Attributes:
        image_shape: (side, side, channels).
        num_classes: number of classes; 0 if there are none.
        latent_size: length of z and of w.
        mapping_layers: dense layers of G's mapping.
        g_widths, d_widths: (width, full_side) of either network.
        residual: whether D has skips.
        class_layers: dense layers of D's mapping of classes.
        stddev_group: samples in a group of D's minibatch deviation.
        low_precision: whether the largest maps were computed in float16, or
            values clamped for it.
        probability: that of ADA in the end, at most 1; None without ADA.
        other_augmentations: whether these were not ADA's 'bgc'.
    """

    image_shape: Tuple[int, int, int]
    num_classes: int
    latent_size: int
    mapping_layers: int
    g_widths: Tuple[int, int]
    d_widths: Tuple[int, int]
    residual: bool
    class_layers: int
    stddev_group: int
    low_precision: bool
    probability: Optional[float]
    other_augmentations: bool = False


def read(content):
    """Read the settings of a pickle's networks, and check them.

    Args:
        content: as of `torch_pickles.load`.

    Returns:
        (`Settings`, {key of `NETWORKS`: {dotted name: array}}).

    Raises:
        pickles.FormatError: where the pickle holds other networks, or such
            that ours cannot be the same.
    """
    networks = {name: _modules(content, name) for name in NETWORKS}
    tensors = {
        name: torch_pickles.tensors(content[name]) for name in NETWORKS
    }
    for name, modules in networks.items():
        _check_attributes(name, modules)
        _check_filters(name, tensors[name])
        for key in ('img_resolution', 'img_channels', 'c_dim'):
            number = _number(networks['D'], 'D', '', key)
            if _number(modules, name, '', key) != number:
                raise FormatError(f'has networks that differ in {key}')
    generator, discriminator = networks['G_ema'], networks['D']

    def g_number(module, key):
        return _number(generator, 'G_ema', module, key)

    side, classes = g_number('', 'img_resolution'), g_number('', 'c_dim')
    if not 8 <= side <= MAX_SIDE or side & (side - 1):
        raise FormatError(
            f'has images of side {side}; gan_jax takes powers of 2 from 8'
        )
    latent_size, w_size = g_number('', 'z_dim'), g_number('', 'w_dim')
    if w_size != latent_size:
        raise FormatError(
            f'has z_dim={latent_size} and w_dim={w_size}; w of gan_jax has the '
            'length of z'
        )
    shape = (side, side, g_number('', 'img_channels'))
    probability, other_augmentations = _augmentations(
        content.get('augment_pipe')
    )
    return Settings(
        image_shape=shape,
        num_classes=classes,
        latent_size=latent_size,
        mapping_layers=g_number('mapping', 'num_layers'),
        g_widths=_widths(
            'G_ema', tensors['G_ema'], shape, 'synthesis.b{}.conv1'
        ),
        d_widths=_widths('D', tensors['D'], shape, 'b{}.conv0', 'b4.conv'),
        residual=f'b{side}.skip' in discriminator,
        class_layers=(
            _number(discriminator, 'D', 'mapping', 'num_layers')
            if classes else CLASS_LAYERS
        ),
        stddev_group=_number(discriminator, 'D', 'b4.mbstd', 'group_size'),
        low_precision=any(
            module.state.get('use_fp16') is True
            or module.state.get('conv_clamp') is not None
            for name in ('G_ema', 'D') for module in networks[name].values()
        ),
        probability=probability,
        other_augmentations=other_augmentations,
    ), tensors


def recipe(settings):
    """Return the argument of the recipe stylegan2 that is nearest."""
    # The authors leave the skips of D out for CIFAR-10 alone.
    return f'auto_{settings.image_shape[0]}' if settings.residual else 'cifar10'


def configure(config, settings, data):
    """Set the keys of a recipe's config to what the networks need.

    As the authors do when they resume, G's average has its full half-life from
    the start, and ADA's probability moves five times as fast.

    Args:
        config: ConfigDict of `recipe`, which is changed.
        settings: `Settings`.
        data: {key of `data`: value} that the user sets; without a path or name
            the data are `sources.UNKNOWN`.
    """
    conditional = settings.num_classes > 0
    config.generator.condition = 'concat' if conditional else 'none'
    config.discriminator.condition = 'projection' if conditional else 'none'
    config.latent_size = settings.latent_size
    config.dtype = 'float32'
    config.generator.mapping_layers = settings.mapping_layers
    config.discriminator.mapping_layers = settings.class_layers
    config.discriminator.residual = settings.residual
    config.discriminator.stddev_group = settings.stddev_group
    for player, (width, full_side) in (
        (config.generator, settings.g_widths),
        (config.discriminator, settings.d_widths),
    ):
        player.width, player.full_side = width, full_side
    # Without a ramp the average would have a warm-up, which forgets G_ema; a
    # half-life that moves, be it to itself, has none (see `annealing`).
    config.ema_ramp = 0.0
    config.anneal.images = 1
    config.anneal.ema_half_life = config.ema_half_life
    if settings.probability is not None:
        config.augment.adaptive = True
        config.augment.adaptive_images = RESUMED_IMAGES
    config.data.name = sources.UNKNOWN
    config.data.image_size = str(settings.image_shape[0])
    config.data.channels = settings.image_shape[2]
    for key, value in data.items():
        config.data[key] = value


def _modules(content, name):
    """Return {dotted name: Instance} of one network of a pickle."""
    if type(content) is not dict or name not in content:
        raise FormatError(
            f'has no {name}: gan_jax reads files with G, D and G_ema, as the '
            "authors' training saves them"
        )
    modules = torch_pickles.modules(content[name])
    kind = modules[''].class_name
    if any(re.fullmatch(r'synthesis\.L\d+_\w*', each) for each in modules):
        raise FormatError(
            f'has a generator of StyleGAN3 as {name}; only StyleGAN2 is '
            'converted'
        )
    first = 'b4.fc' if name == 'D' else 'synthesis.b4'
    if kind != NETWORKS[name] or first not in modules:
        raise FormatError(
            f'has a {pickles.show(kind)} as {name} that is no '
            f'{NETWORKS[name]} of StyleGAN2'
        )
    return modules


def _number(modules, network, module, attribute):
    """Return an attribute of a module that must be an integer, not negative.

    The group of None is the whole batch.
    """
    state = modules[module].state if module in modules else {}
    value = state.get(attribute)
    if value is None and attribute == 'group_size' and attribute in state:
        return MAX_GROUP
    least = int(attribute not in ('c_dim', 'num_layers'))
    most = MAX_CLASSES if attribute == 'c_dim' else 2**31 - 1
    if type(value) is not int or not least <= value <= most:
        name = '.'.join(filter(None, (network, module, attribute)))
        raise FormatError(
            f'has {name}={pickles.show(value)}, and needs a number from '
            f'{least} to {most:,}'
        )
    return value


def _check_attributes(network, modules):
    """Check the attributes of `ALLOWED`."""
    for own, module in modules.items():
        name = f'{network}.{own}'
        for pattern, attribute, values in ALLOWED:
            if attribute not in module.state or (
                    not re.fullmatch(pattern, name)):
                continue
            value = module.state[attribute]
            if not isinstance(value, PLAIN) or value not in values:
                raise FormatError(
                    f'has {pickles.show(name)} with {attribute}='
                    f'{pickles.show(value)}; gan_jax has only '
                    f'{" or ".join(map(repr, values))}'
                )


def _check_filters(network, tensors):
    """Check that all resampling is by `FILTER`; 1x1 layers have it unused."""
    for name, value in tensors.items():
        if name.endswith('resample_filter') and not (
                value.shape == FILTER.shape and np.allclose(value, FILTER)):
            raise FormatError(
                f'has {network}.{pickles.show(name)} that is not [1, 3, 3, 1], '
                'the only filter of gan_jax'
            )


def _widths(network, tensors, image_shape, pattern, first=''):
    """Return (width, full_side) that give the channels of all stages.

    Args:
        network: its name.
        tensors: {dotted name: array}.
        image_shape: (side, side, channels).
        pattern: name of a convolution that keeps the channels, for a side.
        first: its name for the side 4, where it is another one.
    """
    sides = [2**k for k in range(2, image_shape[0].bit_length())]
    channels = []
    for side in sides:
        name = (side == 4 and first) or pattern.format(side)
        if f'{name}.weight' not in tensors:
            raise FormatError(f'lacks {network}.{name}.weight')
        channels.append(sum(tensors[f'{name}.weight'].shape[:1]))
    width = max(channels[0], 1)
    full_side = next((
        side * count // width for side, count in zip(sides, channels)
        if count < width
    ), sides[-1])
    full_side = max(full_side, 1)
    if r3gan.stage_widths(image_shape, width, full_side) != channels:
        raise FormatError(
            f'has {network} with {channels} channels from 4x4 on; gan_jax '
            'halves them with each doubling of the side from one side on'
        )
    return width, full_side


def _augmentations(pipe):
    """Return the probability of ADA, and whether it is not that of 'bgc'.

    Args:
        pipe: `Instance` of the authors' augmentations, or None.

    Returns:
        (float or None, bool).
    """
    if pipe is None:
        return None, False
    value = torch_pickles.tensors(pipe).get('p')
    if value is None or value.shape or not 0 <= value < np.inf:
        raise FormatError('has an augment_pipe without p')
    # The authors' p has no upper bound; from 1 on it changes nothing.
    return min(float(value), 1.0), any(
        pipe.state.get(name, factor) != factor
        for name, factor in BGC.items()
        if isinstance(pipe.state.get(name, factor), PLAIN)
    )
