"""Paths between latents, walks, sums, and the films made of them."""

import shutil
import subprocess

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.algorithms import latents
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.tools import latent_paths
from gan_jax.tools import video

BAD_SUMS = ['', '3+', '3++5', 'a', '1,,2', '3*5', ',1', '1.5', '٣+1']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    config = helpers.tiny_mlp()
    config.generator.condition = config.discriminator.condition = 'concat'
    return helpers.untrained(
        config, tmp_path_factory.mktemp('run'), helpers.random_images(),
        np.arange(32) % 3,
    )


@pytest.fixture(scope='module')
def written(run, tmp_path_factory):
    """Run the three commands; return (folder, results)."""
    folder = tmp_path_factory.mktemp('out')
    options = [f'--workdir={run.workdir}', '--labels=1']
    lines = [
        ['interpolate', '--seeds=1,2,3', '--loop', '--frames=4', '--out=a.png'],
        ['interpolate', '--seeds=1,2;3,4', '--frames=5', '--out=new/a.gif'],
        ['walk', '--seeds=2,6', '--coordinates=0,2', '--frames=5', '--span=2',
         '--out=walk.png'],
        ['walk', '--coordinates=1', '--frames=5', '--out=walk.gif'],
        ['arithmetic', '--sum=1,2-3,4+5', '--out=sum.png'],
    ]
    return folder, helpers.commands(
        [['gan_jax', tool, *options, *flags] for tool, *flags in lines],
        folder,
    )


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)[..., None]


def test_commands_print_what_they_wrote(written):
    _, results = written
    assert [code for code, _, _ in results] == [0] * 5, results
    assert [out for _, out, _ in results] == [
        'Wrote 3 paths of step 4 (ema) to a.png\n',
        'Wrote 2 paths of step 4 (ema) to new/a.gif\n',
        'Wrote 4 walks of step 4 (ema) to walk.png\n',
        'Wrote 1 walks of step 4 (ema) to walk.gif\n',
        'Wrote 1,2-3,4+5 of step 4 (ema) to sum.png\n',
    ]


def test_a_loop_returns_to_the_first_seed(run):
    made = latent_paths.interpolate(
        run.algorithm, run.state, [1, 2, 3], 4, loop=True
    )
    assert made.shape == (3, 4, 8, 8, 1)
    np.testing.assert_allclose(
        made[:, 0], run.sample([1, 2, 3], labels=[1, 2, 0]), atol=1e-5
    )
    np.testing.assert_allclose(  # with the class of the path's start
        made[2, -1], run.sample([1], labels=[0])[0], atol=1e-5
    )


def test_grid_has_a_row_for_each_path(run, written):
    made = latent_paths.interpolate(
        run.algorithm, run.state, [1, 2, 3], 4, loop=True, labels=[1, 1, 1]
    )
    found = pixels(written[0] / 'a.png')
    expected = writer.grid(made.reshape(-1, 8, 8, 1), 4)
    np.testing.assert_array_equal(found, expected)


def test_film_shows_no_end_twice():
    made = np.arange(6).reshape(2, 3)  # 2 is where 3 begins
    assert latent_paths.as_film(made).tolist() == [0, 1, 3, 4, 5]
    assert latent_paths.as_film(made, loop=True).tolist() == [0, 1, 3, 4]


def test_film_has_a_tile_for_each_group(run, written):
    with Image.open(written[0] / 'new' / 'a.gif') as film:
        assert film.n_frames == 5 and film.info['duration'] == 70
        assert film.info['loop'] == 0  # for ever
        film.seek(4)
        last = np.asarray(film.convert('L'), np.int32)[..., None]
    ends = run.sample([2, 4], labels=[1, 1])
    np.testing.assert_allclose(last, writer.grid(ends), atol=3)


def test_a_walk_moves_one_coordinate(run):
    z = sampling.latents_of(run.algorithm, [2, 6])
    rows = latent_paths.traverse(run.algorithm, z, [0, 2], 2.0, 5)
    assert rows.shape == (4, 5, 3) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[0, :, 0], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(rows[0, :, 1:], [z[0, 1:]] * 5)
    np.testing.assert_allclose(rows[3, :, 2], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(rows[3, :, :2], [z[1, :2]] * 5)


def test_command_walks_with_the_class_of_its_seed(run, written):
    z = sampling.latents_of(run.algorithm, [2, 6])
    z = latent_paths.traverse(run.algorithm, z, [0, 2], 2.0, 5)
    images = sampling.generate(
        run.algorithm, run.state, z.reshape(-1, 3), np.ones(20, np.int32)
    )
    np.testing.assert_array_equal(
        pixels(written[0] / 'walk.png'), writer.grid(images, 5)
    )
    with Image.open(written[0] / 'walk.gif') as film:
        assert film.n_frames == 8  # five forwards, three backwards


def test_walks_on_a_sphere_stay_on_it(run):
    gan = run.algorithm._replace(latent='sphere')
    z = np.asarray(latents.LATENTS['sphere'](
        sampling.jax.random.key(0), 3))[None]
    rows = latent_paths.traverse(gan, z, [1], 3.0, 4)
    np.testing.assert_allclose(
        np.linalg.norm(rows, axis=-1), np.sqrt(3), rtol=1e-5
    )


def test_sums_are_parsed():
    assert latent_paths.parse_sum('3+5-7') == [
        (1, (3,)), (1, (5,)), (-1, (7,))
    ]
    assert latent_paths.parse_sum(' -1,2 + 30 ') == [(-1, (1, 2)), (1, (30,))]


@pytest.mark.parametrize('text', BAD_SUMS)
def test_malformed_sums_are_refused(text):
    with pytest.raises(errors.ConfigError, match='is not a sum'):
        latent_paths.parse_sum(text)


def test_sum_is_of_the_means(run):
    z = dict(zip(range(6), sampling.latents_of(run.algorithm, range(6))))
    terms = latent_paths.parse_sum('1,2-3,4+5')
    _, means, total = latent_paths.combine(run.algorithm, terms)
    np.testing.assert_allclose(means[1], (z[3] + z[4]) / 2, rtol=1e-6)
    expected = (z[1] + z[2]) / 2 - (z[3] + z[4]) / 2 + z[5]
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    _, _, rescaled = latent_paths.combine(run.algorithm, terms, rescale=True)
    length = np.mean([np.linalg.norm(z[seed]) for seed in range(1, 6)])
    np.testing.assert_allclose(np.linalg.norm(rescaled), length, rtol=1e-5)
    np.testing.assert_allclose(
        rescaled / length, total / np.linalg.norm(total), rtol=1e-5
    )


def test_picture_of_a_sum_has_terms_means_and_the_sum(run, written):
    terms = latent_paths.parse_sum('1,2-3,4+5')
    images, columns = latent_paths.pictures_of_sum(
        run.algorithm, run.state, terms, [1]
    )
    assert columns == 3 and len(images) == 12
    rows = images.reshape(4, 3, 8, 8, 1)
    np.testing.assert_allclose(
        rows[1, :2], run.sample([3, 4], labels=[1, 1]), atol=1e-5
    )
    assert (rows[2, 1] == 1).all() and (rows[3, :2] == 1).all()  # white
    np.testing.assert_allclose(
        rows[2, 0], run.sample([5], labels=[1])[0], atol=1e-5
    )
    np.testing.assert_allclose(rows[2, 2], rows[2, 0], atol=1e-5)
    _, _, total = latent_paths.combine(run.algorithm, terms)
    np.testing.assert_allclose(rows[3, 2:], sampling.generate(
        run.algorithm, run.state, total[None], np.array([1])
    ), atol=1e-5)
    np.testing.assert_array_equal(
        pixels(written[0] / 'sum.png'), writer.grid(images, 3)
    )


def frames():
    return [np.full((7, 9, 3), 40 * n, np.uint8) for n in range(4)]


def test_mp4_has_every_frame(tmp_path):
    if not shutil.which('ffmpeg'):
        pytest.skip('ffmpeg is not installed')
    path = tmp_path / 'deep' / 'film.mp4'
    video.save(path, frames(), 5)
    raw = subprocess.run(
        ['ffmpeg', '-loglevel', 'error', '-i', path, '-f', 'rawvideo',
         '-pix_fmt', 'gray', '-'], capture_output=True, check=True,
    ).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(4, 8, 10)  # sides are even
    np.testing.assert_allclose(
        shown[:, :6, :8].mean((1, 2)), [0, 40, 80, 120], atol=3
    )


def test_mp4_without_ffmpeg_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(errors.ConfigError, match='.gif does not need it'):
        video.save(tmp_path / 'film.mp4', frames(), 5)
    assert not list(tmp_path.iterdir())


def test_transparent_frames_are_shown_on_white(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2, :, 3] = 255
    video.save(tmp_path / 'film.gif', [clear, 255 - clear], 10)
    with Image.open(tmp_path / 'film.gif') as film:
        first = np.asarray(film.convert('L'))
    assert (first[:2] == 0).all() and (first[2:] == 255).all()
