"""Checks of a setup before a run: whether each player can learn.

Each check trains one player for a few steps against a frozen opponent, on one
device. Penalties, noise and soft targets of D are left out, because the checks
measure its capacity.
"""

from typing import NamedTuple

import jax
import numpy as np

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.diagnosis import game as game_lib
from gan_jax.diagnosis import rules
from gan_jax.diagnosis import window as window_lib
from gan_jax.monitoring import monitor
from gan_jax.monitoring import probes
from gan_jax.objectives import losses
from gan_jax.runs import sampling
from gan_jax.runtime import parallel

MOST = 64  # largest batch
TINY = 16  # images of the batch that D must overfit
SHOWN = 10  # images in each row of the picture
LEAST_AUC = 0.95  # of a D that has learnt
SHARE = 0.1  # of the first loss: D must fall below it, G fall by it


class Check(NamedTuple):
    """Result of one check.

    Attributes:
        name: one of `CHECKS`.
        passed: whether it is green; otherwise it is red.
        text: its numbers in words.
        advice: remedies if it is red.
    """

    name: str
    passed: bool
    text: str
    advice: str = ''


CHECKS = {
    'd_alone': 'D alone, against a frozen G: its loss must fall to zero',
    'd_one_batch': 'D on one batch, repeatedly: it must overfit',
    'g_alone': 'G alone, against that D, frozen: it must fool it',
    'ranges': "G's values must be able to cover the range of the data",
    'capacity': 'G and D should be of similar size',
}


class Bench:
    """The players and the data of a config, to train one player alone."""

    def __init__(self, config, dataset):
        """Initialize the players.

        Args:
            config: validated ConfigDict of a GAN.
            dataset: `sources.Dataset`.

        Raises:
            errors.ConfigError: for an algorithm without a discriminator.
        """
        self.config, self.dataset = config, dataset
        specs = builders.data_specs({builders.REAL: dataset})
        algorithm = builders.algorithm(config, specs, parallel.device_memory())
        if algorithm.monitors is None:
            raise errors.ConfigError(
                f'algorithm={algorithm.name!r} has no game whose players could '
                'be checked'
            )
        self.algorithm = algorithm.monitors.bare()
        self._hyperparams = builders.hyperparams(config)
        self.state = self.algorithm.init(
            jax.random.key(config.seed), builders.shapes(specs),
            self._hyperparams,
        )
        self._random = np.random.RandomState(config.seed)
        self._key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def batch(self, count):
        """Draw real images and their labels."""
        indices = np.sort(self._random.choice(
            len(self.dataset.images), count * self.algorithm.packing
        ))
        labels = None
        if self.algorithm.num_classes:
            labels = self.dataset.labels[indices].astype(np.int32)
        return np.asarray(self.dataset.images[indices]), labels

    def train(self, player, state, steps, fixed=None):
        """Train one player and leave the other as it is.

        Args:
            player: 'g' or 'd'.
            state: `algorithm.TrainState`.
            steps: number of updates.
            fixed: (images, labels) of a batch that is repeated with the same z;
                None draws new batches.

        Returns:
            (state, metrics of the first step, metrics of the last step).
        """
        first = None
        for step in range(steps):
            images = fixed or self.batch(min(MOST, self.config.batch_size))
            key = jax.random.fold_in(self._key, 0 if fixed else step)
            state, metrics = self.algorithm.monitors.move(
                player, self._hyperparams, state, *images, key
            )
            first = first or jax.device_get(metrics)
        return state, first, jax.device_get(metrics)

    def discriminator_auc(self, state):
        """Compute the probability that D ranks a real image above a fake."""
        return probes.Probe(
            self.config, self.dataset
        ).of_players(self.algorithm, state)['d_auc']


def run(config, dataset, steps):
    """Run all checks.

    Args:
        config: validated ConfigDict of a GAN.
        dataset: `sources.Dataset`.
        steps: number of updates in each training.

    Returns:
        (list of `Check`, rows of a picture: real images, samples of the initial
        G, samples of the G that was trained alone).

    Raises:
        errors.ConfigError: for an algorithm without a discriminator.
    """
    bench = Bench(config, dataset)
    kind = losses.LOSSES[config.loss.name].kind
    after_d, *metrics = bench.train('d', bench.state, steps)
    alone = _d_alone(bench, kind, after_d, *metrics)
    overfit = _one_batch(bench, kind, steps)
    after_g, *metrics = bench.train('g', after_d, steps)
    real = probes.in_range(bench.batch(SHOWN)[0])[:SHOWN]
    rows = [real, *(
        sampling.sample(bench.algorithm, state, range(SHOWN), weights='raw')
        for state in (bench.state, after_g)
    )]
    return [
        alone, overfit, _g_alone(*metrics), _ranges(bench, after_g),
        _sizes(bench),
    ], rows


def _finite(*values):
    """Return whether all values are finite; comparisons with NaN hide it."""
    return all(np.isfinite(value).all() for value in values)


def _d_alone(bench, kind, state, first, last):
    loss, auc = float(last['d/loss']), bench.discriminator_auc(state)
    text = (
        f"D's loss {first['d/loss']:.4g} -> {loss:.4g}; it ranks "
        f'{100 * auc:.1f} % of pairs of a real and a fake correctly'
    )
    passed = auc > LEAST_AUC
    # Real and generated points may coincide, so that no D has loss 0.
    if kind in game_lib.BOUNDED and bench.dataset.images.ndim > 2:
        passed = loss < SHARE * first['d/loss']
    return Check('d_alone', bool(passed) and _finite(loss), text, (
        'D cannot separate untrained samples from the data: change its '
        'learning rate, increase its width, or look for a mistake in how '
        'images reach it.'
    ))


def _one_batch(bench, kind, steps):
    count = min(TINY, bench.config.batch_size)
    state, first, last = bench.train(
        'd', bench.state, steps, bench.batch(count)
    )
    gap = {
        when: float(metrics['d/real_logits'] - metrics['d/fake_logits'])
        for when, metrics in (('first', first), ('last', last))
    }
    text = (
        f"D's loss {first['d/loss']:.4g} -> {last['d/loss']:.4g} on "
        f'{count} images and fakes, D(real) - D(fake) {gap["first"]:+.3g} -> '
        f'{gap["last"]:+.3g}'
    )
    rule = rules.RULES['cannot_overfit']
    if kind not in game_lib.BOUNDED:  # a loss without a minimum
        sign = bench.algorithm.monitors.sign
        passed = sign * (gap['last'] - gap['first']) > 0
    else:
        window = window_lib.Window(1)
        window.add({'probe/one_batch': float(last['d/loss'] / first['d/loss'])})
        limits = bench.config.diagnosis.to_dict()
        passed = rule.test(window, game_lib.Game(kind), limits) is None
    passed = passed and _finite(last['d/loss'], *gap.values())
    return Check('d_one_batch', passed, text, rule.advice)


def _g_alone(first, last):
    text = (
        f"G's loss {first['g/loss']:.4g} -> {last['g/loss']:.4g}; the picture "
        'shows the adversarial noise that fools a frozen D'
    )
    fall = first['g/loss'] - last['g/loss']
    passed = fall > SHARE * abs(first['g/loss']) and _finite(fall)
    return Check('g_alone', bool(passed), text, (
        'G does not learn from the gradient of D: change its learning rate or '
        'the loss, or look for a last layer that saturates.'
    ))


def _ranges(bench, after):
    """Compare the range of the data with that of G, before and after."""
    real = probes.in_range(bench.batch(MOST)[0])
    fake = np.concatenate([
        sampling.sample(bench.algorithm, state, range(MOST), weights='raw')
        for state in (bench.state, after)
    ])
    span = float(np.ptp(real)) or 1.0
    # G has values of one sign only, as after a sigmoid, and the data have both.
    one_sided = real.min() < 0 <= fake.min() or fake.max() <= 0 < real.max()
    # A linear last layer can reach beyond the data, and learns not to.
    bounded = bench.dataset.images.ndim > 2 and (
        not defaults.names_linear_output(bench.config)
    )
    beyond = bounded and max(
        fake.max() - real.max(), real.min() - fake.min()
    ) > bench.config.diagnosis.range_gap * span
    text = (
        f'data from {real.min():.3g} to {real.max():.3g}, G from '
        f'{fake.min():.3g} to {fake.max():.3g}'
    )
    passed = _finite(fake) and not (one_sided or beyond)
    return Check('ranges', passed, text, (
        rules.RULES['range_differs'].advice
    ))


def _sizes(bench):
    game = monitor.game_of(bench.config, bench.algorithm, bench.state)
    rule = rules.RULES['sizes_differ']
    limits = bench.config.diagnosis.to_dict()
    differ = rule.test(window_lib.Window(1), game, limits)
    text = f'G has {game.g_size:,} parameters and D {game.d_size:,}'
    return Check('capacity', not differ, text, rule.advice)
