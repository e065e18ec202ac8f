"""Folders of pairs: each layout is written, and read back as two sources."""

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.data import pair_folders
from gan_jax.data import pairs
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.data import tasks

IMAGES = helpers.random_images(20, (10, 8, 1))
A, B = (function(IMAGES) for function in tasks.TASKS['stripes'])


def requests(path, split, *paths):
    """Return the requests of both sides, of one path or of two."""
    a, b = paths or (path, path)
    side = dict(zip('ab', ('', '') if paths else tasks.SIDES))
    return {name: sources.Request(
        f'folder:{where}', split=split, side=side[name],
        preparation=pictures.Preparation(channels=channels),
    ) for name, where, channels in (('a', a, 1), ('b', b, 3))}


@pytest.mark.parametrize('layout', ['folders', 'side_by_side'])
def test_pairs_are_read_back(layout, tmp_path):
    out = tmp_path / 'new' / 'out'
    counts = pair_folders.write(
        IMAGES, 'stripes', out, layout=layout, test_share=0.25
    )
    assert counts == {'train': 15, 'test': 5}
    paths = (out / 'A', out / 'B') if layout == 'folders' else ()
    for split, chosen in (
            ('train', [n for n in range(20) if n % 4 < 3]),
            ('test', [3, 7, 11, 15, 19])):
        both = pairs.load(requests(out, split, *paths))
        np.testing.assert_array_equal(both['a'].images, A[chosen])
        np.testing.assert_array_equal(both['b'].images, B[chosen])
    assert [path.name for path in out.parent.iterdir()] == ['out']


def test_unpaired_domains_share_no_original(tmp_path):
    pair_folders.write(
        IMAGES, 'stripes', tmp_path / 'out', layout='unpaired', test_share=0.25
    )
    a, b = (
        sources.load(request).images
        for request in requests(tmp_path / 'out', 'test').values()
    )
    np.testing.assert_array_equal(a, A[[3, 11, 19]])
    np.testing.assert_array_equal(b, B[[7, 15]])
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'testA', 'testB', 'trainA', 'trainB'
    ]


def test_grey_half_beside_transparent_one_is_opaque(tmp_path):
    images = helpers.random_images(8, (4, 4, 4))
    pair_folders.write(
        images, 'edges', tmp_path / 'out', layout='side_by_side',
        test_share=0.25,
    )
    with Image.open(tmp_path / 'out' / 'train' / '000000.png') as picture:
        pixels = np.asarray(picture)
    assert (pixels[:, :4, 3] == 255).all()
    np.testing.assert_array_equal(pixels[:, 4:], images[0])


@pytest.mark.parametrize('images, options, words', [
    (IMAGES, {'test_share': 0.05}, '19 in train and 1 in test'),
    (IMAGES[:1], {}, '1 images with data.test_share=0.1'),
    (IMAGES.reshape(20, 20, 4, 1), {'layout': 'side_by_side'},
     'a pair of images is 20x8'),
])
def test_images_that_make_no_pairs_are_refused(
    images, options, words, tmp_path
):
    with pytest.raises(errors.DataError, match=words):
        pair_folders.write(images, 'invert', tmp_path / 'out', **options)
    assert not list(tmp_path.iterdir())
