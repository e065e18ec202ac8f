"""Data sets, folders, arrays and feeds."""

import gzip

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax import errors
from gan_jax.data import feed
from gan_jax.data import folder
from gan_jax.data import sources
from gan_jax.data import tfds_source


def request(name, **changes):
    return sources.Request(name, **changes)


def test_digits_are_scikit_learns_enlarged_in_a_border():
    from sklearn.datasets import load_digits

    dataset = sources.load(request('digits'))
    reference = load_digits()
    assert dataset.images.shape == (1797, 32, 32, 1)
    assert dataset.images.dtype == np.uint8
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


def test_unknown_name_and_split_are_named():
    with pytest.raises(errors.DataError, match="did you mean 'digits'"):
        sources.load(request('digts'))
    with pytest.raises(errors.DataError, match="data.split='test'"):
        sources.load(request('digits', split='test'))


@pytest.mark.parametrize('size', [(16, 16), (48, 80)])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_resize_gives_the_size_and_keeps_a_flat_image(size, channels):
    images = np.full((2, 32, 32, channels), 90, np.uint8)
    resized = sources.resize(images, size)
    np.testing.assert_array_equal(
        resized, np.full((2, *size, channels), 90, np.uint8)
    )


def test_arrays_become_a_data_set():
    images = helpers.random_images(5)
    dataset = sources.from_arrays(images[..., 0], [0, 2, 1, 0, 2])
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.labels.dtype == np.int32
    assert dataset.classes == ('0', '1', '2')


@pytest.mark.parametrize(
    'images, labels, says',
    [
        (np.zeros((4, 8, 8, 1)), None, 'float64'),
        (np.zeros((4, 8), np.uint8), None, r'\[4, 8\]'),
        (np.zeros((0, 8, 8, 1), np.uint8), None, 'N > 0'),
        (np.zeros((4, 8, 8, 2), np.uint8), None, '1, 3 or 4 channels'),
        (np.zeros((4, 8, 8, 1), np.uint8), [0, 1], 'labels'),
        (np.zeros((2, 8, 8, 1), np.uint8), [0, -1], 'labels'),
    ],
)
def test_arrays_of_another_form_are_refused(images, labels, says):
    with pytest.raises(errors.DataError, match=says):
        sources.from_arrays(images, labels)


def write(path, size=(10, 12), mode='RGB', color=80):
    path.parent.mkdir(parents=True, exist_ok=True)
    color = color if mode in ('L', 'P') else (color,) * len(mode)
    Image.new(mode, size, color).save(path)


def test_flat_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name, color in (('b.png', 20), ('a.PNG', 10), ('c.bmp', 30)):
        write(tmp_path / name, color=color, mode='L')
    images, labels, classes = folder.read(tmp_path, None)
    assert images.shape == (3, 12, 10, 1)
    np.testing.assert_array_equal(images[:, 0, 0, 0], [10, 20, 30])
    assert labels is None and classes == ()


def test_subfolders_are_classes(tmp_path):
    for name in ('dog/1.png', 'cat/1.png', 'cat/2.png'):
        write(tmp_path / name)
    images, labels, classes = folder.read(tmp_path, None)
    assert images.shape == (3, 12, 10, 3)
    assert classes == ('cat', 'dog')
    np.testing.assert_array_equal(labels, [0, 0, 1])


def test_bad_file_is_named_and_left_out(tmp_path, capsys):
    write(tmp_path / 'good.png')
    (tmp_path / 'bad.png').write_text('not an image')
    (tmp_path / 'note.txt').write_text('no image at all')
    images, _, _ = folder.read(tmp_path, None)
    assert len(images) == 1
    assert 'bad.png' in capsys.readouterr().err


def test_folder_errors_say_what_to_do(tmp_path):
    with pytest.raises(errors.DataError, match='is not a folder'):
        folder.read(tmp_path / 'none', None)
    with pytest.raises(errors.DataError, match='no readable image'):
        folder.read(tmp_path, None)
    write(tmp_path / '1.png', (10, 12))
    write(tmp_path / '2.png', (20, 12))
    with pytest.raises(errors.DataError, match='data.image_size'):
        folder.read(tmp_path, None)
    images, _, _ = folder.read(tmp_path, (8, 16))
    assert images.shape == (2, 8, 16, 3)


@pytest.mark.parametrize('labels', [None, np.arange(10)])
def test_resident_feed_selects_what_it_read(labels):
    dataset = sources.Dataset('x', helpers.random_images(10), labels)
    given = feed.ResidentFeed(dataset, seed=0, batch_size=4)
    fed = given.read(position=3, count=2)
    assert fed.shape == (2, 4)
    images, chosen = given.select(given.resident, fed)
    np.testing.assert_array_equal(images, dataset.images[fed])
    if labels is None:
        assert chosen is None
    else:
        np.testing.assert_array_equal(chosen, fed)


def test_unprepared_set_names_the_command(tmp_path):
    with pytest.raises(errors.DataError) as caught:
        sources.load(request('mnist', data_dir=str(tmp_path)))
    assert f'gan_jax.prepare mnist --data_dir={tmp_path}' in str(caught.value)
    assert str(tmp_path / 'mnist') in str(caught.value)


def test_real_mnist_reads_as_the_original_files(data_dir):
    dataset = sources.load(
        request('mnist', split='test[:200]', data_dir=str(data_dir / 'tfds'))
    )
    assert dataset.images.shape == (200, 28, 28, 1)
    assert dataset.classes == tuple('0123456789')
    raw = tfds_source._read_idx(
        data_dir / 'raw' / 'mnist' / 't10k-images-idx3-ubyte.gz'
    )
    originals = {image.tobytes() for image in raw}
    assert all(image.tobytes() in originals for image in dataset.images)


def test_wrong_split_of_a_prepared_set_is_named(data_dir):
    with pytest.raises(errors.DataError, match="data.split='tran'"):
        sources.load(
            request('mnist', split='tran', data_dir=str(data_dir / 'tfds'))
        )


def test_real_cifar10_is_cropped_to_size(data_dir):
    dataset = sources.load(
        request(
            'cifar10', split='test[:5]', image_size=(16, 16),
            data_dir=str(data_dir / 'tfds'),
        )
    )
    assert dataset.images.shape == (5, 16, 16, 3)


def write_idx(path, values):
    header = b'\0\0\x08' + bytes([values.ndim])
    header += np.array(values.shape, '>u4').tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def idx_folder(tmp_path):
    """Four small idx files in the form of MNIST's."""
    source = tmp_path / 'raw'
    source.mkdir()
    for prefix, count in (('train', 12), ('t10k', 5)):
        images = helpers.random_images(count, (28, 28), seed=count)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(source / f'{prefix}-images-idx3-ubyte.gz', images)
        write_idx(source / f'{prefix}-labels-idx1-ubyte.gz', labels)
    return source


@pytest.mark.parametrize('name', tfds_source.IDX_SETS)
def test_prepare_makes_a_set_from_idx_files_that_reads_back(
    name, idx_folder, tmp_path
):
    target = tmp_path / 'tfds'
    tfds_source.prepare(name, str(target), str(idx_folder))
    dataset = sources.load(request(name, data_dir=str(target)))
    raw = tfds_source._read_idx(idx_folder / 'train-images-idx3-ubyte.gz')
    labels = tfds_source._read_idx(idx_folder / 'train-labels-idx1-ubyte.gz')
    read = {i.tobytes(): n for i, n in zip(dataset.images, dataset.labels)}
    assert read == {i.tobytes(): n for i, n in zip(raw, labels)}


def test_prepare_names_missing_and_damaged_files(idx_folder, tmp_path):
    name = 't10k-labels-idx1-ubyte.gz'
    (idx_folder / name).write_bytes(b'not gzip')
    with pytest.raises(errors.DataError, match=name):
        tfds_source.prepare('mnist', str(tmp_path / 'a'), str(idx_folder))
    (idx_folder / name).unlink()
    with pytest.raises(errors.DataError, match=f'lacks {name}'):
        tfds_source.prepare('mnist', str(tmp_path / 'b'), str(idx_folder))
    assert not list(tmp_path.glob('[ab]/mnist/3*'))


def test_prepare_names_the_nearest_set():
    with pytest.raises(errors.DataError, match="did you mean 'mnist'"):
        tfds_source.prepare('mnizt', '', '')
