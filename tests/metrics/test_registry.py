"""Numbers by name: floors, what is seen once, what each is blind to."""

import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.features import extractors
from gan_jax.metrics import costs
from gan_jax.metrics import registry


class Counting:
    """The pixels as features, and logits of the mean; counts its calls."""

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


def test_images_are_seen_once():
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
def test_reference_is_kept_between_processes(classes, left, tmp_path):
    extractor = Counting(classes)
    first = view(extractor=extractor, cache=tmp_path).features
    again = view(extractor=extractor, cache=tmp_path)
    np.testing.assert_array_equal(again.features, first)
    assert extractor.calls == 1
    if not classes:
        with pytest.raises(errors.ConfigError, match='tell no classes'):
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


def test_cache_that_cannot_be_written_costs_time_alone(tmp_path):
    (tmp_path / 'file').write_text('')
    assert len(view(cache=tmp_path / 'file').features) == 64


def test_halves_are_apart_and_equal():
    whole = view(63)
    first, second = registry.halves(whole)
    rows = {row.tobytes() for half in (first, second) for row in half.images}
    assert len(first) == len(second) == 31 and len(rows) == 62


@pytest.mark.parametrize('name', registry.MEASURES)
def test_each_measure_gives_its_numbers_beside_a_floor(name):
    real, fake = view(200), view(200, seed=1)
    found = registry.measure(name, real, fake, registry.halves(real))
    assert set(registry.MEASURES[name].better) <= set(found)
    assert all(number.floor is not None for number in found.values())
    bare = registry.measure(name, real, fake)
    assert all(number.floor is None for number in bare.values())
    assert {k: n.value for k, n in bare.items()} == (
        {k: n.value for k, n in found.items()}
    )


def test_every_number_that_has_a_better_way_has_a_cost():
    for measure in registry.MEASURES.values():
        for name, way in measure.better.items():
            cost = costs.COSTS.get(f'eval/{name}')
            assert (cost is None) == (way == '')
            if cost is not None:
                assert (cost(2.0) > cost(1.0)) == (way == 'lower')


def test_measures_of_images_and_of_classes_tell_what_they_lack():
    points = registry.View(np.zeros((60, 2), np.float32), None, Counting(False))
    with pytest.raises(errors.ConfigError, match='of images, not of points'):
        registry.measure('swd', points, points)
    with pytest.raises(errors.ConfigError, match='tell no classes'):
        registry.measure('is', points, points)


def test_inception_score_is_blind_where_others_see():
    """One good image of each class, over and over."""
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


def test_nearest_samples_stand_before_their_neighbours():
    training = view(50)
    fake = view(20, seed=1)
    fake.images[7] = training.images[31]
    fake.images[3] = training.images[12]
    fake.images[3, 0, 0] ^= 1
    rows, apart = registry.closest(fake, training, rows=2, count=3)
    rows = rows.reshape(2, 4, 8, 8, 1)
    np.testing.assert_array_equal(rows[0, 0], fake.images[7])
    np.testing.assert_array_equal(rows[0, 1], training.images[31])
    np.testing.assert_array_equal(rows[1, 0], fake.images[3])
    np.testing.assert_array_equal(rows[1, 1], training.images[12])
    assert apart[0, 0] == 0 and apart[1, 0] == 1
    assert (np.diff(apart) >= 0).all()
