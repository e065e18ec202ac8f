"""Linear probes of features, and fine-tuning of a discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import helpers
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D
from gan_jax.core import errors
from gan_jax.features import probe
from gan_jax.networks import mlp

COUNT = 600
SIZE = 16


def blobs(classes=3, dimension=5, seed=0):
    """Return linearly separable classes with a margin."""
    random = np.random.RandomState(seed)
    labels = np.arange(COUNT) % classes
    means = 20 * np.eye(classes, dimension)
    return means[labels] + random.uniform(-1, 1, (COUNT, dimension)), labels


@pytest.mark.parametrize('classes', [2, 3])
def test_linearly_separable_classes_are_all_found(classes):
    rows, labels = blobs(classes)
    assert probe.probe(rows[:300], labels[:300], rows[300:], labels[300:]) == 1


def test_random_labels_have_chance_accuracy():
    rows, labels = blobs()
    labels = np.random.RandomState(1).permutation(labels)
    found = probe.probe(rows[:300], labels[:300], rows[300:], labels[300:])
    assert found == pytest.approx(1 / 3, abs=0.12)  # 4.4 deviations


def test_the_unit_of_a_feature_does_not_matter():
    rows, labels = blobs(seed=2)
    rows = rows / 20 + np.random.RandomState(2).normal(size=rows.shape)
    other = rows * [1e-4, 1, 1e5, 3, 1] + [7, 0, 1e6, 0, 0]
    both = [
        probe.probe(x[:300], labels[:300], x[300:], labels[300:])
        for x in (rows, other)
    ]
    assert 0.4 < both[0] < 0.9
    assert both[0] == pytest.approx(both[1], abs=0.01)


def test_a_constant_feature_is_allowed():
    rows, labels = blobs()
    rows = np.concatenate([rows, np.full((COUNT, 1), 0.1)], 1)
    test = rows[300:] + [0, 0, 0, 0, 0, 1e-9]
    assert probe.probe(rows[:300], labels[:300], test, labels[300:]) == 1


def test_a_large_penalty_predicts_the_largest_class():
    rows, labels = blobs()
    kept = (labels == 0) | (np.arange(COUNT) % 5 == 0)
    rows, labels = rows[kept], labels[kept]
    assert probe.probe(rows, labels, rows, labels) == 1
    found = probe.probe(rows, labels, rows, labels, weight=1e6)
    assert found == (labels == 0).mean()


@pytest.mark.parametrize('weight', [1e-3, 0.1])
def test_the_fit_is_at_a_stationary_point(weight):
    rows, labels = blobs()
    rows = rows / 10 + np.random.RandomState(3).normal(size=rows.shape)
    model = probe._fit(rows, labels, weight)
    shares = special.softmax(rows @ model.coef_.T + model.intercept_, 1)
    wrong = shares - np.eye(3)[labels]
    slope = wrong.T @ rows / COUNT + weight * model.coef_
    assert abs(slope).max() < 2e-4 < 0.2 * abs(weight * model.coef_).max()
    assert abs(wrong.mean(0)).max() < 2e-4


@pytest.mark.parametrize('change, kind, reason', [
    ({'labels': np.zeros(COUNT, int)}, errors.DataError, '2 classes'),
    ({'labels': np.zeros(3, int)}, errors.DataError, r'integers \[600\]'),
    ({'labels': np.zeros(COUNT)}, errors.DataError, 'float64'),
    ({'features': np.zeros((COUNT, 4))}, errors.DataError, '4 columns'),
    ({'features': np.full((COUNT, 5), np.nan)}, errors.NonFiniteError, 'NaN'),
])
def test_bad_arguments_are_refused(change, kind, reason):
    rows, labels = blobs()
    arguments = {
        'features': rows, 'labels': labels, 'test_features': rows,
        'test_labels': labels, **change,
    }
    with pytest.raises(kind, match=reason):
        probe.probe(**arguments)


def test_a_split_takes_the_share_of_each_class_by_seed():
    labels = np.array([0] * 10 + [1] * 20 + [2] * 2)
    fit, test = probe.split(labels)
    assert sorted([*fit, *test]) == list(range(32))
    assert list(np.bincount(labels[test])) == [3, 6, 1]
    assert list(test) == list(probe.split(labels)[1])
    assert list(test) != list(probe.split(labels, seed=1)[1])
    with pytest.raises(errors.DataError, match='class 3 has only one image'):
        probe.split([0, 0, 3])


def parity():
    """Return points whose class is whether two coordinates agree in sign.

    No plane parts the classes, and of units of random weights in 16 dimensions
    hardly one looks along the two that count.
    """
    points = np.random.RandomState(0).normal(size=(COUNT, SIZE))
    return points.astype(np.float32), (
        points[:, 0] * points[:, 1] > 0
    ).astype(int)


def parity_discriminator(width=4):
    """Return a GAN whose D has the hidden units that parity needs."""
    gan = helpers.linear_gan(
        generator=mlp.Generator(image_shape=(SIZE,), width=4, depth=1),
        discriminator=mlp.Discriminator(width=width, depth=1),
    )
    state = game.init(gan, jax.random.key(0), (SIZE,))
    params = state.players[D].params
    kernel = np.zeros((SIZE, width), np.float32)
    kernel[:2, :4] = [[1, -1, 1, -1], [1, -1, -1, 1]]
    name = next(
        name for name, layer in params.items()
        if layer['kernel'].shape == (SIZE, width)
    )
    known = {**params, name: {**params[name], 'kernel': jnp.asarray(kernel)}}
    player = state.players[D].replace(params=known)
    return gan, state, algorithm.replace_player(state, D, player)


def test_comparison_separates_a_trained_from_an_untrained_discriminator():
    gan, _, state = parity_discriminator()
    points, labels = parity()
    found = probe.compare(gan, state, points, labels)
    assert found.discriminator > 0.95
    assert found.random < 0.7 and found.pixels < 0.65


def test_a_comparison_can_have_a_test_set():
    gan, start, state = parity_discriminator()
    points, labels = parity()
    wrong = 1 - labels[400:]
    found = probe.compare(
        gan, state, points[:400], labels[:400], test=(points[400:], wrong)
    )
    assert found.discriminator < 0.05
    # The same D before training is not this one, whatever it was trained to.
    untrained = probe.compare(
        gan, start, points[:400], labels[:400], test=(points[400:], wrong)
    )
    assert untrained.random == found.random


@pytest.mark.integration
def test_fine_tuning_keeps_good_features_and_learns_missing_ones():
    points, labels = parity()
    points = points[:, :4]
    gan = helpers.linear_gan(
        generator=mlp.Generator(image_shape=(4,), width=4, depth=1),
        discriminator=mlp.Discriminator(width=32, depth=1),
    )
    state = game.init(gan, jax.random.key(0), (4,))
    sets = points[:400], labels[:400], points[400:], labels[400:]
    untuned = probe.fine_tune(gan, state, *sets, steps=0)
    tuned = probe.fine_tune(gan, state, *sets, steps=200, learning_rate=1e-2)
    assert untuned < 0.65 and tuned > 0.9


def test_fine_tuning_is_by_seed():
    gan, _, state = parity_discriminator()
    points, labels = parity()
    sets = points[:50], labels[:50], points[400:], labels[400:]
    first, second = (
        probe.fine_tune(gan, state, *sets, steps=3) for _ in range(2)
    )
    assert first == second
