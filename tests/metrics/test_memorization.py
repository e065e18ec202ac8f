"""Copies are detected, with and without noise; other samples are not."""

import itertools

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import memorization


def draw(random, count, dimension=12):
    return random.normal(size=(count, dimension))


def copycat(share, noise):
    """Return a sampler of which a share of samples are noisy copies."""

    def sample(random, training, count):
        fresh = draw(random, count, training.shape[1])
        copies = training[random.integers(len(training), size=count)]
        copies = copies + random.normal(0, noise, copies.shape)
        return np.where(random.random((count, 1)) < share, copies, fresh)

    return sample


def collapsed(random, training, count):
    spot = draw(random, 1, training.shape[1])
    return spot + random.normal(0, 0.01, (count, training.shape[1]))


honest = copycat(0, 0)
DISHONEST = {
    'all': copycat(1, 0), 'noisy': copycat(1, 0.3), 'a tenth': copycat(0.1, 0),
    'a noisy tenth': copycat(0.1, 0.1),
}
HONEST = {
    'fresh': honest, 'collapsed': collapsed,
    'blurred': lambda random, _, count: 0.7 * draw(random, count),
    'near the mean': lambda random, _, count: 0.2 * draw(random, count),
    'far': lambda random, _, count: 9 + draw(random, count),
}


def judge(
    sampler, seed=0, counts=(1000, 500, 2000), dimension=12, **options
):
    """Return the verdict on (samples, held-out, training) of such sizes."""
    random = np.random.default_rng(seed)
    count, held_out, training = counts
    trained_on = draw(random, training, dimension)
    return memorization.verdict(
        sampler(random, trained_on, count), draw(random, held_out, dimension),
        trained_on, **options,
    )


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', DISHONEST)
def test_generators_that_copy_are_detected(name, seed):
    found = judge(DISHONEST[name], seed)
    assert found['verdict'] == 'copies', found
    assert found['nearer_p'] < 0.01 and found['in_training_p'] < 0.01
    assert found['nearer'] > 0.1 and found['in_training'] > 0.85


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', HONEST)
def test_generators_that_do_not_copy_pass(name, seed):
    found = judge(HONEST[name], seed)
    assert found['verdict'] == 'no sign of copying', found


def test_exact_copies_have_distance_0():
    found = judge(DISHONEST['all'])
    assert found['distance'] == 0
    assert found['nearer'] == found['in_training'] == 1


def test_blurred_samples_are_near_but_not_only_to_training_images():
    found = judge(HONEST['blurred'])
    assert found['nearer_p'] < 1e-3
    np.testing.assert_allclose(
        found['in_training'], found['in_training_expected'], atol=0.1
    )


def test_as_few_near_samples_as_held_out_images_are_not_called_copies():
    def sampler(random, training, count):
        return np.r_[training[:40], 9 + draw(random, count - 40)]

    found = judge(sampler)
    assert found['in_training'] == 1 and found['in_training_p'] < 0.01
    assert found['nearer'] == 0.04 and found['nearer_p'] > 0.5
    assert found['verdict'] == 'no sign of copying'


def test_collapsed_samples_count_once_for_each_near_image():
    random = np.random.default_rng(0)
    training, held_out = draw(random, 400), draw(random, 400)
    samples = training[:1] + random.normal(0, 1e-3, (500, 12))
    found = memorization.verdict(samples, held_out, training)
    assert found['nearer'] == 1 and found['near_images'] == 1
    assert found['in_training_p'] == 0.5


def test_both_tests_have_their_nominal_false_positive_rate():
    found = [
        judge(honest, seed, counts=(120, 79, 200), dimension=3)
        for seed in range(400)
    ]
    for name in ('nearer_p', 'in_training_p'):
        for level in (0.05, 0.2):
            share = np.mean([f[name] <= level for f in found])
            deviation = np.sqrt(level * (1 - level) / len(found))
            assert share < level + 3 * deviation, (name, level)
    # Not shy either: counts make steps, so shares stay below the levels.
    assert np.mean([f['nearer_p'] <= 0.2 for f in found]) > 0.1
    assert np.mean([f['in_training_p'] <= 0.2 for f in found]) > 0.1
    assert 0.03 < np.mean([f['nearer'] for f in found]) < 0.07


def test_numbers_by_hand():
    training = np.array([[0.0], [10], [20], [30]])
    held_out = np.array([[1.0], [13], [25]])  # 1, 3 and 5 away
    samples = np.array([[0.5], [10.1], [11], [12.9], [40]])
    found = memorization.verdict(samples, held_out, training, quantile=0.5)
    # j = 2, so r = 3. 0.5 is as near to the held-out 1 as to 0: to training.
    expected = {
        'verdict': 'no sign of copying',
        'distance': np.mean([0.5, 0.1, 1, 2.9, 10]) / 3, 'radius': 3,
        'nearer': 4 / 5, 'nearer_expected': 2 / 4,
        'nearer_p': at_least_below(4, 5, rank=2, held=3),
        'near_images': 3,  # 0, 10 and, for 12.9, the held-out 13
        'in_training': 2 / 3, 'in_training_expected': 4 / 7,
        # Hypergeometric: 2 or 3 of 3 from 4 of 7.
        'in_training_p': (4 + 18) / 35,
    }
    assert found.pop('verdict') == expected.pop('verdict')
    assert found.pop('reference') == memorization.HELD_OUT
    assert found == pytest.approx(expected)


def at_least_below(least, count, rank, held):
    """Return P(`least` samples or more below the rank-th) by all orders."""
    below = [
        places[rank - 1] - (rank - 1)
        for places in itertools.combinations(range(count + held), held)
    ]
    return np.mean(np.array(below) >= least)


@pytest.mark.parametrize('block', [7, 512])
@pytest.mark.parametrize('count', [1, 3, 30])
def test_neighbours_are_the_nearest_in_order(count, block, monkeypatch):
    monkeypatch.setattr(distances, 'BLOCK', block)
    random = np.random.default_rng(0)
    samples, training = random.normal(size=(20, 3, 2)), random.normal(
        size=(30, 3, 2)
    )
    numbers, apart = memorization.neighbours(samples, training, count=count)
    assert numbers.shape == apart.shape == (20, count)
    for sample, some, far in zip(samples, numbers, apart):
        every = np.linalg.norm((training - sample).reshape(30, -1), axis=1)
        np.testing.assert_array_equal(some, every.argsort()[:count])
        np.testing.assert_allclose(far, np.sort(every)[:count])


def test_copies_have_distance_exactly_0_in_uint8_too():
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), np.uint8)
    numbers, apart = memorization.neighbours(images[::-1], images)
    np.testing.assert_array_equal(numbers[:, 0], np.arange(9)[::-1])
    assert (apart == 0).all()


def test_bad_sets_are_refused():
    random = np.random.default_rng(0)
    few, many = draw(random, 18), draw(random, 50)
    with pytest.raises(errors.DataError, match='held-out images: 18 .* 19'):
        memorization.verdict(many, few, many)
    with pytest.raises(errors.DataError, match='samples have 12 .* 3'):
        memorization.verdict(many, many, many[:, :3])
    with pytest.raises(errors.DataError, match='count=51 is not from 1 to 50'):
        memorization.neighbours(few, many, count=51)
    with pytest.raises(errors.NonFiniteError, match='samples contain'):
        memorization.verdict(many * np.nan, many, many)


def judge_alone(sampler, seed=0, count=1000, training=2000):
    random = np.random.default_rng(seed)
    trained_on = draw(random, training)
    return memorization.verdict_alone(
        sampler(random, trained_on, count), trained_on
    )


@pytest.mark.parametrize('name', DISHONEST)
def test_copies_are_too_near_without_held_out_images_too(name):
    verdict = judge_alone(DISHONEST[name])
    assert verdict['verdict'] == memorization.NEARER
    assert verdict['nearer_p'] < 1e-6
    assert verdict['reference'] == memorization.OTHERS


@pytest.mark.integration
def test_fresh_samples_are_rarely_too_near_without_held_out_images():
    values = [judge_alone(honest, seed) for seed in range(30)]
    assert sum(v['verdict'] == memorization.NEARER for v in values) <= 2
    np.testing.assert_allclose(
        np.mean([v['nearer'] for v in values]), 0.05, atol=0.01
    )
    np.testing.assert_allclose(
        np.mean([v['distance'] for v in values]), 1, atol=0.01
    )


def test_blurred_samples_are_told_apart_by_held_out_images_alone():
    blurred = HONEST['blurred']
    assert judge_alone(blurred)['verdict'] == memorization.NEARER
    assert judge(blurred)['verdict'] == memorization.NO_SIGN


def test_distances_among_training_images_leave_out_the_image_itself():
    training = np.arange(40.0)[:, None]  # each is 1 from the next
    verdict = memorization.verdict_alone(np.array([[0.25], [7.5]]), training)
    assert verdict['radius'] == 1 and verdict['nearer'] == 1
    assert verdict['distance'] == 0.375
