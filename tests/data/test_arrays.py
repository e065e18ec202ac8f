"""Files of NumPy: mapped, read or refused."""

import io
import pickle
import zipfile

import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.data import arrays
from gan_jax.data import memory
from gan_jax.data import sources

IMAGES = helpers.random_images(6, (4, 5, 3))
LABELS = np.array([0, 2, 1, 0, 2, 2])


def load(path, **changes):
    return sources.load(sources.Request(sources.uri_of_path(path), **changes))


def npy(array):
    """Return the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape, kind='|u1'):
    """Return the .npy header of an array without its content."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {
        'descr': kind, 'fortran_order': False, 'shape': shape
    })
    return file.getvalue()


def test_npz_that_unpacks_to_more_than_the_memory_is_refused(
    tmp_path, monkeypatch
):
    path = tmp_path / 'x.npz'
    np.savez_compressed(path, images=np.zeros((100, 4, 5, 3), np.uint8),
                        other=np.zeros(10**6))
    monkeypatch.setattr(memory, 'free', lambda: 7000)
    assert arrays.read(path)[0].shape == (100, 4, 5, 3)
    monkeypatch.setattr(memory, 'free', lambda: 6000)
    with pytest.raises(errors.DataError, match='memory are free; use an .npy'):
        arrays.read(path)


def test_free_memory_is_positive_and_within_the_container(
    tmp_path, monkeypatch
):
    assert 2**20 < memory.free() < 2**60
    (tmp_path / 'limit').write_text('1000\n')
    monkeypatch.setattr(memory, 'LIMIT', tmp_path / 'limit')
    assert memory.free() == 1000
    (tmp_path / 'limit').write_text('max\n')
    monkeypatch.setattr(memory, 'STATE', tmp_path / 'absent')
    assert memory.free() > 2**20


@pytest.mark.parametrize('order', ['C', 'F'])
def test_npy_is_mapped_and_not_read(order, tmp_path):
    path = tmp_path / 'images.NPY'
    path.write_bytes(npy(np.asarray(IMAGES, order=order)))
    images, labels = arrays.read(path)
    assert isinstance(images, np.memmap) and labels is None
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(load(path).images, IMAGES)
    with pytest.raises(ValueError, match='read-only'):
        images[0] = 0


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('images, labels', [
    ('images', 'labels'), ('image', 'y'), ('x', 'label'), ('data', None),
    ('arr_0', None), ('anything', None),
])
def test_npz_is_read_by_its_names(images, labels, save, tmp_path):
    path = tmp_path / 'x.npz'
    save(path, **{images: IMAGES}, **({labels: LABELS} if labels else {}))
    dataset = load(path)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    if labels:
        np.testing.assert_array_equal(dataset.labels, LABELS)
        assert dataset.classes == ('0', '1', '2')
    else:
        assert dataset.labels is None


def test_usual_names_of_an_npz_have_priority(tmp_path):
    np.savez(tmp_path / 'x.npz', x=IMAGES[:1], images=IMAGES, fid=LABELS)
    assert len(load(tmp_path / 'x.npz').images) == 6
    np.savez(tmp_path / 'x.npz', left=IMAGES, right=IMAGES)
    with pytest.raises(errors.DataError, match="'left', 'right'.*'images'"):
        load(tmp_path / 'x.npz')


def test_content_decides_the_format(tmp_path):
    np.savez(tmp_path / 'x.npz', images=IMAGES, labels=LABELS)
    (tmp_path / 'x.npz').rename(tmp_path / 'packed.npy')
    (tmp_path / 'plain.npz').write_bytes(npy(IMAGES))
    for name in ('packed.npy', 'plain.npz'):
        np.testing.assert_array_equal(load(tmp_path / name).images, IMAGES)
        assert arrays.axes(tmp_path / name) == 4


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('ending', ['npy', 'npz'])
@pytest.mark.parametrize('form', ['objects', 'bare'])
def test_pickled_objects_are_not_loaded(form, ending, tmp_path):
    sprung, path = tmp_path / 'sprung', tmp_path / f'x.{ending}'
    trap = np.array([Trap(sprung)], object)
    if form == 'bare':
        path.write_bytes(pickle.dumps(trap))
    else:
        save = np.save if ending == 'npy' else np.savez
        save(path, trap)
    with pytest.raises(errors.DataError, match='pickled .* are not loaded'):
        load(path)
    arrays.axes(path)
    assert not sprung.exists()


DAMAGED = {
    'empty': b'',
    'text': b'no array at all',
    'truncated': npy(IMAGES)[:-1],
    'header alone': npy(IMAGES)[:20],
    'broken header': npy(IMAGES).replace(b"}", b"("),
    'huge': header((10**9, 1000, 1000, 3)),
    'beyond': header((2**62, 2**62, 4, 4)),
    'negative': header((-4, 4, 4, 1)),
    'version': b'\x93NUMPY\x09\x00' + npy(IMAGES)[8:],
}


def zipped(content, name='images.npy'):
    """Return a zip with one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as made:
        made.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize('inside_npz', [False, True])
@pytest.mark.parametrize('damage', DAMAGED)
def test_damaged_file_is_named(damage, inside_npz, tmp_path):
    path = tmp_path / ('x.npz' if inside_npz else 'x.npy')
    content = DAMAGED[damage]
    path.write_bytes(zipped(content) if inside_npz else content)
    with pytest.raises(errors.DataError, match='x.np. (cannot|holds)') as e:
        load(path)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.filterwarnings('ignore:unclosed file')  # NumPy leaves it open
@pytest.mark.parametrize('content', [
    zipped(npy(IMAGES))[:-30],
    zipped(b'no array', 'images'),
    zipped(npy(IMAGES)).replace(npy(IMAGES)[-40:], bytes(40)),
])
def test_damaged_npz_is_named(content, tmp_path):
    (tmp_path / 'x.npz').write_bytes(content)
    with pytest.raises(errors.DataError, match='x.npz (cannot|holds)'):
        load(tmp_path / 'x.npz')


@pytest.mark.parametrize('name', ['none.npy', '', 'x' * 300])
def test_path_that_is_not_a_file_is_named(name, tmp_path):
    with pytest.raises(errors.DataError, match='is not a file'):
        arrays.read(tmp_path / name)
    assert arrays.axes(tmp_path / name) == 0


@pytest.mark.parametrize('ending', ['npy', 'npz'])
@pytest.mark.parametrize('array, says', [
    (np.zeros((2, 4, 4, 3), np.float32), 'float32'),
    (np.zeros((2, 4, 4, 3), np.uint16), 'uint16'),
    (np.zeros((2, 4, 4, 2), np.uint8), '1, 3 or 4 channels'),
    (np.zeros((2, 16), np.uint8), 'rows of'),
    (np.uint8(3), r'uint8 \[\]'),
])
def test_arrays_of_another_form_are_refused(array, says, ending, tmp_path):
    path = tmp_path / f'x.{ending}'
    (np.save if ending == 'npy' else np.savez)(path, array)
    with pytest.raises(errors.DataError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('ending', ['npy', 'npz'])
def test_rows_of_a_table_become_points(ending, tmp_path):
    rows = np.random.RandomState(0).normal(size=(7, 3)).astype('>f8')
    path = tmp_path / f'x.{ending}'
    (np.save if ending == 'npy' else np.savez)(path, rows)
    dataset = load(path)
    assert dataset.images.dtype == np.float32
    np.testing.assert_array_equal(dataset.images, rows.astype(np.float32))
    assert arrays.axes(path) == 2


@pytest.mark.parametrize('shape', [(10**9, 1000, 1000, 3), (10**9, 5), (7,)])
def test_axes_come_from_the_header(shape, tmp_path):
    path = tmp_path / 'x.npz'
    path.write_bytes(zipped(header(shape)))
    assert arrays.axes(path) == len(shape)


def test_unknown_axes_are_0(tmp_path):
    for content in [*DAMAGED.values(), zipped(b'', 'images.npy')]:
        (tmp_path / 'x.npy').write_bytes(content)
        assert arrays.axes(tmp_path / 'x.npy') == 0
    assert arrays.axes(tmp_path) == 0
