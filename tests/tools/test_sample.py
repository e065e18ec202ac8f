"""The command `sample`: its output for each ending of --out; truncation."""

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runtime import writer

SEEDS = [4, 0, 11]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    config = helpers.tiny_mlp()
    config.generator.condition = config.discriminator.condition = 'concat'
    return helpers.untrained(
        config, tmp_path_factory.mktemp('run'), helpers.random_images(),
        np.arange(32) % 3,
    )


@pytest.fixture(scope='module')
def points(tmp_path_factory):
    config = helpers.tiny_mlp()
    config.data.name = 'ring'
    return helpers.untrained(config, tmp_path_factory.mktemp('points'))


@pytest.fixture(scope='module')
def written(run, points, tmp_path_factory):
    """Run each form of the command; return (folder, results)."""
    folder = tmp_path_factory.mktemp('out')
    command = ['gan_jax', 'sample', f'--workdir={run.workdir}',
               '--seeds=4,0,11']
    of_points = ['gan_jax', 'sample', f'--workdir={points.workdir}',
                 '--seeds=0-4']
    return folder, helpers.commands([
        [*command, '--out=deep/one.png', '--columns=3'],
        [*command, '--out=all.npz', '--labels=2', '--truncation=0.5'],
        [*command, '--out=single/'],
        [*of_points, '--out=points.npz'],
        [*of_points, '--out=points/'],
        [*of_points, '--out=points.npz', '--standing=2'],
        [*command, '--out=one.png', '--standing=2', '--between=3'],
    ], folder)


def test_each_form_prints_what_it_wrote(written):
    _, results = written
    assert [code for code, _, _ in results] == [0] * 4 + [2] * 3, results
    assert results[1][1] == 'Wrote 3 samples of step 4 (ema) to all.npz\n'
    assert 'not points' in results[4][2]
    assert 'standing=2 computes the statistics of BatchNorm' in results[5][2]
    assert '--standing=2 is not for --between' in results[6][2]


def test_png_is_a_grid(written, run):
    with Image.open(written[0] / 'deep' / 'one.png') as picture:
        pixels = np.asarray(picture)[..., None]
    np.testing.assert_array_equal(pixels, writer.grid(run.sample(SEEDS), 3))


def test_npz_holds_samples_latents_seeds_and_labels(written, run):
    with np.load(written[0] / 'all.npz') as held:
        arrays = dict(held)
    assert arrays['seeds'].tolist() == SEEDS
    assert arrays['labels'].tolist() == [2, 2, 2]
    assert np.abs(arrays['z']).max() < 0.5
    expected = sampling.generate(
        run.algorithm, run.state, arrays['z'], arrays['labels']
    )
    np.testing.assert_allclose(arrays['samples'], expected, atol=1e-6)
    np.testing.assert_array_equal(arrays['z'], sampling.latents_of(
        run.algorithm, SEEDS, 0.5
    ))


def test_folder_holds_one_picture_for_each_seed(written, run):
    folder = written[0] / 'single'
    assert sorted(path.name for path in folder.iterdir()) == [
        '000000.png', '000004.png', '000011.png'
    ]
    with Image.open(folder / '000011.png') as picture:
        pixels = np.asarray(picture)
    expected = writer.to_uint8(run.sample([11]))[0, ..., 0]
    np.testing.assert_array_equal(pixels, expected)


def test_npz_of_points_has_no_labels(written, points):
    with np.load(written[0] / 'points.npz') as held:
        assert sorted(held) == ['samples', 'seeds', 'z']
        np.testing.assert_array_equal(
            held['samples'], points.sample(range(5))
        )


def test_truncation_applies_to_interpolation_too(run):
    path = sampling.interpolate(
        run.algorithm, run.state, [3, 6], 2, truncation=0.3
    )
    ends = sampling.sample(run.algorithm, run.state, [3, 6], truncation=0.3)
    np.testing.assert_allclose(path, ends, atol=1e-5)
    assert not np.allclose(ends, run.sample([3, 6]), atol=1e-3)


def test_a_sphere_is_not_truncated(run):
    gan = run.algorithm._replace(latent='sphere')
    with pytest.raises(errors.ConfigError, match="latent='sphere'"):
        sampling.sample(gan, run.state, [0], truncation=0.5)
