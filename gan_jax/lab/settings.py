"""Settings of the lab: controls, bounds, checks, and their JSON and link.

A field of `Gan` or `Settings` is the only declaration of a control: its bounds,
label and explanation. The page builds its controls from `schema`. The menus
hold the names of the library's registries.
"""

import dataclasses
import math
import urllib.parse

from gan_jax.algorithms import update_order
from gan_jax.algorithms import latents
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.lab import drawing as drawing_lib
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.ops import optimizers

MOST_GANS = 4
MOST_LINK = 8192  # characters

# Losses of energies need an autoencoder as D.
LOSSES_LEFT_OUT = tuple(
    name for name, loss in losses.LOSSES.items() if loss.energies
)
LOSSES = {  # the default first
    name: losses.LOSSES[name].title or name
    for name in dict.fromkeys(['non_saturating', *losses.LOSSES])
    if name not in LOSSES_LEFT_OUT
}

# Some penalties need images or labels.
PENALTIES_LEFT_OUT = tuple(
    name for name, penalty in penalties.PENALTIES.items()
    if penalty.images or penalty.classes
)
# name: (label, explanation, initial weight)
PENALTIES = {
    name: (
        penalty.title or name,
        penalty.lab_text or penalty.fn.__doc__.partition('\n')[0],
        penalty.lab_weight,
    )
    for name, penalty in penalties.PENALTIES.items()
    if name not in PENALTIES_LEFT_OUT
}
MOST_WEIGHT = 1000.0


def _menu(registry, left_out, **labels):
    """Return {name: label} of a registry, without the names left out."""
    return {
        name: labels.get(name, name) for name in registry
        if name not in left_out
    }


# The lab compiles one variant of a step, and these two need several.
SCHEDULES_LEFT_OUT = ('adaptive', 'wgan')
_unroll_steps, = update_order.OPTIONS['unrolled']
SCHEDULES = _menu(
    update_order.SCHEDULES, SCHEDULES_LEFT_OUT, alternating='Alternating',
    simultaneous='Simultaneous',
    unrolled=f'Unrolled, {_unroll_steps.default} updates of D ahead',
)
# A fitted latent needs an encoder. The pictures draw a grid of z, for which
# they need the quantiles of each coordinate, and a sphere has none.
LATENTS_LEFT_OUT = ('fitted', 'sphere')
LATENTS = _menu(
    latents.LATENTS, LATENTS_LEFT_OUT, gaussian='Gaussian',
    uniform='Uniform in [-1, 1)',
)
OPTIMIZERS = _menu(
    optimizers.OPTIMIZERS, (), adam='Adam', rmsprop='RMSProp', sgd='SGD',
)

# Headings of the groups of controls of a GAN.
GROUPS = {
    'rules': 'Basics', 'moves': 'Training', 'sizes': 'Networks',
    'shown': 'Display',
}


def _field(default, label, words, **about):
    about = {
        'label': label, 'words': words, 'live': False, 'group': 'rules',
        **about,
    }
    return dataclasses.field(default=default, metadata=about)


def _number(default, low, high, label, words, **about):
    """Return a field of a number in [low, high], of the default's type."""
    return _field(default, label, words, low=low, high=high, **about)


def _choice(default, choices, label, words, **about):
    """Return a field that takes a name of {name: label}."""
    return _field(default, label, words, choices=choices, **about)


@dataclasses.dataclass(frozen=True)
class Gan:
    """Settings of one GAN.

    A field with `live` is an argument of the compiled step, so that changing it
    does not compile. One with `zero` is live as long as it stays above 0.
    """

    loss: str = _choice(
        'non_saturating', LOSSES, 'Loss', 'Losses that G and D minimize.',
    )
    g_rate: float = _number(
        1e-3, 1e-6, 1.0, "G's learning rate", "Step size of G's updates.",
        live=True, log=True,
    )
    d_rate: float = _number(
        1e-3, 1e-6, 1.0, "D's learning rate", "Step size of D's updates.",
        live=True, log=True,
    )
    d_steps: int = _number(
        1, 1, 5, 'Updates of D', 'In each step. More give a stronger D.',
    )
    g_steps: int = _number(
        1, 1, 5, 'Updates of G', 'In each step. The usual number is 1.',
        group='moves',
    )
    schedule: str = _choice(
        'alternating', SCHEDULES, 'Schedule', 'Order of the updates of D and '
        'G within a step.', group='moves',
    )
    optimizer: str = _choice(
        'adam', OPTIMIZERS, 'Optimizer', 'Rule that turns gradients into '
        'updates.', group='moves',
    )
    b1: float = _number(
        0.5, 0.0, 0.99, 'Momentum', 'b1 of Adam, or the momentum of SGD. '
        'RMSProp has none.', group='moves',
    )
    fade: int = _number(
        0, 0, 1_000_000, 'Decay of learning rates', 'Steps until both rates '
        'have fallen to 0 and training stands still; 0 is off.', group='moves',
    )
    warmup: int = _number(
        0, 0, 100_000, 'Warm-up of G', "Steps over which G's learning rate "
        'rises from 0, so that D gets ahead; 0 is off.', group='moves',
    )
    penalties: dict = dataclasses.field(default_factory=dict, metadata={
        'label': 'Penalties', 'live': False, 'penalties': True,
        'words': 'Terms that are added to the loss of G or D.',
    })
    clip: float = _number(
        0.0, 0.0, 10.0, 'Weight clipping', "Limits D's weights to [-c, c], "
        'as in WGAN; 0 is off.', live=True, zero=True, group='moves',
    )
    noise: float = _number(
        0.0, 0.0, 2.0, 'Instance noise', "Standard deviation of noise on D's "
        'real and generated inputs; 0 is off.', live=True, zero=True,
        group='moves',
    )
    noise_steps: int = _number(
        0, 0, 1_000_000, 'Decay of the noise', 'Steps until the noise has '
        'fallen to 0; 0 keeps it constant.', live=True, group='moves',
    )
    latent: str = _choice(
        'gaussian', LATENTS, 'Distribution of z', 'Distribution of the random '
        'input of G.', group='sizes',
    )
    latent_size: int = _number(
        2, 1, 32, 'Size of z', 'Number of random inputs of G.',
        group='sizes',
    )
    g_width: int = _number(
        64, 1, 256, "G's width", 'Units in each hidden layer of G.',
        group='sizes',
    )
    g_depth: int = _number(
        2, 1, 4, "G's depth", 'Hidden layers of G.', group='sizes',
    )
    d_width: int = _number(
        64, 1, 256, "D's width", 'Units in each hidden layer of D.',
        group='sizes',
    )
    d_depth: int = _number(
        2, 1, 4, "D's depth", 'Hidden layers of D.', group='sizes',
    )
    spectral_norm: bool = _field(
        False, 'Spectral norm', 'Limits the slope of each layer of D to 1.',
        group='sizes',
    )
    shown: str = _choice(
        'raw', {'raw': 'As trained', 'ema': 'Moving average'}, 'Weights of G',
        'Weights that the picture shows. The average over recent steps is '
        'smoother.', live=True, group='shown',
    )
    ema_decay: float = _number(
        0.99, 0.0, 0.9999, 'Decay of the average', 'A value closer to 1 '
        'averages over more steps.', live=True, group='shown',
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one tab."""

    data: str = _choice(
        'ring', {
            name: source.label for name, source in drawing_lib.SOURCES.items()
        }, 'Distribution', 'Data that G learns to generate. Draw in the '
        'picture to make your own.',
    )
    drawing: str = _field(
        '', 'Drawing', 'Points drawn with the mouse.', hidden=True,
    )
    seed: int = _number(
        0, 0, 2**31 - 1, 'Seed', 'Seed of initial weights, data and z. The '
        'same seed gives the same run. A new one starts again at step 0.',
    )
    batch_size: int = _number(
        150, 8, 1024, 'Batch size', 'Number of real and of generated points '
        'in an update.',
    )
    speed: int = _number(
        4, 1, 200, 'Steps per picture', 'Most training steps between two '
        'pictures. There are fewer if steps are slow.',
        live=True,
    )
    gans: tuple = (Gan(),)

    def __post_init__(self):
        """Check bounds, and that the settings are compatible."""
        _check(self, 'settings')
        drawn = drawing_lib.decode(self.drawing)
        if drawing_lib.SOURCES[self.data].drawn and not len(drawn):
            raise errors.ConfigError(
                f'data={self.data!r} needs a drawing; draw with the mouse'
            )
        if not 1 <= len(self.gans) <= MOST_GANS:
            raise errors.ConfigError(
                f'the number of GANs is {len(self.gans)}, not 1 to {MOST_GANS}'
            )
        for number, gan in enumerate(self.gans):
            _check(gan, f'GAN {number + 1}')
            validation.validate(config(self, gan), points=True)

    @property
    def source(self):
        """Return the `drawing.Source` of the data."""
        return drawing_lib.SOURCES[self.data]


def _check(settings, owner):
    """Check the type and the bounds of each field."""
    for field in dataclasses.fields(settings):
        if field.name != 'gans':
            _check_value(
                f'{field.name} of {owner}', field,
                getattr(settings, field.name),
            )


def _check_value(key, field, value):
    metadata = field.metadata
    if 'penalties' in metadata:
        _check_weights(key, value)
        return
    kind = {'str': str, 'int': int, 'float': float, 'bool': bool}[
        getattr(field.type, '__name__', field.type)
    ]
    if type(value) is not kind:
        raise errors.ConfigError(
            f'{key} has type {type(value).__name__}, not {kind.__name__}'
        )
    if 'choices' in metadata and value not in metadata['choices']:
        raise errors.ConfigError(
            errors.unknown_name(key, value[:40], metadata['choices'])
        )
    if 'low' in metadata and not metadata['low'] <= value <= metadata['high']:
        raise errors.ConfigError(
            f'{key} is {_short(value)}, not in {metadata["low"]:g} … '
            f'{metadata["high"]:g}'
        )


def _short(value):
    """Format a number with a few digits."""
    try:
        return f'{value:.6g}'
    except OverflowError:  # an int beyond the range of floats
        return 'a number of more than 308 digits'


def _check_weights(key, weights):
    if type(weights) is not dict:
        raise errors.ConfigError(f'{key} must map names to weights')
    for name, weight in weights.items():
        if name not in PENALTIES:
            raise errors.ConfigError(
                errors.unknown_name(key, str(name)[:40], PENALTIES)
            )
        if type(weight) is not float or not 0 < weight <= MOST_WEIGHT:
            raise errors.ConfigError(
                f'{key}: the weight of {name} must be a number above 0 and at '
                f'most {MOST_WEIGHT:g}'
            )


def config(settings, gan):
    """Build the config with which `gan_jax.main` would train one GAN.

    Args:
        settings: `Settings`.
        gan: `Gan` of `settings`.

    Returns:
        ConfigDict of `defaults.default_config`. If the library does not have
        the source of the data, `data.name` is 'ring'.
    """
    result = defaults.default_config()
    result.data.name = settings.source.library or 'ring'
    result.seed, result.batch_size = settings.seed, settings.batch_size
    result.loss.name, result.schedule.name = gan.loss, gan.schedule
    result.d_steps, result.g_steps = gan.d_steps, gan.g_steps
    result.latent, result.latent_size = gan.latent, gan.latent_size
    result.ema_decay, result.clip_weights = gan.ema_decay, gan.clip
    result.instance_noise.std = gan.noise
    if gan.noise:
        result.instance_noise.decay_steps = gan.noise_steps
    for name, weight in gan.penalties.items():
        result.penalties[name].weight = weight
    for player, width, depth in (
        ('generator', gan.g_width, gan.g_depth),
        ('discriminator', gan.d_width, gan.d_depth),
    ):
        result[player].update(
            name='mlp', norm='none', width=width, depth=depth
        )
    result['discriminator'].spectral_norm = gan.spectral_norm
    for optimizer, learning_rate in (
        (result.g_optimizer, gan.g_rate), (result.d_optimizer, gan.d_rate),
    ):
        optimizer.name, optimizer.learning_rate = gan.optimizer, learning_rate
        for option in optimizers.OPTIMIZERS[gan.optimizer].options:
            if option.name in ('b1', 'momentum'):
                optimizer[option.name] = gan.b1
        if gan.fade:
            optimizer.schedule = 'linear'
            optimizer.schedule_steps = gan.fade
    result.g_optimizer.warmup_steps = gan.warmup
    return result


def blank(settings, gan):
    """Reset every live setting, so that the rest identifies a program.

    Args:
        settings, gan: as `config`.

    Returns:
        `Settings` of one `Gan`, with a fixed seed and drawing.
    """
    changes = {'penalties': {name: 1.0 for name in gan.penalties}}
    for field in dataclasses.fields(gan):
        if field.metadata['live']:
            changes[field.name] = field.default
            if field.metadata.get('zero') and getattr(gan, field.name):
                changes[field.name] = 1.0
    gan = dataclasses.replace(gan, **changes)
    drawn = settings.source.drawn
    return dataclasses.replace(
        settings, gans=(gan,), seed=0, speed=1,
        drawing=drawing_lib.encode([(0, 0)]) if drawn else '',
    )


def to_json(settings):
    """Convert `Settings` to JSON-compatible dicts and lists."""
    return dataclasses.asdict(settings) | {
        'gans': [dataclasses.asdict(gan) for gan in settings.gans],
    }


def from_json(value):
    """Parse the `Settings` that a page sent.

    Args:
        value: any JSON value. A missing key has its default. An integer is
            accepted for a float.

    Returns:
        `Settings`.

    Raises:
        errors.ConfigError: for anything but valid settings.
    """
    fields = _fields_of(value, Settings, 'settings')
    gans = fields.get('gans', [{}])
    if type(gans) is not list or len(gans) > MOST_GANS:
        raise errors.ConfigError(
            f'gans must be a list of 1 to {MOST_GANS} settings'
        )
    fields['gans'] = tuple(
        Gan(**_fields_of(gan, Gan, f'GAN {number + 1}'))
        for number, gan in enumerate(gans)
    )
    return Settings(**fields)


def _fields_of(value, kind, owner):
    """Check the keys of a JSON object, and convert integers to floats."""
    if type(value) is not dict:
        raise errors.ConfigError(f'{owner} must be a JSON object')
    fields = {field.name: field for field in dataclasses.fields(kind)}
    result = {}
    for key, content in value.items():
        if key not in fields:
            raise errors.ConfigError(
                f'{key[:40]!r} is not a setting'
                f'{errors.nearest(key[:40], fields)}'
            )
        if fields[key].type in (float, 'float'):
            content = _as_float(content)
        if fields[key].metadata.get('penalties') and type(content) is dict:
            content = {
                name: _as_float(weight) for name, weight in content.items()
            }
        result[key] = content
    return result


def _as_float(value):
    return float(value) if type(value) is int and abs(value) < 2**53 else value


def to_link(settings):
    """Format `Settings` as the part of a link after its #.

    It holds only what differs from the defaults, such as
    `data=grid&0.loss=hinge&1.penalties.r1=0.1`; `gans` is their number.
    """
    pairs, default = [], Settings()
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if field.name != 'gans' and value != getattr(default, field.name):
            pairs.append((field.name, value))
    if len(settings.gans) > 1:
        pairs.append(('gans', len(settings.gans)))
    for number, gan in enumerate(settings.gans):
        for field in dataclasses.fields(Gan):
            value = getattr(gan, field.name)
            if field.metadata.get('penalties'):
                pairs += [
                    (f'{number}.penalties.{name}', weight)
                    for name, weight in value.items()
                ]
            elif value != field.default:
                pairs.append((f'{number}.{field.name}', value))
    return urllib.parse.urlencode(pairs)


def from_link(link):
    """Parse the part of a link after its #.

    Args:
        link: str, as from `to_link`.

    Returns:
        `Settings`.

    Raises:
        errors.ConfigError: for anything but a valid link.
    """
    if type(link) is not str or len(link) > MOST_LINK:
        raise errors.ConfigError(f'a link has at most {MOST_LINK} characters')
    try:
        pairs = urllib.parse.parse_qsl(
            link.removeprefix('#'), strict_parsing=bool(link.strip('#')),
            keep_blank_values=True, max_num_fields=200, errors='strict',
        )
    except ValueError as error:
        raise errors.ConfigError(f'the link cannot be read: {error}') from error
    pairs = dict(pairs)
    gans = [{} for _ in range(_count(pairs.pop('gans', '1')))]
    value = {'gans': gans}
    for key, text in pairs.items():
        index, _, rest = key.partition('.')
        if not rest:
            value[key] = _parse(Settings, key, text)
            continue
        if index not in map(str, range(len(gans))):
            raise errors.ConfigError(
                f'{key[:40]!r} names a GAN that the link does not have'
            )
        name, _, penalty = rest.partition('.')
        if penalty and name != 'penalties':
            raise errors.ConfigError(f'{key[:40]!r} is not a setting')
        if penalty:
            weights = gans[int(index)].setdefault(name, {})
            weights[penalty] = _float(rest, text)
        else:
            gans[int(index)][name] = _parse(Gan, name, text)
    return from_json(value)


def _count(text):
    if text not in map(str, range(1, MOST_GANS + 1)):
        raise errors.ConfigError(
            f'gans={text[:40]!r} must be a number from 1 to {MOST_GANS}'
        )
    return int(text)


def _parse(kind, key, text):
    """Parse the text of a value by the type of its field."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if key not in fields or 'penalties' in fields[key].metadata:
        raise errors.ConfigError(f'{key[:40]!r} is not a setting')
    kind_name = getattr(fields[key].type, '__name__', fields[key].type)
    if kind_name == 'int':
        value = _float(key, text)
        return int(value) if value == int(value) else value
    if kind_name == 'float':
        return _float(key, text)
    if kind_name == 'bool':
        return {'True': True, 'False': False}.get(text, text)
    return text


def _float(key, text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise errors.ConfigError(f'{key[:40]}={text[:40]!r} is not a number')
    return value


def schema():
    """Return a JSON-compatible description of every control."""
    def controls(kind):
        return [
            {'name': field.name, 'default': field.default,
             'kind': getattr(field.type, '__name__', field.type),
             **field.metadata}
            for field in dataclasses.fields(kind)
            if field.name != 'gans' and not field.metadata.get('hidden')
            and not field.metadata.get('penalties')
        ]

    return {
        'settings': controls(Settings), 'gan': controls(Gan),
        'penalties': [
            {'name': name, 'label': label, 'words': words, 'weight': weight}
            for name, (label, words, weight) in PENALTIES.items()
        ],
        'sources': {
            name: {'dimension': source.dimension, 'drawn': source.drawn}
            for name, source in drawing_lib.SOURCES.items()
        },
        'groups': GROUPS, 'most_gans': MOST_GANS, 'most_weight': MOST_WEIGHT,
        'presets': {
            name: {'label': label, 'settings': to_json(settings)}
            for name, (label, settings) in PRESETS.items()
        },
    }


# As configs/one_dimension.py, after figure 1 of Goodfellow et al.
ONE_DIMENSION = Settings(data='two_bells', batch_size=256, speed=10, gans=(Gan(
    g_rate=5e-4, d_rate=4e-3, fade=6000, warmup=500, penalties={'r1': 0.02},
    latent_size=1, g_width=32, d_width=64,
),))

PRESETS = {
    'plane': ('A GAN on 2-D points', Settings()),
    'line': ('1-D: figure 1 of Goodfellow et al.', ONE_DIMENSION),
    'beside': ('WGAN-GP beside a non-saturating GAN', Settings(gans=(
        Gan(loss='wasserstein', d_steps=5, penalties={
            'gradient_penalty': 1.0,
        }),
        Gan(),
    ))),
}
