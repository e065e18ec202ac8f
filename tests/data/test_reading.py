"""Surveys, and images in memory or on demand with the same pixels."""

import os

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.data import folder
from gan_jax.data import listing as listing_lib
from gan_jax.data import on_demand
from gan_jax.data import pictures
from gan_jax.data import reading

RED = (255, 0, 0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Use a cache folder of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'images'


def fill(root, count, channels=3, size=(4, 6)):
    """Write noise; return it, [count, *size, channels]."""
    pixels = helpers.random_images(count, (*size, channels))
    for place, image in enumerate(pixels):
        image_files.write(
            root / f'{place:04d}.png', image_files.encoded(image)
        )
    return pixels


def read(root, memory=None, max_bad=0.01, **changes):
    """Return (images, their indices in the listing)."""
    listed = folder.listing(root)
    preparation = pictures.Preparation(**changes)
    return reading.read(listed, preparation, memory=memory, max_bad=max_bad)


def both(root, **changes):
    """Read in memory and on demand; return the images, which must agree."""
    held, held_indices = read(root, None, **changes)
    lazy, lazy_indices = read(root, 0, **changes)
    assert on_demand.in_memory(held)
    assert isinstance(lazy, on_demand.OnDemand)
    assert held.dtype == lazy.dtype == np.uint8
    np.testing.assert_array_equal(held_indices, lazy_indices)
    np.testing.assert_array_equal(held, lazy[:])
    return held


def test_memory_decides_between_an_array_and_reading_on_demand(root):
    pixels = fill(root, 10)
    for memory, held in ((10 * 72, True), (10 * 72 - 1, False), (None, True)):
        images, places = read(root, memory)
        assert on_demand.in_memory(images) == held
        np.testing.assert_array_equal(images[:], pixels)
        np.testing.assert_array_equal(places, np.arange(10))


def test_budget_is_of_prepared_images(root):
    fill(root, 10)
    images, _ = read(root, 10 * 12, image_size=(3, 4), channels=1)
    assert on_demand.in_memory(images) and images.shape == (10, 3, 4, 1)
    images, _ = read(root, 10 * 36 - 1, image_size=(3, 4))
    assert not on_demand.in_memory(images) and images.shape == (10, 3, 4, 3)


@pytest.mark.parametrize('count', [1, 7, 8, 9, 40])
def test_survey_keeps_the_order_whatever_the_number(count, root):
    pixels = fill(root, count)
    np.testing.assert_array_equal(both(root), pixels)


def test_on_demand_reads_any_order_and_repetitions(root):
    pixels = fill(root, 5)
    images, _ = read(root, 0)
    chosen = np.array([[3, 0], [3, 4]])
    np.testing.assert_array_equal(images[chosen], pixels[chosen])
    np.testing.assert_array_equal(images[-1], pixels[-1])


@pytest.mark.parametrize(
    'names, channels',
    [(['L'], 1), (['1', 'L', 'LA'], 1), (['L', 'RGB'], 3), (['RGBA'], 3)],
)
def test_channels_are_1_where_all_are_grey_else_3(names, channels, root):
    for place, name in enumerate(names):
        shape = {'RGB': (3,), 'RGBA': (4,), 'LA': (2,)}.get(name, ())
        pixels = helpers.random_images(1, (4, 4, *shape), seed=place)[0]
        content = image_files.png(
            pixels, color={'RGB': 2, 'RGBA': 6, 'LA': 4}.get(name, 0)
        )
        image_files.write(root / f'{place}.png', content)
    assert both(root).shape == (len(names), 4, 4, channels)


@pytest.mark.parametrize('crop', pictures.CROPS)
@pytest.mark.parametrize('channels', [0, 1, 3, 4])
def test_mixed_images_on_any_background_are_alike_in_both_ways(
    channels, crop, root
):
    for kept in (1, 3, 4):
        pixels = helpers.random_images(1, (4, 6, kept))[0]
        image_files.write(
            root / f'{kept}.png', image_files.encoded(pixels)
        )
    clear = np.zeros((4, 6, 2), np.uint8)
    image_files.write(root / 'clear.png', image_files.png(clear, color=4))
    images = both(
        root, image_size=(8, 8), channels=channels, crop=crop, background=RED
    )
    if channels in (0, 3):  # the last is all background
        assert (images[-1] == RED).all()


def test_bad_images_are_reported_and_skipped(root, capsys):
    pixels = fill(root, 20)
    for place in (0, 13, 19):
        (root / f'{place:04d}.png').write_bytes(b'')
    good = [place for place in range(20) if place not in (0, 13, 19)]
    images, places = read(root, max_bad=0.15)
    np.testing.assert_array_equal(images, pixels[good])
    np.testing.assert_array_equal(places, good)
    assert capsys.readouterr().err.splitlines() == [
        f'skipped {name}.png of {root}: it is empty'
        for name in ('0000', '0013', '0019')
    ]
    np.testing.assert_array_equal(both(root, max_bad=0.15), pixels[good])


def test_name_with_line_breaks_is_reported_in_one_line(root, capsys):
    fill(root, 1)
    image_files.write(root / 'a\nb.png', b'')
    image_files.write(root / os.fsdecode(b'\xff.png'), b'')
    read(root, max_bad=1)
    assert capsys.readouterr().err.splitlines() == [
        f"skipped 'a\\nb.png' of {root}: it is empty",
        f"skipped '\\udcff.png' of {root}: it is empty",
    ]
    (root / '0000.png').unlink()
    with pytest.raises(errors.DataError, match=r"'a\\nb.png', is empty"):
        read(root)


@pytest.mark.parametrize('memory', [None, 0])
def test_too_many_bad_images_are_an_error(memory, root):
    fill(root, 9)
    image_files.write(root / 'bad.png', b'')
    with pytest.raises(errors.DataError) as caught:
        read(root, memory, max_bad=0.09)
    assert str(caught.value) == (
        f'1 of 10 images of {root} are bad (10.0%, and data.max_bad=0.09 '
        'allows 9.0%); the first, bad.png, is empty'
    )
    assert len(read(root, memory, max_bad=0.1)[0]) == 9


@pytest.mark.parametrize('memory', [None, 0])
def test_no_image_or_no_good_image_is_an_error(memory, root):
    root.mkdir()
    with pytest.raises(errors.DataError, match='holds no image .*png'):
        read(root, memory)
    image_files.write(root / 'bad.png', b'')
    with pytest.raises(errors.DataError, match='no readable .* 1, bad.png, is'):
        read(root, memory, max_bad=1)


@pytest.mark.parametrize('memory', [None, 0])
def test_mixed_sizes_need_an_image_size(memory, root):
    fill(root, 2)
    image_files.write(root / 'tall.png', image_files.flat(1, (9, 6)))
    with pytest.raises(errors.DataError) as caught:
        read(root, memory)
    assert str(caught.value) == (
        f'images of {root} differ in size (4x6, 9x6); set data.image_size, '
        'such as 64 or 48x80'
    )
    assert read(root, memory, image_size=(48, 80))[0].shape[1:3] == (48, 80)


def test_images_enlarged_more_than_twice_are_a_warning(root, capsys):
    fill(root, 3)
    image_files.write(root / 'tiny.png', image_files.flat(1, (1, 1)))
    read(root, image_size=(8, 12))
    assert capsys.readouterr().err == (
        'warning: 1 of 4 images are enlarged more than twice to be 8x12; the '
        'smallest is 1x1\n'
    )
    read(root, 0, image_size=(8, 13))
    assert 'warning: 4 of 4 images' in capsys.readouterr().err


def test_image_that_turns_bad_is_reported_once_and_replaced(
    root, capsys
):
    pixels = fill(root, 5)
    images, _ = read(root, 0)
    (root / '0004.png').unlink()
    image_files.write(root / '0000.png', image_files.flat(RED, (9, 9)))
    expected = pixels[[1, 1, 2, 3, 1]]
    for _ in range(2):
        np.testing.assert_array_equal(images[:], expected)
        np.testing.assert_array_equal(images[4], expected[4])
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f'skipped 0000.png of {root}: it has become 9x9; the next good image '
        'replaces it',
        f'skipped 0004.png of {root}: it cannot be read: No such file or '
        'directory; the next good image replaces it',
    ]


def test_all_images_gone_is_an_error(root):
    fill(root, 2)
    images, _ = read(root, 0)
    for path in root.iterdir():
        path.unlink()
    with pytest.raises(errors.DataError, match='no readable image is left in'):
        images[0]


def test_image_that_cannot_be_read_is_bad(root):
    fill(root, 20)
    (root / 'memory.png').symlink_to('/proc/self/mem')  # a read there fails
    listed = folder.listing(root)
    survey = listing_lib.survey(listed, pictures.Preparation())
    assert survey.skipped == (
        ('memory.png', 'cannot be read: Input/output error'),
    )
    assert len(survey.good) == 20
    # It may be readable the next time, without a change of the file.
    assert not list((root.parent / 'cache').rglob('*.json'))
    (root / 'memory.png').unlink()
    listing_lib.survey(folder.listing(root), pictures.Preparation())
    assert len(list((root.parent / 'cache').rglob('*.json'))) == 1


def test_survey_counts_sizes_modes_and_shapes(root):
    fill(root, 2)
    exif = image_files.exif(6)
    image_files.write(root / 'x.jpg', image_files.flat(
        1, (3, 5), 'JPEG', exif=exif
    ))
    listed = folder.listing(root)
    survey = listing_lib.survey(
        listed, pictures.Preparation((8, 16)), keep=True
    )
    assert survey.sizes == {(4, 6): 2, (5, 3): 1}
    assert survey.modes == {'RGB': 2, 'L': 1}
    assert survey.shapes == {(8, 16, 3): 2, (8, 16, 1): 1}
    assert [image.shape[-1] for image in survey.images] == [3, 3, 1]


def test_survey_without_keep_has_no_pixels(root):
    fill(root, 1)
    listed = folder.listing(root)
    chunks = listing_lib._chunks(listed, pictures.Preparation(), lean=True)
    [[(_, picture)]] = chunks
    assert picture.pixels.strides == (0, 0, 0)
    assert picture.pixels.shape == (4, 6, 3)


def refuse(*arguments):
    raise AssertionError('decoded')


@pytest.fixture
def surveyed(root):
    """Survey a folder with two bad files; return (survey, survey again)."""
    fill(root, 12)
    image_files.write(root / 'bad.png', b'')
    os.mkfifo(root / 'pipe.png')

    def again():
        listed = folder.listing(root)
        return listing_lib.survey(listed, pictures.Preparation())

    return again(), again


def same(one, other):
    return np.array_equal(one.good, other.good) and one[1:] == other[1:]


def test_survey_of_an_unchanged_folder_is_cached(surveyed, monkeypatch):
    first, again = surveyed
    monkeypatch.setattr(pictures, 'decode', refuse)
    assert same(first, again())
    assert [name for name, _ in first.skipped] == ['pipe.png', 'bad.png']


def test_cached_survey_is_used_on_demand(root, monkeypatch):
    pixels = fill(root, 12)
    read(root, 0)
    with monkeypatch.context() as patch:
        patch.setattr(listing_lib, '_survey', refuse)
        images, _ = read(root, 0)
    np.testing.assert_array_equal(images[:], pixels)


def test_survey_is_repeated_if_a_file_changed(surveyed, root):
    _, again = surveyed
    image_files.write(root / 'bad.png', image_files.flat(RED, (4, 6)))
    assert [name for name, _ in again().skipped] == ['pipe.png']
    (root / 'pipe.png').unlink()
    assert again().skipped == ()
    (root / '0003.png').unlink()
    assert len(again().good) == 12


def test_survey_is_repeated_for_another_preparation(root):
    fill(root, 3)
    listed = folder.listing(root)
    for size in ((8, 8), (8, 16)):
        survey = listing_lib.survey(listed, pictures.Preparation(size))
        assert survey.shapes == {(*size, 3): 3}


@pytest.mark.parametrize(
    'content', [b'', b'\xff\xfe', b'{}', b'null', b'[]', b'{"skipped": 1}']
)
def test_damaged_cache_is_ignored(content, surveyed, tmp_path):
    first, again = surveyed
    [cache] = tmp_path.glob('cache/gan_jax/surveys/*')
    whole = cache.read_bytes()
    cache.write_bytes(content)
    assert same(first, again())
    assert cache.read_bytes() == whole


def test_cache_that_cannot_be_written_is_ignored(root, tmp_path):
    (tmp_path / 'cache').write_text('no folder')
    pixels = fill(root, 3)
    np.testing.assert_array_equal(read(root, 0)[0][:], pixels)


def test_part_of_a_listing_is_read_like_the_whole(root):
    pixels = fill(root, 12)
    listed = folder.listing(root)
    part = listing_lib.choose(listed, [2, 3, 11])
    for memory in (None, 0):
        images, places = reading.read(
            part, pictures.Preparation(), memory=memory
        )
        np.testing.assert_array_equal(images[:], pixels[[2, 3, 11]])
        np.testing.assert_array_equal(places, [0, 1, 2])
    assert part.fingerprint not in (
        listed.fingerprint, listing_lib.choose(listed, [2, 3]).fingerprint
    )


def test_part_of_a_listing_keeps_its_labels(root):
    for name in ('a/1.png', 'a/2.png', 'b/1.png'):
        image_files.write(root / name)
    listed = folder.listing(root)
    part = listing_lib.choose(listed, [0, 2])
    assert part.files == ('a/1.png', 'b/1.png')
    np.testing.assert_array_equal(part.labels, [0, 1])


def test_trusted_listing_of_unknown_shape_is_surveyed(root):
    pixels = fill(root, 12)
    listed = folder.listing(root)._replace(trusted=True)
    images, _ = reading.read(listed, pictures.Preparation(), memory=0)
    np.testing.assert_array_equal(images[:], pixels)


def test_trusted_listing_of_a_known_shape_is_not_surveyed(root, monkeypatch):
    pixels = fill(root, 12)
    listed = folder.listing(root)._replace(trusted=True, shape=(4, 6, 3))
    with monkeypatch.context() as patch:
        patch.setattr(listing_lib, 'survey', refuse)
        images, _ = reading.read(listed, pictures.Preparation(), memory=0)
    np.testing.assert_array_equal(images[:], pixels)
