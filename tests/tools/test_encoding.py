"""Codes as a file and back, and the parts of an autoencoder exported apart."""

import jax
import numpy as np
import pytest

import helpers
import test_adversarial_autoencoder as autoencoders
from conftest import ROOT
from gan_jax.algorithms import codebook
from gan_jax.config import builders
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.tools import encoding
from gan_jax.tools import export_parts

COUNT = 70  # images, more than one batch


@pytest.fixture(scope='module')
def images():
    return helpers.random_images(COUNT, (16, 16, 1))


@pytest.fixture(scope='module')
def run(tmp_path_factory, images):
    """Return (algorithm, state, folder) of an untrained VQ-GAN on arrays."""
    folder = tmp_path_factory.mktemp('encoding') / 'run'
    helpers.untrained(
        autoencoders.shrunk('vq_gan', **{'data.image_size': ''}), folder,
        images,
    )
    return (*sampling.load(folder), folder)


def test_codes_are_vectors_of_the_codebook_and_decode_to_images(run, images):
    algorithm, state, _ = run
    arrays = encoding.encode(algorithm, state, images)
    assert arrays['shape'].tolist() == [8, 8, 3]
    assert arrays['x'].shape == (COUNT, 192)
    vectors = state.averages['encoder'].params['codebook']
    np.testing.assert_allclose(
        arrays['x'].reshape(COUNT, 8, 8, 3), vectors[arrays['indices']])
    np.testing.assert_array_equal(
        codebook.nearest(arrays['x'].reshape(-1, 3), vectors),
        arrays['indices'].reshape(-1))
    np.testing.assert_allclose(
        encoding.decode(algorithm, state, arrays['x']),
        sampling.reconstruct(algorithm, state, images), atol=1e-5)


@pytest.mark.parametrize('part', export_parts.PARTS)
def test_exported_part_is_that_of_the_run(run, images, tmp_path, part):
    algorithm, state, folder = run
    export_parts.write(tmp_path, folder, algorithm, state, part)
    program = jax.export.deserialize(
        bytearray((tmp_path / f'{part}.stablehlo').read_bytes())).call
    codes = encoding.encode(algorithm, state, images[:3])['x']
    if part == 'encoder':
        outputs = program(np.float32(images[:3]) / np.float32(127.5) - 1)
        expected = codes.reshape(3, 8, 8, 3)
    else:
        outputs = program(codes.reshape(3, 8, 8, 3))
        expected = encoding.decode(algorithm, state, codes)
    np.testing.assert_allclose(outputs, expected, atol=1e-4)
    assert part in (tmp_path / 'README.md').read_text()


@pytest.mark.parametrize('part', export_parts.PARTS)
def test_part_has_no_page(run, tmp_path, part):
    algorithm, state, folder = run
    says = f'^--page shows a generator of z; leave it out with --part={part}$'
    with pytest.raises(errors.ConfigError, match=says):
        export_parts.write(
            tmp_path, folder, algorithm, state, part, formats=['page']
        )


def test_another_model_trains_on_the_codes_and_its_samples_decode(tmp_path):
    config = helpers.tiny_mlp()
    config.algorithm = 'vae'
    config.data.image_size = '8'
    unused_keys.leave_out(config)
    helpers.untrained(config, tmp_path / 'vae')
    done = helpers.commands([
        ['gan_jax', 'encode', '--workdir=vae', '--out=codes.npz'],
        ['gan_jax', 'train', f'--config={ROOT}/configs/mixtures.py',
         '--config.data.path=codes.npz', '--config.num_steps=4',
         '--config.batch_size=8', '--config.report=False', '--workdir=gan'],
        ['gan_jax', 'sample', '--workdir=gan', '--seeds=0-4',
         '--out=drawn.npz'],
        ['gan_jax', 'encode', '--workdir=vae', '--decode=drawn.npz',
         '--out=decoded.npz'],
    ], cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0, 0, 0], done
    with np.load(tmp_path / 'codes.npz') as content:
        assert content['x'].shape == (1797, 3)
        assert content['labels'].shape == (1797,)
    with np.load(tmp_path / 'decoded.npz') as content:
        assert content['samples'].shape == (5, 8, 8, 1)


def test_files_that_hold_no_codes_are_one_line(run, tmp_path):
    algorithm, *_ = run
    np.savez(tmp_path / 'a.npz', z=np.zeros((2, 192), np.float32))
    np.save(tmp_path / 'b.npy', np.zeros((2, 7), np.float32))
    for name, words in (
            ('a.npz', 'holds none of'), ('b.npy', r'numbers \[N, 192\]'),
            ('c.npy', 'cannot be read')):
        with pytest.raises(errors.DataError, match=words) as caught:
            encoding.load_codes(tmp_path / name, algorithm)
        assert '\n' not in str(caught.value)


def test_a_gan_has_no_codes():
    config = helpers.tiny_mlp()
    gan = builders.algorithm(config, builders.single_source_specs((8, 8, 1)))
    with pytest.raises(errors.ConfigError, match='has no encoder'):
        encoding.check_encodes(gan)
