"""Data sets by name, URI or path, arrays, and parts of them."""

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.data import on_demand
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.data import tfds_source


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Use a cache folder of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def load(name, preparation=None, **changes):
    request = sources.Request(name, **changes)
    return sources.load(
        request._replace(preparation=pictures.Preparation(**preparation or {}))
    )


def from_arrays(images, labels=None, **changes):
    request = sources.Request('', **changes)
    return sources.from_arrays(images, labels, request=request)


def test_digits_are_those_of_scikit_learn_enlarged_and_padded():
    from sklearn.datasets import load_digits

    dataset = load('digits')
    reference = load_digits()
    assert dataset.images.shape == (1797, 32, 32, 1)
    assert dataset.images.dtype == np.uint8
    assert dataset.classes == tuple('0123456789')
    np.testing.assert_array_equal(dataset.labels, reference.target)
    border = dataset.images.copy()
    border[:, 4:-4, 4:-4] = 0
    assert not border.any()
    inside = dataset.images[:, 4:-4, 4:-4, 0].astype(float)
    reduced = inside.reshape(-1, 8, 3, 8, 3).mean((2, 4)) / 255
    # Interpolation blurs, but each digit stays far nearer to itself.
    flat = reduced.reshape(1797, -1)
    original = reference.images.reshape(1797, -1) / 16
    for index in range(0, 1797, 300):
        distances = np.linalg.norm(original - flat[index], axis=1)
        assert distances.argmin() == index


@pytest.mark.parametrize('name', [*sources.DATASETS, 'tfds:x', 'zip:a:b.zip'])
def test_known_names_and_uris_need_no_explanation(name):
    assert sources.explain(name) == ''
    assert not sources.is_path(name)


@pytest.mark.parametrize(
    'name, says',
    [
        ('digts', "did you mean 'digits'"),
        ('digts', 'pack:, tar:, tfds:, zip:'),
        ('folders:x', 'is not one of'),
        ('CelebA', "it is called 'celeb_a'"),
        ('cifar100', "it is called 'tfds:cifar100'"),
        ('svhn', "'tfds:svhn_cropped'"),
        ('FFHQ', 'set data.path to its folder or archive'),
        ('celeba-hq', 'is not in TensorFlow Datasets'),
        ('tfds:', 'names nothing after the :'),
        ('', 'one of them must be set'),
    ],
)
def test_other_names_are_explained(name, says):
    assert says in sources.explain(name)
    with pytest.raises(errors.DataError) as caught:
        sources.load(sources.Request(name))
    assert str(caught.value) == sources.explain(name)


def test_every_other_name_is_mapped_to_a_known_one():
    for name in sources.OTHER_NAMES.values():
        assert sources.explain(name) == ''


@pytest.mark.parametrize(
    'path, scheme',
    [
        ('a/b', 'folder'), ('a.ZIP', 'zip'), ('a.tar', 'tar'),
        ('a.tar.gz', 'tar'), ('a.tgz', 'tar'), ('a.tar.bz2', 'tar'),
        ('a.tar.xz', 'tar'), ('a.npy', 'npy'), ('a.b.npz', 'npz'),
        ('a.gz', 'folder'), ('~/a.zip', 'zip'),
    ],
)
def test_scheme_follows_the_ending_of_a_path(path, scheme):
    assert sources.uri_of_path(path) == f'{scheme}:{path}'


def test_scheme_follows_the_content_of_a_folder(tmp_path):
    (tmp_path / 'images.zip').mkdir()
    assert sources.uri_of_path(tmp_path / 'images.zip').startswith('folder:')
    packs.write(helpers.random_images(2), None, (), tmp_path / 'packed.zip')
    assert sources.uri_of_path(tmp_path / 'packed.zip').startswith('pack:')


@pytest.mark.parametrize(
    'text, answer',
    [
        ('mnist', False), ('mnizt', False), ('tfds:mnist', False),
        ('folder:a/b', False), ('a/b', True), ('./mnist', True),
        ('~', True), ('none.zip', True), ('here', True), ('x' * 300, False),
        ('~nobody/x.zip', True),
    ],
)
def test_argument_is_a_path_or_a_name(text, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'here').mkdir()
    (tmp_path / 'mnist').mkdir()  # the name goes first; ./mnist is the path
    assert sources.is_path(text) is answer


def test_arrays_become_a_data_set():
    images = helpers.random_images(5)
    dataset = sources.from_arrays(images[..., 0], [0, 2, 1, 0, 2], name='mine')
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.name == 'mine'
    assert dataset.labels.dtype == np.int32
    assert dataset.classes == ('0', '1', '2')
    assert sources.from_arrays(images).labels is None


@pytest.mark.parametrize('labels', [
    np.array([0, 255], np.uint8), np.array([True, False]), [1, 0],
])
def test_labels_of_any_integer_type_are_class_numbers(labels):
    dataset = sources.from_arrays(helpers.random_images(2), labels)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert len(dataset.classes) == int(np.max(labels)) + 1


def test_rows_of_a_table_become_points():
    rows = np.arange(12.).reshape(4, 3)
    dataset = sources.from_arrays(rows, [0, 1, 0, 1])
    np.testing.assert_array_equal(dataset.images, rows)
    assert dataset.images.dtype == np.float32
    chosen = from_arrays(rows.astype(int), [0, 1, 0, 1], classes=('1',))
    np.testing.assert_array_equal(chosen.images, rows[1::2])
    np.testing.assert_array_equal(chosen.labels, [0, 0])


@pytest.mark.parametrize(
    'images, labels, says',
    [
        (np.zeros((4, 8, 8, 1)), None, 'float64'),
        (np.zeros((4, 8, 8)), None, 'must be uint8'),
        (np.zeros((4, 8), np.uint8), None, r'\[4, 8\]'),
        (np.zeros((4, 0)), None, r'\[4, 0\]'),
        (np.array([[1., np.nan]]), None, 'finite'),
        (np.array([[1., 1e300]]), None, 'finite'),  # not in float32
        (np.array([['a']]), None, '<U1'),
        (np.zeros(4, np.uint8), None, r'\[4\]'),
        (np.zeros((0, 8, 8, 1), np.uint8), None, 'N > 0'),
        (np.zeros((4, 8, 8, 2), np.uint8), None, '1, 3 or 4 channels'),
        (np.zeros((4, 8, 8, 1), np.uint8), [0, 1], r'int64 \[2\] from 0 to 1'),
        (np.zeros((2, 8, 8, 1), np.uint8), [0, -1], 'from -1 to 0'),
        (np.zeros((2, 8, 8, 1), np.uint8), [0, 10**6], 'at most 999999'),
        (np.zeros((2, 8, 8, 1), np.uint8), [0., 1.], 'float64'),
        (np.zeros((2, 8, 8, 1), np.uint8), [], r'\[2\] integers'),
        (np.zeros((2, 3)), [0, -1], 'from -1'),
    ],
)
def test_arrays_of_another_form_are_refused(images, labels, says):
    with pytest.raises(errors.DataError, match=says):
        sources.from_arrays(images, labels)


@pytest.mark.parametrize('size', [(16, 16), (48, 80)])
@pytest.mark.parametrize('kept, channels', [(1, 1), (3, 3), (4, 3)])
def test_arrays_are_resized(size, kept, channels):
    images = np.full((2, 32, 32, kept), 90, np.uint8)
    images[..., 3:] = 255  # opaque
    prepared = from_arrays(
        images, preparation=pictures.Preparation(image_size=size)
    ).images
    np.testing.assert_array_equal(
        prepared, np.full((2, *size, channels), 90, np.uint8)
    )


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_arrays_are_converted_to_channels(channels):
    grey = helpers.random_images(2, (4, 4, 1))
    prepared = from_arrays(
        grey, preparation=pictures.Preparation(channels=channels)
    ).images
    assert prepared.shape == (2, 4, 4, channels)
    alpha = np.full_like(grey, 255)
    expected = np.concatenate([grey, grey, grey, alpha], -1)
    np.testing.assert_array_equal(prepared, expected[..., :channels])


@pytest.mark.parametrize(
    'crop, left', [('center', 200), ('stretch', 0), ('pad', 7)]
)
def test_arrays_are_cropped(crop, left):
    images = np.full((1, 8, 16, 1), 200, np.uint8)
    images[:, :, :4] = images[:, :, -4:] = 0
    prepared = from_arrays(images, preparation=pictures.Preparation(
        image_size=(8, 8), crop=crop, background=(7, 7, 7)
    )).images
    assert prepared.shape == (1, 8, 8, 1)
    corner = prepared[0, 0, 0, 0]
    assert abs(int(corner) - left) < 3  # bicubic interpolation overshoots


@pytest.mark.parametrize('memory, fits', [
    (None, True), (300 * 4 * 5 * 3, True), (300 * 4 * 5 * 3 - 1, False),
])
@pytest.mark.parametrize('name', ['npy', 'pack', 'npz'])
def test_arrays_are_in_memory_if_they_fit(
    name, memory, fits, tmp_path
):
    images = helpers.random_images(300, (4, 5, 3))  # more than read at once
    path = tmp_path / f'held.{name}'
    {
        'npy': lambda: np.save(path, images),
        'npz': lambda: np.savez(path, images=images),
        'pack': lambda: packs.write(images, None, (), path),
    }[name]()
    given = load(f'{name}:{path}', memory=memory).images
    assert on_demand.in_memory(given) == (fits or name == 'npz')
    np.testing.assert_array_equal(given, images)
    part = load(f'{name}:{path}', memory=0, limit=20).images
    assert on_demand.in_memory(part) == (name == 'npz')
    np.testing.assert_array_equal(
        part[:], from_arrays(images, limit=20).images
    )


@pytest.mark.parametrize(
    'preparation', [{}, {'image_size': (3, 5)}, {'channels': 1}]
)
@pytest.mark.parametrize('name', ['folder', 'npy', 'digits'])
def test_memory_changes_no_pixel(name, preparation, tmp_path):
    images = helpers.random_images(12, (4, 6, 3))
    labels = np.repeat([0, 1], 6)
    if name == 'npy':
        np.save(tmp_path / 'images.npy', images)
        uri = f'npy:{tmp_path}/images.npy'
    elif name == 'folder':
        for place, image in enumerate(images):
            image_files.write(
                tmp_path / 'images' / str(labels[place]) / f'{place}.png',
                image_files.encoded(image),
            )
        uri = f'folder:{tmp_path}/images'
    else:
        uri = name
    held = load(uri, preparation, limit=9)
    later = load(uri, preparation, limit=9, memory=0)
    assert on_demand.in_memory(held.images)
    if name == 'folder' or name == 'npy' or preparation.get('image_size'):
        assert not on_demand.in_memory(later.images)
    np.testing.assert_array_equal(held.images, later.images[:])
    np.testing.assert_array_equal(held.images[[7, 2]], later.images[[7, 2]])
    np.testing.assert_array_equal(held.labels, later.labels)


def test_listing_and_data_set_agree(tmp_path):
    for place in range(12):
        image_files.write(
            tmp_path / 'in' / f'{place % 3}' / f'{place:02d}.png',
            image_files.flat(place),
        )
    request = sources.Request(
        f'folder:{tmp_path}/in', classes=('0', '2'), test_share=0.25, limit=5
    )
    listed = sources.select(sources.files(request)).listing
    dataset = sources.load(request)
    assert len(listed.files) == 5
    np.testing.assert_array_equal(listed.labels, dataset.labels)
    assert listed.classes == dataset.classes == ('0', '2')
    levels = [
        pictures.decode(content).pixels[0, 0, 0]
        for content in listed.read(range(5))
    ]
    np.testing.assert_array_equal(levels, dataset.images[:, 0, 0, 0])
    for name in ('digits', 'stacked_mnist', 'npy:x', 'pack:x'):
        assert sources.files(sources.Request(name)) is None


@pytest.mark.parametrize('places', [
    3, -1, slice(2, 9, 3), [4, 4, 0], np.array([[1, 2], [-3, 0]]),
    np.zeros(0, int),
])
def test_images_on_demand_are_indexed_as_an_array(places):
    images = helpers.random_images(10, (2, 3, 1))
    lazy = on_demand.OnDemand(images.shape, lambda chosen: images[chosen])
    np.testing.assert_array_equal(lazy[places], images[places])
    assert (len(lazy), lazy.ndim, lazy.nbytes) == (10, 4, images.nbytes)
    for outside in (10, -11, [0, 10]):
        with pytest.raises(IndexError):
            lazy[outside]


def test_unprepared_set_names_the_command(tmp_path):
    with pytest.raises(errors.DataError) as caught:
        load('mnist', data_dir=str(tmp_path))
    assert f'gan_jax prepare mnist --data_dir={tmp_path}' in str(caught.value)
    assert str(tmp_path / 'mnist') in str(caught.value)


def test_real_mnist_reads_as_the_original_files(data_dir):
    held = load('mnist', split='test[:200]', data_dir=str(data_dir / 'tfds'))
    assert held.images.shape == (200, 28, 28, 1)
    assert held.classes == tuple('0123456789')
    raw = tfds_source._read_idx(
        data_dir / 'raw' / 'mnist' / 't10k-images-idx3-ubyte.gz'
    )
    originals = {image.tobytes() for image in raw}
    assert all(image.tobytes() in originals for image in held.images)
    later = load(
        'tfds:mnist', split='test[:200]', data_dir=str(data_dir / 'tfds'),
        memory=0,
    )
    assert isinstance(later.images, on_demand.OnDemand)
    np.testing.assert_array_equal(later.images[:], held.images)
    np.testing.assert_array_equal(later.labels, held.labels)


def test_wrong_split_of_a_prepared_set_is_named(data_dir):
    with pytest.raises(errors.DataError, match="data.split='tran'"):
        load('mnist', split='tran', data_dir=str(data_dir / 'tfds'))


def test_real_cifar10_is_cropped_to_size(data_dir):
    dataset = load(
        'cifar10', {'image_size': (16, 16)}, split='test[:5]',
        data_dir=str(data_dir / 'tfds'),
    )
    assert dataset.images.shape == (5, 16, 16, 3)
    assert dataset.classes[:2] == ('airplane', 'automobile')
