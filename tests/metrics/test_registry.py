"""Metrics by name: floors, cached features, and the one list of names."""

import subprocess
import sys

import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax.metrics import registry


class Counting:
    """An extractor of pixels, and of three as logits, that counts its calls."""

    fingerprint, name = 'abc', 'counting'

    def __init__(self, classes=True):
        self.calls, self._classes = 0, classes

    def __call__(self, images, progress=None):
        self.calls += 1
        rows = images.reshape(len(images), -1).astype(np.float32) / 255
        logits = rows[:, :3] * 40 if self._classes else None
        return extractors.Features(rows, logits)


def view(count=64, seed=0, shape=(8, 8, 1), extractor=None, **options):
    images = helpers.random_images(count, shape, seed)
    return registry.View(images, None, extractor or Counting(), **options)


def test_features_are_extracted_once():
    extractor = Counting()
    seen = view(extractor=extractor)
    part = seen.part(np.array([3, 5]))
    np.testing.assert_array_equal(part.features, seen.features[[3, 5]])
    np.testing.assert_array_equal(part.logits, seen.logits[[3, 5]])
    np.testing.assert_array_equal(part.images, seen.images[[3, 5]])
    assert extractor.calls == 1


@pytest.mark.parametrize('classes, left', [
    (True, 100), (False, 100), (False, 0),
])
def test_features_are_cached_between_processes(classes, left, tmp_path):
    extractor = Counting(classes)
    first = view(extractor=extractor, cache=tmp_path).features
    again = view(extractor=extractor, cache=tmp_path)
    np.testing.assert_array_equal(again.features, first)
    assert extractor.calls == 1
    if not classes:
        with pytest.raises(errors.ConfigError, match='have no class logits'):
            again.logits
    view(extractor=extractor, cache=tmp_path, seed=1).features
    extractor.fingerprint = 'other'
    view(extractor=extractor, cache=tmp_path).features
    assert extractor.calls == 3
    (path, *_) = sorted(tmp_path.iterdir())
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:left])
    again = view(extractor=extractor, cache=tmp_path).features
    np.testing.assert_array_equal(again, first)
    assert extractor.calls == 4


def test_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / 'file').write_text('')
    assert len(view(cache=tmp_path / 'file').features) == 64


def test_halves_are_disjoint_and_of_equal_size():
    whole = view(63)
    first, second = registry.halves(whole)
    rows = {row.tobytes() for half in (first, second) for row in half.images}
    assert len(first) == len(second) == 31 and len(rows) == 62


@pytest.mark.parametrize('name', catalog.METRICS)
def test_each_metric_returns_its_numbers_beside_a_floor(name):
    real, fake = view(200), view(200, seed=1)
    numbers = registry.measure(name, real, fake, registry.halves(real))
    assert set(catalog.METRICS[name].better) <= set(numbers)
    assert all(number.floor is not None for number in numbers.values())
    bare = registry.measure(name, real, fake)
    assert all(number.floor is None for number in bare.values())
    assert {k: n.value for k, n in bare.items()} == (
        {k: n.value for k, n in numbers.items()}
    )


def test_every_metric_of_the_catalog_has_a_function():
    assert set(registry._FUNCTIONS) == set(catalog.METRICS)
    assert catalog.NAMES == (*catalog.METRICS, *catalog.OF_RUNS)


def test_numbers_with_a_better_direction_rank_checkpoints():
    for metric in catalog.METRICS.values():
        for name, better in metric.better.items():
            key = f'eval/{name}'
            assert (key in catalog.RANKED) == (better != '')
            if better:
                rising = catalog.cost(key, 2.0) > catalog.cost(key, 1.0)
                assert rising == (better == 'lower')


@pytest.mark.integration
def test_help_of_evaluate_lists_the_catalog_without_slow_imports():
    code = (
        'import sys; from gan_jax.cli import evaluate\n'
        "print(evaluate.flags.FLAGS['metrics'].help)\n"
        "print(sorted({'jax', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        check=True,
    )
    text, slow = process.stdout.splitlines()
    assert f"'{','.join(catalog.NAMES)}'" in text and slow == '[]'


def test_own_names_of_numbers_are_those_of_the_features():
    extractor = Counting()
    extractor.name = 'efficientnet_lite0'
    real, fake = (view(200, seed, extractor=extractor) for seed in (0, 1))
    values = {}
    for name in ('fid', 'kid', 'is', 'prdc'):
        numbers = registry.measure(name, real, fake, registry.halves(real))
        assert not {'fid', 'kid', 'kid_std', 'is', 'is_std'} & set(numbers)
        values |= {k: n.value for k, n in numbers.items()}
    assert {
        'fd_efficientnet_lite0', 'kd_efficientnet_lite0',
        'kd_efficientnet_lite0_std', 'is_efficientnet_lite0', 'precision',
    } <= set(values)
    assert values['fd_efficientnet_lite0'] == pytest.approx(
        registry.measure('fid', view(200), view(200, 1))['fid'].value
    )
    key = 'eval/fd_efficientnet_lite0'
    assert catalog.cost(key, 1.0) < catalog.cost(key, 2.0)
    key = 'eval/is_efficientnet_lite0'
    assert catalog.cost(key, 1.0) > catalog.cost(key, 2.0)


@pytest.mark.parametrize('number, features, name', [
    ('fid', 'classifier', 'fid'), ('kid_std', 'inception', 'kid_std'),
    ('kid_std', 'efficientnet_lite0', 'kd_efficientnet_lite0_std'),
    ('recall', 'efficientnet_lite0', 'recall'),
])
def test_name_of_a_number(number, features, name):
    assert catalog.name_of(number, features) == name


def test_metrics_that_do_not_fit_data_or_features_are_refused():
    points = registry.View(np.zeros((60, 2), np.float32), None, Counting(False))
    with pytest.raises(errors.ConfigError, match='of images, not of points'):
        registry.measure('swd', points, points)
    with pytest.raises(errors.ConfigError, match='have no class logits'):
        registry.measure('is', points, points)


def test_inception_score_misses_a_collapse_that_others_detect():
    """Every class has one good image, repeated."""
    random = np.random.RandomState(0)
    images = random.randint(0, 80, (300, 6, 6, 1)).astype(np.uint8)
    classes = np.arange(300) % 3
    images.reshape(300, -1)[np.arange(300), classes] = 255
    extractor = Counting()
    real = registry.View(images, None, extractor)
    collapsed = registry.View(images[classes], None, extractor)
    honest = registry.View(images[::-1].copy(), None, extractor)
    score = {
        name: registry.measure('is', real, fake)['is'].value
        for name, fake in (('honest', honest), ('collapsed', collapsed))
    }
    assert score['honest'] == pytest.approx(3, rel=0.01)
    assert score['collapsed'] == pytest.approx(3, rel=0.01)
    seen = registry.measure('prdc', real, collapsed)
    assert seen['precision'].value > 0.99
    assert seen['recall'].value < 0.05 and seen['coverage'].value < 0.2
    alike = registry.measure('ms_ssim', real, collapsed)['ms_ssim'].value
    assert alike > 0.99
    assert registry.measure('ms_ssim', real, honest)['ms_ssim'].value < 0.8


def test_nearest_samples_come_before_their_neighbours():
    training = view(50)
    fake = view(20, seed=1)
    fake.images[7] = training.images[31]
    fake.images[3] = training.images[12]
    fake.images[3, 0, 0] ^= 1
    rows, distances = registry.nearest_training_images(
        fake, training, rows=2, count=3
    )
    rows = rows.reshape(2, 4, 8, 8, 1)
    np.testing.assert_array_equal(rows[0, 0], fake.images[7])
    np.testing.assert_array_equal(rows[0, 1], training.images[31])
    np.testing.assert_array_equal(rows[1, 0], fake.images[3])
    np.testing.assert_array_equal(rows[1, 1], training.images[12])
    assert distances[0, 0] == 0 and distances[1, 0] == 1
    assert (np.diff(distances) >= 0).all()
