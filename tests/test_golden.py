"""Run folders of older formats are still read and gone on with."""

import pathlib
import tarfile

import numpy as np
import pytest

import helpers
from gan_jax import sampling
from gan_jax import train
from gan_jax.runtime import manifest

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture
def folder(tmp_path):
    """A run of 2 steps of version 1, saved by the program of that time."""
    with tarfile.open(GOLDEN / 'version_1.tar.gz') as archive:
        archive.extractall(tmp_path, filter='data')
    return tmp_path


def images():
    return helpers.random_images(16, (2, 2, 1))


# Of seeds 0 and 1, printed by the program that saved it.
SAMPLES = [
    -0.21524131, 0.06288941, -0.1889445, -0.39260152,
    -0.7177657, 0.8608131, -0.51754963, -0.7764095,
]


def test_version_1_gives_the_samples_it_gave(folder):
    assert manifest.verify(folder / 'checkpoints' / '2')['version'] == 1
    gan, state = sampling.load(folder)
    assert state.alive and int(state.step) == 2
    samples = sampling.sample(gan, state, [0, 1]).ravel()
    np.testing.assert_allclose(samples, SAMPLES, atol=1e-5)


@pytest.mark.parametrize('vouched', [True, False])
def test_version_1_is_gone_on_with(vouched, folder, capsys):
    if not vouched:  # of before manifests
        (folder / 'checkpoints' / '2' / manifest.NAME).unlink()
    config = sampling.load_config(folder)
    config.num_steps = 4
    run = train.train(config, folder, images=images())
    told = capsys.readouterr()
    assert 'Going on from step 2' in told.out
    assert told.err.count('warning: ') == (not vouched)
    again = manifest.verify(folder / 'checkpoints' / '4')
    assert again['version'] == manifest.VERSION
    _, state = sampling.load(folder)
    assert helpers.leaves_equal(run.state, state)


def test_version_1_of_another_form_is_told(folder):
    config = sampling.load_config(folder)
    config.num_steps, config.generator.width = 4, 5
    with pytest.raises(train.errors.CheckpointError) as caught:
        train.train(config, folder, images=images(), override_config=True)
    assert 'float32[3, 4] saved, float32[3, 5] asked' in str(caught.value)
    assert 'alive' not in str(caught.value)
