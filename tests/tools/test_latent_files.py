"""Files of latents: what fits a run, and what is refused."""

import types

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.tools import latent_files


def fake_algorithm(num_styles=0, num_classes=0):
    return types.SimpleNamespace(
        latent_size=2, num_styles=num_styles, num_classes=num_classes
    )


def write(folder, **arrays):
    np.savez(folder / 'a.npz', **arrays)
    return folder / 'a.npz'


def test_w_comes_before_z_if_the_generator_has_styles(tmp_path):
    w, z = np.ones((5, 3, 2)), np.zeros((5, 2))
    path = write(tmp_path, w=w, z=z, labels=np.arange(5), other=w)
    found = latent_files.load(path, fake_algorithm(3, 9))
    assert found.name == 'w' and found.labels is None
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, w)
    found = latent_files.load(path, fake_algorithm(0, 9))
    assert found.name == 'z' and found.labels.tolist() == [0, 1, 2, 3, 4]
    assert latent_files.load(path, fake_algorithm()).labels is None
    path = write(tmp_path, z=z)
    assert latent_files.load(path, fake_algorithm(3)).name == 'z'


@pytest.mark.parametrize('arrays, classes, words', [
    ({'x': np.zeros((2, 2))}, 0, 'holds no latents'),
    ({'z': np.zeros((2, 3))}, 0, r'z has the shape \[2, 3\].*\[N, 2\]'),
    ({'z': np.zeros((0, 2))}, 0, 'z has the shape'),
    ({'w': np.zeros((2, 2))}, 0, r'w has the shape \[2, 2\].*\[N, 3, 2\]'),
    ({'z': np.full((2, 2), np.nan)}, 0, 'values that are no numbers'),
    ({'z': np.array([['a', 'b']])}, 0, 'values that are no numbers'),
    ({'z': np.array([[{}, 1]])}, 0, 'cannot be read'),  # pickled
    ({'z': np.zeros((2, 2))}, 4, 'holds no labels'),
    ({'z': np.zeros((2, 2)), 'labels': np.zeros(3, int)}, 4, 'not 2 integers'),
    ({'z': np.zeros((2, 2)), 'labels': np.zeros(2)}, 4, 'not 2 integers'),
    ({'z': np.zeros((2, 2)), 'labels': np.array([0, 4])}, 4, r'\[0, 4\)'),
])
def test_latents_that_do_not_fit_are_refused(arrays, classes, words, tmp_path):
    path = write(tmp_path, **arrays)
    with pytest.raises(errors.DataError, match=words):
        latent_files.load(path, fake_algorithm(3, classes))


def test_files_that_cannot_be_read_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path, z=np.zeros((2, 2)))
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    np.save(tmp_path / 'b.npy', np.zeros((2, 2)))
    (tmp_path / 'c.npz').write_text('none')
    for name in ('a.npz', 'b.npy', 'c.npz', 'absent.npz', '.'):
        with pytest.raises(errors.DataError, match='cannot be read: .'):
            latent_files.load(tmp_path / name, fake_algorithm())
    path = tmp_path / 'd.npz'
    np.savez_compressed(path, z=np.zeros((5000, 2)))
    monkeypatch.setattr(latent_files, 'MAX_BYTES', 2000)
    with pytest.raises(errors.DataError, match='unpacks to over 2,000 bytes'):
        latent_files.load(path, fake_algorithm())
