"""Checks of a setup before training: can each player learn at all?

Short trainings of one player against the other as it stands, on one device.
What holds D back in the run, penalties, noise and softened targets, is left
out: it is asked what D could do.
"""

from typing import NamedTuple

import jax
import numpy as np

from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.diagnosis import game as game_lib
from gan_jax.diagnosis import rules
from gan_jax.diagnosis import window as window_lib
from gan_jax.monitoring import monitor
from gan_jax.monitoring import probes
from gan_jax.objectives import losses
from gan_jax.runs import sampling
from gan_jax.runtime import parallel

MOST = 64  # samples in a batch
TINY = 16  # of the set that is overfitted
SHOWN = 10  # in each row of the picture
PARTED = 0.95  # chance that a D that has learnt ranks a real above a fake
FALLEN = 0.1  # of D's first loss: as good as zero; of G's: a fall


class Check(NamedTuple):
    """What came of one check.

    Attributes:
        name: of `CHECKS`.
        passed: green, or red.
        text: its numbers in words.
        advice: what to do where it is red.
    """

    name: str
    passed: bool
    text: str
    advice: str = ''


CHECKS = {
    'd_alone': "D alone, against a frozen G: its loss must go to zero",
    'd_one_batch': 'D on one batch, again and again: it must learn it',
    'g_alone': 'G alone, against that D, frozen: it must fool it',
    'ranges': "G's values must be able to reach the data's ends",
    'capacity': 'G and D should be of like size',
}


class Bench:
    """A config's players and data, to try one against the other."""

    def __init__(self, config, dataset):
        """Draw the players' first weights.

        Args:
            config: validated; of a game.
            dataset: `sources.Dataset`.

        Raises:
            errors.ConfigError: for an algorithm without a game.
        """
        self.config, self.dataset = config, dataset
        forms = builders.forms({builders.REAL: dataset})
        made = builders.algorithm(config, forms, parallel.memory())
        if made.monitors is None:
            raise errors.ConfigError(
                f'algorithm={made.name!r} has no game whose players could be '
                'tried'
            )
        self.algorithm = made.monitors.bare()
        self._hyperparams = builders.hyperparams(config)
        self.state = self.algorithm.init(
            jax.random.key(config.seed), builders.shapes(forms),
            self._hyperparams,
        )
        self._random = np.random.RandomState(config.seed)
        self._key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def batch(self, count):
        """Draw real images and their labels."""
        places = np.sort(self._random.choice(
            len(self.dataset.images), count * self.algorithm.packing
        ))
        labels = None
        if self.algorithm.num_classes:
            labels = self.dataset.labels[places].astype(np.int32)
        return np.asarray(self.dataset.images[places]), labels

    def train(self, player, state, steps, fixed=None):
        """Train one player; on one batch, z and all, where it is given.

        Returns:
            (state, metrics of the first step, of the last).
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

    def told(self, state):
        """Give the chance that D ranks a real image above a fake."""
        return probes.Probe(
            self.config, self.dataset
        ).of_players(self.algorithm, state)['d_auc']


def run(config, dataset, steps):
    """Make all checks.

    Args:
        config: validated ConfigDict of a game.
        dataset: `sources.Dataset`.
        steps: of each training.

    Returns:
        (list of `Check`, rows of samples for a picture: real ones, those of
        the first G, those of the G that was trained alone).

    Raises:
        errors.ConfigError: for an algorithm without a game.
    """
    bench = Bench(config, dataset)
    kind = losses.LOSSES[config.loss.name].kind
    after, *seen = bench.train('d', bench.state, steps)
    alone = _d_alone(bench, kind, after, *seen)
    overfit = _one_batch(bench, kind, steps)
    moved, *seen = bench.train('g', after, steps)
    real = probes.in_range(bench.batch(SHOWN)[0])[:SHOWN]
    rows = [real, *(
        sampling.sample(bench.algorithm, state, range(SHOWN), weights='raw')
        for state in (bench.state, moved)
    )]
    return [
        alone, overfit, _g_alone(*seen), _ranges(bench, moved), _sizes(bench)
    ], rows


def _finite(*values):
    """Say whether all are; no comparison with NaN would tell."""
    return all(np.isfinite(value).all() for value in values)


def _d_alone(bench, kind, state, first, last):
    loss, auc = float(last['d/loss']), bench.told(state)
    text = (
        f"D's loss {first['d/loss']:.4g} -> {loss:.4g}; it ranks "
        f'{100 * auc:.1f} % of pairs of a real and a fake rightly'
    )
    passed = auc > PARTED
    # Points of both may lie in one place, so that no D has loss 0.
    if kind in game_lib.BOUNDED and bench.dataset.images.ndim > 2:
        passed = loss < FALLEN * first['d/loss']
    return Check('d_alone', bool(passed) and _finite(loss), text, (
        'D cannot even tell untrained samples from the data: another learning '
        'rate, more width, or a mistake in how images reach it.'
    ))


def _one_batch(bench, kind, steps):
    count = min(TINY, bench.config.batch_size)
    state, first, last = bench.train(
        'd', bench.state, steps, bench.batch(count)
    )
    gap = {
        when: float(seen['d/real_logits'] - seen['d/fake_logits'])
        for when, seen in (('first', first), ('last', last))
    }
    text = (
        f"D's loss {first['d/loss']:.4g} -> {last['d/loss']:.4g} on "
        f'{count} images and fakes, D(real) - D(fake) {gap["first"]:+.3g} -> '
        f'{gap["last"]:+.3g}'
    )
    rule = rules.RULES['cannot_overfit']
    if kind not in game_lib.BOUNDED:  # a loss without a least value
        sign = bench.algorithm.monitors.sign
        passed = sign * (gap['last'] - gap['first']) > 0
    else:
        seen = window_lib.Window(1)
        seen.add({'probe/one_batch': float(last['d/loss'] / first['d/loss'])})
        limits = bench.config.diagnosis.to_dict()
        passed = rule.test(seen, game_lib.Game(kind), limits) is None
    passed = passed and _finite(last['d/loss'], *gap.values())
    return Check('d_one_batch', passed, text, rule.advice)


def _g_alone(first, last):
    text = (
        f"G's loss {first['g/loss']:.4g} -> {last['g/loss']:.4g}; the picture "
        'shows the adversarial noise that fools a D which stands still'
    )
    fall = first['g/loss'] - last['g/loss']
    passed = fall > FALLEN * abs(first['g/loss']) and _finite(fall)
    return Check('g_alone', bool(passed), text, (
        'G cannot follow the gradient of D: another learning rate, another '
        'loss, or a last layer that saturates.'
    ))


def _ranges(bench, moved):
    """Compare the ends of the data with those that G reaches, before, after."""
    real = probes.in_range(bench.batch(MOST)[0])
    made = np.concatenate([
        sampling.sample(bench.algorithm, state, range(MOST), weights='raw')
        for state in (bench.state, moved)
    ])
    span = float(np.ptp(real)) or 1.0
    # What G never does though half the data do: a side of zero it cannot have.
    one_sided = real.min() < 0 <= made.min() or made.max() <= 0 < real.max()
    bounded = bench.dataset.images.ndim > 2
    beyond = bounded and max(
        made.max() - real.max(), real.min() - made.min()
    ) > bench.config.diagnosis.range_gap * span
    text = (
        f'data from {real.min():.3g} to {real.max():.3g}, G from '
        f'{made.min():.3g} to {made.max():.3g}'
    )
    passed = _finite(made) and not (one_sided or beyond)
    return Check('ranges', passed, text, (
        rules.RULES['range_differs'].advice
    ))


def _sizes(bench):
    found = monitor.game_of(bench.config, bench.algorithm, bench.state)
    rule = rules.RULES['sizes_differ']
    limits = bench.config.diagnosis.to_dict()
    differ = rule.test(window_lib.Window(1), found, limits)
    text = f'G has {found.g_size:,} parameters and D {found.d_size:,}'
    return Check('capacity', not differ, text, rule.advice)
