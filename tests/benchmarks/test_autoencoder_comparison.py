"""The comparison of autoencoders: rows, what is kept, a table, a picture."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.config import validation

script, parse = helpers.load_script('autoencoder_comparison')


@pytest.mark.parametrize('name', script.ROWS)
def test_every_row_is_valid(name):
    parse('--num_steps=50', '--start=7')
    config = script.configure(script.ROWS[name])
    validation.validate(config)
    assert config.data.test_share > 0 and config.num_steps == 50
    waits = script.ROWS[name].waits
    assert config.reconstruction.start == {None: 0, True: 50, False: 7}[waits]


def test_rows_have_all_autoencoders_with_and_without_d():
    recipes = {row.recipe for row in script.ROWS.values()}
    assert recipes == {*adversarial_autoencoder.KINDS, 'autoencoder', 'vae'}


def test_sharpness_is_that_of_gray_values():
    images = np.zeros((1, 4, 4, 3), np.uint8)
    images[..., 1] = 6 * np.arange(4)
    np.testing.assert_allclose(script.sharpness(images), 2)


@pytest.mark.slow
def test_two_rows_are_trained_kept_and_drawn(monkeypatch, tmp_path, capsys):
    plain = script.configure

    def small(row):
        config = plain(row)
        config.generator.width = config.discriminator.width = 2
        config.batch_size, config.latent_size = 8, 3
        return config

    monkeypatch.setattr(script, 'configure', small)
    arguments = (
        f'--out={tmp_path}', '--num_steps=2', '--minutes=0', '--num_images=20',
        '--features=random', '--only=autoencoder,vae_gan',
        f'--json={tmp_path}/table.json', f'--picture={tmp_path}/rows.png',
    )
    parse(*arguments)
    script.main([])
    first = json.loads((tmp_path / 'table.json').read_text())
    assert set(first) == {'autoencoder', 'vae_gan'}
    assert first['vae_gan']['steps'] == 2
    assert 0 < first['vae_gan']['error'] < 2
    with Image.open(tmp_path / 'rows.png') as picture:
        assert picture.width > 500
    assert '| vae_gan | 2 |' in capsys.readouterr().out
    monkeypatch.setattr(script.run_clock, 'run', None)  # cannot be called
    script.main([])
    assert json.loads((tmp_path / 'table.json').read_text()) == first
