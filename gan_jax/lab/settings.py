"""All that can be set in the lab: bounded, checked, as JSON and as a link.

The table of fields is the one place that knows a control: its bounds, its name
in words, its explanation. The page makes its controls of it.
"""

import dataclasses
import math
import urllib.parse

from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.lab import drawing as drawing_lib
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.ops import optimizers

MOST_GANS = 4
MOST_LINK = 8192  # characters

# What a D of energies tells needs an autoencoder.
LOSSES_LEFT_OUT = tuple(
    name for name, loss in losses.LOSSES.items() if loss.energies
)
LOSSES = {  # the usual one first
    name: losses.LOSSES[name].title or name
    for name in dict.fromkeys(['non_saturating', *losses.LOSSES])
    if name not in LOSSES_LEFT_OUT
}

# Shifts need images, and classes need labels.
PENALTIES_LEFT_OUT = tuple(
    name for name, penalty in penalties.PENALTIES.items()
    if penalty.images or penalty.classes
)
# name: (in words, what it does, the weight that it begins with)
PENALTIES = {
    name: (
        penalty.title or name,
        penalty.words or penalty.fn.__doc__.partition('\n')[0],
        penalty.begin,
    )
    for name, penalty in penalties.PENALTIES.items()
    if name not in PENALTIES_LEFT_OUT
}
MOST_WEIGHT = 1000.0

# Under what heading the page puts a control of a GAN.
GROUPS = {
    'rules': 'Rules', 'moves': 'How they move', 'sizes': 'Networks and z',
    'shown': 'What is shown',
}


def _field(default, label, words, **about):
    about = {
        'label': label, 'words': words, 'live': False, 'group': 'rules',
        **about,
    }
    return dataclasses.field(default=default, metadata=about)


def _number(default, low, high, label, words, **about):
    """Make a field of a number in [low, high], of the default's type."""
    return _field(default, label, words, low=low, high=high, **about)


def _choice(default, choices, label, words, **about):
    """Make a field of one of {name: in words}."""
    return _field(default, label, words, choices=choices, **about)


@dataclasses.dataclass(frozen=True)
class Gan:
    """What can be set of one GAN.

    A field with `live` is a number that the compiled step reads anew at each
    call; one with `zero` is so too while it stays above 0.
    """

    loss: str = _choice(
        'non_saturating', LOSSES, 'Loss', 'What the two players win and lose.',
    )
    g_rate: float = _number(
        1e-3, 1e-6, 1.0, "G's learning rate", 'How far one update moves G.',
        live=True, log=True,
    )
    d_rate: float = _number(
        1e-3, 1e-6, 1.0, "D's learning rate", 'How far one update moves D.',
        live=True, log=True,
    )
    d_steps: int = _number(
        1, 1, 5, 'Updates of D', 'So many before G moves: a sharper judge.',
    )
    g_steps: int = _number(
        1, 1, 5, 'Updates of G', 'So many in the same step of the game.',
        group='moves',
    )
    schedule: str = _choice(
        'alternating', {
            'alternating': 'In turns', 'simultaneous': 'At once',
            'unrolled': 'G looks 5 updates of D ahead',
        }, 'Order of moves', 'Who moves when, and what G sees of D.',
        group='moves',
    )
    optimizer: str = _choice(
        'adam', {
            'adam': 'Adam', 'rmsprop': 'RMSProp', 'sgd': 'Plain gradient (SGD)',
        }, 'Optimizer', 'How gradients become moves.', group='moves',
    )
    b1: float = _number(
        0.5, 0.0, 0.99, 'Momentum', "Adam's b1, or SGD's: how much of the "
        'last moves goes on. RMSProp has none.', group='moves',
    )
    fade: int = _number(
        0, 0, 1_000_000, 'Rates fade in', 'Steps until both learning rates '
        'have fallen to 0, and the game stands still; 0 leaves them.',
        group='moves',
    )
    warmup: int = _number(
        0, 0, 100_000, 'G starts slowly', "Steps over which G's learning rate "
        'rises; D gets ahead. 0 is off.', group='moves',
    )
    penalties: dict = dataclasses.field(default_factory=dict, metadata={
        'label': 'Regularizers', 'live': False, 'penalties': True,
        'words': 'Penalties that join a player\'s loss. Weights move live.',
    })
    clip: float = _number(
        0.0, 0.0, 10.0, 'Weight clipping', "Holds D's weights in [-c, c], as "
        'the first WGAN; 0 is off.', live=True, zero=True, group='moves',
    )
    noise: float = _number(
        0.0, 0.0, 2.0, 'Noise on what D sees', 'Deviation, on real and '
        'generated points alike; 0 is off.', live=True, zero=True,
        group='moves',
    )
    noise_steps: int = _number(
        0, 0, 1_000_000, 'Noise fades in', 'Steps until it has faded to '
        'nothing; 0 lets it stay.', live=True, group='moves',
    )
    latent: str = _choice(
        'gaussian', {'gaussian': 'Bell curve', 'uniform': 'Even in [-1, 1)'},
        'Kind of z', 'What the random input of G is drawn from.', group='sizes',
    )
    latent_size: int = _number(
        2, 1, 32, 'Length of z', 'Random numbers that G starts from.',
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
        False, 'Spectral norm', 'Holds the steepness of each layer of D to 1.',
        group='sizes',
    )
    shown: str = _choice(
        'raw', {'raw': 'As it is', 'ema': 'Moving average'}, 'G that is shown',
        'An average over the last steps is calmer.', live=True, group='shown',
    )
    ema_decay: float = _number(
        0.99, 0.0, 0.9999, 'Decay of the average', 'Nearer to 1: over more '
        'steps.', live=True, group='shown',
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set in one tab."""

    data: str = _choice(
        'ring', {
            name: source.label for name, source in drawing_lib.SOURCES.items()
        }, 'Distribution', 'What G should learn to make. Drawing with the '
        'mouse in the picture makes your own.',
    )
    drawing: str = _field(
        '', 'Drawing', 'Points drawn with the mouse.', hidden=True,
    )
    seed: int = _number(
        0, 0, 2**31 - 1, 'Seed', 'Draws first weights, points and z. The same '
        'seed plays the same game; a new one begins anew.',
    )
    batch_size: int = _number(
        150, 8, 1024, 'Batch', 'Real and generated points in each update.',
    )
    speed: int = _number(
        4, 1, 200, 'Steps a picture', 'At most so many between two pictures; '
        'fewer where they are slow.',
        live=True,
    )
    gans: tuple = (Gan(),)

    def __post_init__(self):
        """Refuse what is out of bounds or does not go together."""
        _check(self, 'settings')
        drawn = drawing_lib.decode(self.drawing)
        if drawing_lib.SOURCES[self.data].drawn and not len(drawn):
            raise errors.ConfigError(
                f'data={self.data!r} has no drawing yet; draw with the mouse'
            )
        if not 1 <= len(self.gans) <= MOST_GANS:
            raise errors.ConfigError(
                f'{len(self.gans)} GANs; 1 to {MOST_GANS} play side by side'
            )
        for number, gan in enumerate(self.gans):
            _check(gan, f'GAN {number + 1}')
            validation.validate(config(self, gan), points=True)

    @property
    def source(self):
        """Give the `drawing.Source` of the data."""
        return drawing_lib.SOURCES[self.data]


def _check(settings, whose):
    """Hold each field to its type and its bounds."""
    for field in dataclasses.fields(settings):
        if field.name != 'gans':
            _check_value(
                f'{field.name} of {whose}', field,
                getattr(settings, field.name),
            )


def _check_value(key, field, value):
    about = field.metadata
    if 'penalties' in about:
        _check_weights(key, value)
        return
    kind = {'str': str, 'int': int, 'float': float, 'bool': bool}[
        getattr(field.type, '__name__', field.type)
    ]
    if type(value) is not kind:
        raise errors.ConfigError(
            f'{key} is a {type(value).__name__}, not a {kind.__name__}'
        )
    if 'choices' in about and value not in about['choices']:
        raise errors.ConfigError(
            errors.unknown_name(key, value[:40], about['choices'])
        )
    if 'low' in about and not about['low'] <= value <= about['high']:
        raise errors.ConfigError(
            f'{key} is {_told(value)}, not in {about["low"]:g} … '
            f'{about["high"]:g}'
        )


def _told(value):
    """Write a number in a few digits."""
    try:
        return f'{value:.6g}'
    except OverflowError:  # a whole number that no float can be
        return 'a number of more than 308 digits'


def _check_weights(key, weights):
    if type(weights) is not dict:
        raise errors.ConfigError(f'{key} are not names with weights')
    for name, weight in weights.items():
        if name not in PENALTIES:
            raise errors.ConfigError(
                errors.unknown_name(key, str(name)[:40], PENALTIES)
            )
        if type(weight) is not float or not 0 < weight <= MOST_WEIGHT:
            raise errors.ConfigError(
                f'{key}: the weight of {name} is not a number above 0, up to '
                f'{MOST_WEIGHT:g}'
            )


def config(settings, gan):
    """Give the config that `gan_jax.main` would train one GAN by.

    Args:
        settings: `Settings`.
        gan: `Gan`, one of them.

    Returns:
        ConfigDict of `defaults.default_config`. Of points that the library has
        no source of it names another.
    """
    made = defaults.default_config()
    made.data.name = settings.source.library or 'ring'
    made.seed, made.batch_size = settings.seed, settings.batch_size
    made.loss.name, made.schedule.name = gan.loss, gan.schedule
    made.d_steps, made.g_steps = gan.d_steps, gan.g_steps
    made.latent, made.latent_size = gan.latent, gan.latent_size
    made.ema_decay, made.clip_weights = gan.ema_decay, gan.clip
    made.instance_noise.std = gan.noise
    if gan.noise:
        made.instance_noise.decay_steps = gan.noise_steps
    for name, weight in gan.penalties.items():
        made.penalties[name].weight = weight
    for player, width, depth in (
        ('generator', gan.g_width, gan.g_depth),
        ('discriminator', gan.d_width, gan.d_depth),
    ):
        made[player].update(
            name='mlp', norm='none', width=width, depth=depth
        )
    made['discriminator'].spectral_norm = gan.spectral_norm
    for optimizer, learning_rate in (
        (made.g_optimizer, gan.g_rate), (made.d_optimizer, gan.d_rate),
    ):
        optimizer.name, optimizer.learning_rate = gan.optimizer, learning_rate
        for option in optimizers.OPTIMIZERS[gan.optimizer].options:
            if option.name in ('b1', 'momentum'):
                optimizer[option.name] = gan.b1
        if gan.fade:
            optimizer.schedule = 'linear'
            optimizer.schedule_steps = gan.fade
    made.g_optimizer.warmup_steps = gan.warmup
    return made


def blank(settings, gan):
    """Set every live number to one value: what is left is compiled.

    Args:
        settings, gan: as of `config`.

    Returns:
        (`Settings` of one `Gan`, without a drawing or a seed), hashable by
        `compiled_key`.
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
    """Give plain dicts, lists, numbers and texts of `Settings`."""
    return dataclasses.asdict(settings) | {
        'gans': [dataclasses.asdict(gan) for gan in settings.gans],
    }


def from_json(value):
    """Make `Settings` of what a page sent.

    Args:
        value: anything that JSON can hold. A key that is not there has its
            default; a whole number stands for a float too.

    Returns:
        `Settings`.

    Raises:
        errors.ConfigError: in one line, for anything else than settings.
    """
    given = _known(value, Settings, 'settings')
    gans = given.get('gans', [{}])
    if type(gans) is not list or len(gans) > MOST_GANS:
        raise errors.ConfigError(
            f'gans are not a list of 1 to {MOST_GANS} settings'
        )
    given['gans'] = tuple(
        Gan(**_known(gan, Gan, f'GAN {number + 1}'))
        for number, gan in enumerate(gans)
    )
    return Settings(**given)


def _known(value, kind, whose):
    """Take a dict of known keys, whole numbers for floats made floats."""
    if type(value) is not dict:
        raise errors.ConfigError(f'{whose} are no object of keys and values')
    fields = {field.name: field for field in dataclasses.fields(kind)}
    made = {}
    for key, content in value.items():
        if key not in fields:
            raise errors.ConfigError(
                f'{key[:40]!r} is no setting{errors.nearest(key[:40], fields)}'
            )
        if fields[key].type in (float, 'float'):
            content = _as_float(content)
        if fields[key].metadata.get('penalties') and type(content) is dict:
            content = {
                name: _as_float(weight) for name, weight in content.items()
            }
        made[key] = content
    return made


def _as_float(value):
    return float(value) if type(value) is int and abs(value) < 2**53 else value


def to_link(settings):
    """Write `Settings` as the part of a link behind its #.

    Only what differs from the defaults is written, such as
    `data=grid&0.loss=hinge&1.penalties.r1=0.1`; `gans` is their number.
    """
    pairs, first = [], Settings()
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if field.name != 'gans' and value != getattr(first, field.name):
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
    """Read the part of a link behind its #.

    Args:
        link: str, as of `to_link`.

    Returns:
        `Settings`.

    Raises:
        errors.ConfigError: in one line, for a link that holds anything else.
    """
    if type(link) is not str or len(link) > MOST_LINK:
        raise errors.ConfigError(f'a link has up to {MOST_LINK} characters')
    try:
        pairs = urllib.parse.parse_qsl(
            link.removeprefix('#'), strict_parsing=bool(link.strip('#')),
            keep_blank_values=True, max_num_fields=200, errors='strict',
        )
    except ValueError as error:
        raise errors.ConfigError(f'the link cannot be read: {error}') from error
    pairs = dict(pairs)
    gans = [{} for _ in range(_count(pairs.pop('gans', '1')))]
    made = {'gans': gans}
    for key, text in pairs.items():
        place, _, rest = key.partition('.')
        if not rest:
            made[key] = _parse(Settings, key, text)
            continue
        if place not in map(str, range(len(gans))):
            raise errors.ConfigError(f'{key[:40]!r} is of no GAN of the link')
        name, _, penalty = rest.partition('.')
        if penalty and name != 'penalties':
            raise errors.ConfigError(f'{key[:40]!r} is no setting of a link')
        if penalty:
            weights = gans[int(place)].setdefault(name, {})
            weights[penalty] = _float(rest, text)
        else:
            gans[int(place)][name] = _parse(Gan, name, text)
    return from_json(made)


def _count(text):
    if text not in map(str, range(1, MOST_GANS + 1)):
        raise errors.ConfigError(
            f'gans={text[:40]!r} is not 1 to {MOST_GANS}'
        )
    return int(text)


def _parse(kind, key, text):
    """Read the text of a value in the type of its field."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if key not in fields or 'penalties' in fields[key].metadata:
        raise errors.ConfigError(f'{key[:40]!r} is no setting of a link')
    wanted = getattr(fields[key].type, '__name__', fields[key].type)
    if wanted == 'int':
        value = _float(key, text)
        return int(value) if value == int(value) else value
    if wanted == 'float':
        return _float(key, text)
    if wanted == 'bool':
        return {'True': True, 'False': False}.get(text, text)
    return text


def _float(key, text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise errors.ConfigError(f'{key[:40]}={text[:40]!r} is no number')
    return value


def schema():
    """Describe every control, for the page: plain dicts and lists."""
    def described(kind):
        return [
            {'name': field.name, 'default': field.default,
             'kind': getattr(field.type, '__name__', field.type),
             **field.metadata}
            for field in dataclasses.fields(kind)
            if field.name != 'gans' and not field.metadata.get('hidden')
            and not field.metadata.get('penalties')
        ]

    return {
        'settings': described(Settings), 'gan': described(Gan),
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


# The game on a line that Figure 1 of Goodfellow et al. draws.
ONE_DIMENSION = Settings(data='two_bells', batch_size=256, speed=10, gans=(Gan(
    g_rate=5e-4, d_rate=4e-3, fade=6000, warmup=500, penalties={'r1': 0.02},
    latent_size=1, g_width=32, d_width=64,
),))

PRESETS = {
    'plane': ('A GAN on points of the plane', Settings()),
    'line': ("On a line: Goodfellow's Figure 1", ONE_DIMENSION),
    'beside': ('WGAN-GP beside a non-saturating GAN', Settings(gans=(
        Gan(loss='wasserstein', d_steps=5, penalties={
            'gradient_penalty': 1.0,
        }),
        Gan(),
    ))),
}
