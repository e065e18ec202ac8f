"""What numbers do when real images are spoiled: the benchmark, made small."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.features import classifier
from gan_jax.features import extractors
from gan_jax.metrics import registry

script, parse = helpers.load_script('metric_reactions')

DAMAGES = [n for n, f in script.FAMILIES.items() if f.change is not None]
IMAGES = helpers.random_images(6, (12, 12, 3))


def change(name, level, images=IMAGES):
    return script.FAMILIES[name].change(
        images, level, np.random.RandomState(0)
    )


@pytest.mark.parametrize('name', DAMAGES)
def test_damage_grows_from_nothing(name):
    np.testing.assert_array_equal(change(name, 0), IMAGES)
    levels = script.FAMILIES[name].levels
    images = np.zeros((2, 32, 32, 1), np.uint8)  # noise hides a swirl
    images[:, 16:] = 255
    harm = []
    for level in levels:
        spoiled = change(name, level, images)
        assert spoiled.dtype == np.uint8 and spoiled.shape == images.shape
        harm.append(abs(spoiled.astype(float) - images).mean())
    assert harm[0] > 0 and (np.diff(harm) > 0).all()


def test_salt_and_pepper_spoil_their_share_of_pixels_in_equal_parts():
    grey = np.full((10, 50, 50, 3), 99, np.uint8)
    spoiled = change('salt', 0.3, grey)
    assert (spoiled == spoiled[..., :1]).all()
    for value, share in ((0, 0.15), (255, 0.15), (99, 0.7)):
        np.testing.assert_allclose((spoiled == value).mean(), share, atol=0.01)


def test_noise_is_mixed_in():
    grey = np.full((4, 40, 40, 1), 200, np.uint8)
    spoiled = change('noise', 0.5, grey).astype(float)
    np.testing.assert_allclose(spoiled.mean(), (200 + 127.5) / 2, atol=1)
    np.testing.assert_allclose(spoiled.std(), 32, atol=1)


def test_blur_stays_within_an_image_and_a_channel():
    images = np.zeros((2, 11, 11, 2), np.uint8)
    images[0, 5, 5, 0] = 255
    spoiled = change('blur', 1, images)
    # The peak of a Gaussian in 2-D of deviation 1.
    assert spoiled[0, 5, 5, 0] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert not spoiled[1].any() and not spoiled[..., 1].any()


def test_swirl_turns_by_its_angle_and_keeps_distances():
    rows, columns = np.indices((41, 41)) - 20
    apart = np.hypot(rows, columns)
    rings = (3 * apart).astype(np.uint8)[None, ..., None]
    spoiled = change('swirl', 2, rings)
    np.testing.assert_allclose(spoiled, rings, atol=3)  # by interpolation
    # A sector about the angle 0 is seen where angle + turn = 0.
    angle = np.arctan2(rows, columns)
    sector = (abs(angle) < 0.3)[None, ..., None] * np.uint8(255)
    spoiled = change('swirl', 2, sector)[0, ..., 0] > 127
    ring = spoiled & (abs(apart - 8) < 0.5)
    ctx = 2 * np.exp(-5 * 8 / (np.log(2) * 41))
    np.testing.assert_allclose(angle[ring].mean(), -ctx, atol=0.1)


def test_chosen_images_are_of_the_classes_and_as_many_as_asked():
    labels = np.array([3, 0, 1, 0, 2, 1, 3, 2, 0, 1])
    assert script.kept(labels, 2, 4).tolist() == [1, 2, 3, 5]
    with pytest.raises(errors.DataError, match='have 6 images, fewer than 7'):
        script.kept(labels, 2, 7)
    assert script.each(labels, 1, 6).tolist() == [1, 2, 4, 0, 1, 2]
    assert script.each(labels, 2, 8).tolist() == [1, 2, 4, 0, 3, 5, 7, 6]


def test_sets_share_no_image():
    digits = sources.load(sources.Request('digits'))
    marked = np.arange(1797, dtype=np.uint32)[:, None].view(np.uint8)
    images, labels, others, other_labels = script.split(
        digits._replace(images=marked), 200
    )
    numbers, rest = images.view(np.uint32)[:, 0], others.view(np.uint32)[:, 0]
    assert sorted([*numbers, *rest]) == list(range(1797))
    np.testing.assert_array_equal(digits.labels[numbers], labels)
    np.testing.assert_array_equal(digits.labels[rest], other_labels)
    with pytest.raises(errors.DataError, match='half of 1797'):
        script.split(digits, 900)


@pytest.fixture(scope='module')
def random_views():
    """Give a function of images to views by the untrained network."""
    extractor = extractors.make('random')
    return lambda images: registry.View(images, None, extractor)


@pytest.mark.parametrize('name', DAMAGES)
def test_fid_rises_with_damage_from_near_its_floor(name, random_views):
    digits = sources.load(sources.Request('digits'))
    images, _, others, _ = script.split(digits, 120)
    real = random_views(images)
    found = [
        registry.measure(
            'fid', real, random_views(change(name, level, others[:120]))
        )['fid'].value for level in (0, *script.FAMILIES[name].levels)
    ]
    assert (np.diff(found) > 0).all()
    floor = registry.measure(
        'fid', random_views(others[120:240]), random_views(others[:120])
    )['fid'].value
    assert found[0] < 1.5 * floor < found[1]


def test_numbers_have_the_names_of_the_features():
    values = {'fd_efficientnet_lite0': 12.5, 'recall': 0.25}
    row = script.Row('blur', 2, values, None)
    parse('--features=efficientnet_lite0')
    titles = [cell.strip() for cell in script.head().split('|')]
    assert 'fd_efficientnet_lite0' in titles and 'recall' in titles
    assert not {'FID', 'KID', 'IS'} & set(titles)
    assert '| 12.5 |' in script.table_row(row)
    parse('--features=classifier')
    assert '| FID | KID |' in script.head()
    assert '12.5' not in script.table_row(row)


@pytest.fixture
def written(monkeypatch, tmp_path, capsys):
    """Run main on choices of digits, with a small classifier."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(script, 'SETTINGS', classifier.Settings(
        steps=200, width=8, num_features=32
    ))
    monkeypatch.setattr(script, 'FAMILIES', {
        name: script.FAMILIES[name]._replace(levels=levels)
        for name, levels in (('kept', (5, 2)), ('each', (100, 1)))
    })
    parse(
        f'--out={tmp_path}/a.png', f'--json={tmp_path}/a.json', '--num=200',
        '--dpi=30',
    )
    script.main([])
    with Image.open(tmp_path / 'a.png') as image:
        assert image.size == (450, 270)
    told = json.loads((tmp_path / 'a.json').read_text())
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith('|') for line in lines) == 2 + len(told['rows'])
    return told


def test_numbers_see_what_is_missing_each_in_its_way(written):
    rows = {(row['set'], row['level']): row for row in written['rows']}
    assert list(rows) == [
        ('real', None), ('kept', 5), ('kept', 2), ('each', 1),
    ]  # 100 of each class are more than there are
    assert written['num'] == 200 and written['features']['fingerprint']
    real, kept, each = rows['real', None], rows['kept', 2], rows['each', 1]
    for name in ('fid', 'kid'):
        assert real[name] < rows['kept', 5][name] < kept[name], name
    for name in ('recall', 'coverage'):
        assert kept[name] < 0.75 * real[name]
        assert each[name] < 0.4 * real[name]
    for lost in (kept, each):
        assert lost['precision'] > real['precision'] - 0.05
        assert lost['fid'] > 3 * real['fid']
    assert kept['is'] < 0.5 * real['is']
    # One image of each class, again and again, has a good score.
    assert each['is'] > 0.8 * real['is']
    assert each['ms_ssim'] > 0.95 > 0.6 > real['ms_ssim']
