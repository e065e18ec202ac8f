"""Every valid combination of loss, penalty and schedule runs a step.

Combinations that cover each pair of names are traced and run; the whole product
runs under the mark `slow`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import update_order
from gan_jax.algorithms import game
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.objectives.losses import LOSSES
from gan_jax.objectives.penalties import PENALTIES
from gan_jax.ops import optimizers


SHAPE = (8, 8, 1)
PENALTY_NAMES = [
    '', *(name for name, penalty in PENALTIES.items() if not penalty.styles)
]
PRODUCT = list(itertools.product(LOSSES, PENALTY_NAMES, update_order.SCHEDULES))


def config_of(loss, penalty, schedule):
    """Return a config of small dense networks, or None if it is invalid."""
    config = helpers.tiny_mlp()
    config.generator.width = config.discriminator.width = 3
    config.batch_size = 4
    config.loss.name, config.schedule.name = loss, schedule
    if schedule == 'unrolled':
        config.schedule.unroll_steps = 1
    if LOSSES[loss].energies:
        config.discriminator.code_size = 2
    if penalty:
        config.penalties[penalty].weight = 0.1
        if PENALTIES[penalty].classes:
            config.generator.condition = 'concat'
            config.discriminator.condition = 'auxiliary'
            for name in ('d_classification', 'g_classification'):
                config.penalties[name].weight = 0.1
    try:
        validation.validate(config)
    except errors.ConfigError:
        return None
    return config


def pieces(config, shape=SHAPE):
    """Return (GAN, its hyper-parameters, a batch) for a config."""
    specs = builders.single_source_specs(shape, num_classes=3)
    gan = builders.algorithm(config, specs)
    count, size = gan.draws, defaults.images_per_batch(config)
    images = helpers.random_images(count * size, shape)
    if len(shape) == 1:
        images = images.astype(np.float32)  # points
    batch = helpers.real_batch(
        jnp.asarray(images.reshape(count, -1, *shape)),
        jnp.arange(count * size).reshape(count, -1) % 3,
    )
    return gan, builders.hyperparams(config), batch


def trace(config, shape=SHAPE):
    """Trace one step; return its state before and after, and metrics."""
    gan, hyperparams, batch = pieces(config, shape)
    before = builders.abstract_state(
        config, gan, builders.single_source_specs(shape)
    )
    after, metrics = jax.eval_shape(
        functools.partial(adversarial.train_step, gan, hyperparams),
        before, batch, jax.random.key(0),
    )
    return before, after, metrics


def run(config, num_steps):
    """Run steps; return (state, metrics)."""
    gan, hyperparams, batch = pieces(config)
    state = game.init(gan, jax.random.key(1), SHAPE)
    for _ in range(num_steps):  # op by op: to compile each would take minutes
        state, metrics = adversarial.train_step(
            gan, hyperparams, state, batch, jax.random.key(2)
        )
    return state, metrics


def uncovered_pairs(names):
    return set(itertools.combinations(enumerate(names), 2))


def pairwise(product):
    """Choose few combinations of a product that cover each pair of names."""
    wanted = set().union(*map(uncovered_pairs, product))
    chosen = []
    for names in product:  # greedy: those that bring two new pairs or more
        if len(uncovered_pairs(names) & wanted) > 1:
            chosen.append(names)
            wanted -= uncovered_pairs(names)
    for names in product:
        if uncovered_pairs(names) & wanted:
            chosen.append(names)
            wanted -= uncovered_pairs(names)
    return chosen


ADMITTED = [names for names in PRODUCT if config_of(*names) is not None]
PAIRS = pairwise(ADMITTED)


def test_all_combinations_are_valid_with_dense_nets_without_batchnorm():
    assert ADMITTED == PRODUCT


def test_the_chosen_combinations_are_few_and_cover_every_pair():
    covered = set().union(*map(uncovered_pairs, PAIRS))
    assert covered == set().union(*map(uncovered_pairs, ADMITTED))
    assert len(PAIRS) < len(ADMITTED) / 2


@pytest.mark.parametrize('names', [
    pytest.param(names, marks=[] if names in PAIRS else [pytest.mark.slow])
    for names in ADMITTED
], ids='-'.join)
def test_combination_can_be_traced(names):
    before, after, metrics = trace(config_of(*names))
    assert jax.tree.structure(before) == jax.tree.structure(after)
    jax.tree.map(
        lambda a, b: pytest.fail(f'{a} -> {b}')
        if (a.shape, a.dtype) != (b.shape, b.dtype) else None, before, after,
    )
    assert {(m.shape, m.dtype) for m in metrics.values()} == {
        ((), np.dtype('float32'))
    }


def assert_finite(names, num_steps):
    state, metrics = run(config_of(*names), num_steps)
    for leaf in jax.tree.leaves((state, metrics)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize('names', PAIRS, ids='-'.join)
def test_combination_runs(names):
    assert_finite(names, 1)


@pytest.mark.slow
@pytest.mark.parametrize('names', ADMITTED, ids='-'.join)
def test_every_combination_runs(names):
    assert_finite(names, 2)


@pytest.mark.parametrize('optimizer', optimizers.OPTIMIZERS)
def test_unrolling_stays_finite_where_d_has_no_gradient(optimizer):
    # Hinge gives D's last bias a gradient of 1/2 - 1/2, exactly 0.
    config = config_of('hinge', '', 'unrolled')
    config.d_optimizer.name = optimizer
    _, metrics = run(config, 1)
    assert np.isfinite(metrics['g/grad_norm'])
