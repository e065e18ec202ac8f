"""Settings of `mode_recovery.py`, and the published figures.

Rows of one table share networks, z, batch size, learning rates and length. A
row changes only what defines its method: loss, penalty, updates of D and, if
its paper specifies them, the optimizer and its moments. Nothing was tuned for a
row.
"""

from typing import Any, NamedTuple


class Setting(NamedTuple):
    """Setting that is trained with every seed.

    Attributes:
        row: name of the row.
        source: key of `mixtures.MIXTURES`.
        changes: {config key: value}, relative to the recipe on that source.
    """

    row: str
    source: str
    changes: dict

    @property
    def name(self):
        """Return the name, unique in its table."""
        return f'{self.source}/{self.row}'


class Figure(NamedTuple):
    """Published mean and standard error over runs; None if not published."""

    mean: float
    error: Any = None


class Published(NamedTuple):
    """Published figures of one setting; None if not published.

    Attributes:
        modes, high_quality (share), reverse_kl: `Figure`s.
        whose: the paper's name for the setting, and the source.
    """

    modes: Figure
    high_quality: Figure
    reverse_kl: Any
    whose: str


PACGAN = 'Lin et al., 1712.04086, table 1, 10 runs'
VEEGAN = 'Srivastava et al., 1705.07761, table 1'

# {(row of the wide table, source): figures}, with the authors' own networks.
PUBLISHED = {
    ('non_saturating', 'ring'): (
        Published(Figure(6.3, .5), Figure(.982, .002), Figure(.45, .09),
                  f'GAN, {PACGAN}'),
        Published(Figure(1), Figure(.993), None, f'GAN, {VEEGAN}'),
    ),
    ('non_saturating', 'grid'): (
        Published(Figure(17.3, .8), Figure(.948, .007), Figure(.70, .07),
                  f'GAN, {PACGAN}'),
        Published(Figure(3.3), Figure(.005), None, f'GAN, {VEEGAN}'),
    ),
    ('pacgan2', 'ring'): (
        Published(Figure(7.9, .1), Figure(.956, .020), Figure(.07, .03),
                  f'PacGAN2, {PACGAN}'),
    ),
    ('pacgan2', 'grid'): (
        Published(Figure(23.8, .7), Figure(.913, .008), Figure(.13, .04),
                  f'PacGAN2, {PACGAN}'),
    ),
    ('pacgan3', 'ring'): (
        Published(Figure(7.8, .1), Figure(.977, .003), Figure(.10, .02),
                  f'PacGAN3, {PACGAN}'),
    ),
    ('pacgan3', 'grid'): (
        Published(Figure(24.6, .4), Figure(.942, .004), Figure(.06, .02),
                  f'PacGAN3, {PACGAN}'),
    ),
    ('pacgan4', 'ring'): (
        Published(Figure(7.8, .1), Figure(.959, .014), Figure(.07, .02),
                  f'PacGAN4, {PACGAN}'),
    ),
    ('pacgan4', 'grid'): (
        Published(Figure(24.8, .2), Figure(.936, .006), Figure(.04, .01),
                  f'PacGAN4, {PACGAN}'),
    ),
    ('unrolled5', 'ring'): (
        Published(Figure(7.6), Figure(.356), None, f'Unrolled, {VEEGAN}'),
    ),
    ('unrolled5', 'grid'): (
        Published(Figure(23.6), Figure(.16), None, f'Unrolled, {VEEGAN}'),
    ),
}


def _moments(b1, b2):
    return {
        f'{player}_optimizer.{name}': value for player in 'gd'
        for name, value in (('b1', b1), ('b2', b2))
    }


WIDE_STEPS = 25_000  # updates of G in the wide table

ROWS = {
    'minimax': {'loss.name': 'minimax'},
    'non_saturating': {},
    'least_squares': {'loss.name': 'least_squares'},
    'wgan_clip': {
        'loss.name': 'wasserstein', 'd_steps': 5, 'clip_weights': 0.01,
        'schedule.name': 'wgan',
        'g_optimizer.name': 'rmsprop', 'd_optimizer.name': 'rmsprop',
    },
    'wgan_gp': {
        'loss.name': 'wasserstein', 'd_steps': 5,
        # The weight in the authors' code for points.
        'penalties.gradient_penalty.weight': 0.1, **_moments(0.0, 0.9),
    },
    'hinge_sn': {
        'loss.name': 'hinge', 'discriminator.spectral_norm': True,
        **_moments(0.0, 0.9),
    },
    'r1': {'penalties.r1.weight': 0.1},
    'relativistic_r1_r2': {
        'loss.name': 'relativistic',
        'penalties.r1.weight': 0.1, 'penalties.r2.weight': 0.1,
    },
    'r3gan': {
        'loss.name': 'relativistic', 'fresh_reals': True,
        'penalties.r1.weight': 0.1, 'penalties.r2.weight': 0.1,
        **_moments(0.0, 0.9), 'anneal.b2': 0.99,
        'anneal.learning_rate': 0.25, 'anneal.penalties': 0.1,
        'anneal.images': WIDE_STEPS * 512,
    },
    'pacgan2': {'packing': 2},
    'pacgan3': {'packing': 3},
    'pacgan4': {'packing': 4},
    'unrolled5': {
        'loss.name': 'minimax', 'schedule.name': 'unrolled',
        'schedule.unroll_steps': 5,
    },
}
WIDE = [
    Setting(row, source, changes)
    for source in ('ring', 'grid') for row, changes in ROWS.items()
]

PACGANS_OWN = {
    'generator.depth': 4, 'generator.width': 400, 'generator.norm': 'batch',
    'generator.norm_momentum': 0.95, 'generator.init_std': 0.02,
    'discriminator.depth': 3, 'discriminator.width': 200,
    'discriminator.maxout': 5, 'discriminator.init_std': 0.02,
    'latent_size': 2, 'batch_size': 100, 'schedule.name': 'simultaneous',
    'g_optimizer.learning_rate': 1e-4, 'd_optimizer.learning_rate': 1e-4,
    **_moments(0.8, 0.999),
}
OWN = [
    Setting('gan', 'ring', PACGANS_OWN),
    Setting('pacgan2', 'ring', {**PACGANS_OWN, 'packing': 2}),
]
OWN_PUBLISHED = {
    'gan': PUBLISHED['non_saturating', 'ring'][0],
    'pacgan2': PUBLISHED['pacgan2', 'ring'][0],
}


class Place(NamedTuple):
    """Mixture on a flat manifold, a point of the figure."""

    modes: int
    dimension: int
    ambient: int


MODES = (4, 16, 64, 256)
DIMENSIONS = (2, 8, 32, 128)
AMBIENTS = (32, 128, 512)
AMBIENT, MANY = 128, 64  # constants of the other panel
PLACES = list(dict.fromkeys([
    *(Place(modes, dimension, AMBIENT)
      for dimension in DIMENSIONS for modes in MODES),
    *(Place(MANY, dimension, ambient) for ambient in AMBIENTS
      for dimension in DIMENSIONS if dimension <= ambient),
]))


def at(place, std):
    """Return the setting of a point of the figure."""
    return Setting(
        f'{place.modes}-{place.dimension}-{place.ambient}', 'manifold', {
            'data.modes': place.modes, 'data.dimension': place.dimension,
            'data.ambient': place.ambient, 'data.std': std,
            'latent_size': 64, 'batch_size': 256,
        },
    )
