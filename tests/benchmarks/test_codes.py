"""The benchmark of codes: errors by hand, the picture, what is refused."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.training import train

script, parse = helpers.load_script('codes')


@pytest.fixture
def runs(tmp_path):
    """Train tiny runs on digits; returns flags that name them."""
    given = []
    for name, algorithm in (
            ('autoencoder', 'autoencoder'), ('vae', 'vae'),
            ('gan', 'adversarial'), ('pose_decoder', 'pose_decoder')):
        config = helpers.tiny_mlp()
        config.algorithm = algorithm
        config.data.test_share, config.data.image_size = 0.2, '8'
        config.num_steps, config.sample_every = 2, 0
        unused_keys.leave_out(config)
        train.train(config, tmp_path / name)
        given.append(f'--{name}={tmp_path / name}')
    return given


def test_table_and_picture(runs, tmp_path, capsys):
    parse(*runs, f'--json={tmp_path}/x.json', f'--picture={tmp_path}/x.png')
    script.main([])
    found = json.loads((tmp_path / 'x.json').read_text())
    assert list(found) == ['pca', 'autoencoder', 'vae']
    assert found['pca']['held_out'] < found['autoencoder']['held_out']
    told = capsys.readouterr().out
    assert f'| pca | {found["pca"]["held_out"]:.3f} |' in told
    assert '3 numbers per code, 1438 training images and 359 held-out' in told
    with Image.open(tmp_path / 'x.png') as picture:
        assert picture.width > 800


def test_another_kind_of_run_is_refused(runs, tmp_path):
    parse(*runs[:1], f'--vae={tmp_path}/gan', runs[2])
    with pytest.raises(errors.ConfigError, match="has algorithm='adversarial'"):
        script.main([])
    with pytest.raises(errors.ConfigError, match="has algorithm='vae'"):
        script.morphs(tmp_path / 'vae')


def test_morphs_end_in_what_the_codes_alone_make(runs, tmp_path):
    gan, state = sampling.load(tmp_path / 'pose_decoder')
    found = script.morphs(tmp_path / 'pose_decoder')
    codes = np.eye(12, dtype=np.float32)[:2]  # classes 0 and 1, not moved
    decoder, _ = gan.weights(state, 'ema')
    ends = gan.generator.apply(
        {'params': decoder.params, **decoder.stats}, codes, train=False
    )
    np.testing.assert_allclose(
        found['from class to class'][0][[0, -1]], ends, atol=1e-5
    )


def test_error_by_hand():
    images = np.full((2, 2, 2, 1), 255, np.uint8)
    codes = script.Codes(None, lambda images: np.full(images.shape, 0.5))
    assert script.error(codes, images) == 0.5


def test_as_many_components_as_pixels_lose_nothing():
    images = helpers.random_images(30, (3, 3, 1))
    codes = script.linear(images, 9)
    assert script.error(codes, images) < 1e-9
    assert script.error(script.linear(images, 3), images) > 0.1
