"""Grey, RGBA and non-square folders, and tables: trained and sampled."""

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import defaults
from gan_jax.training import train


FORMS = {
    'grey': ('L', (32, 32), {}),
    'RGBA': ('RGBA', (32, 32), {'channels': 4}),
    'oblong': ('RGB', (48, 80), {'image_size': '48x80'}),
}


def make_folder(folder, mode, size):
    """Write 20 images of noise."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    for place in range(20):
        pixels = helpers.random_images(1, (*size, channels), seed=place)[0]
        squeezed = pixels[..., 0] if channels == 1 else pixels
        Image.fromarray(squeezed).save(folder / f'{place:02d}.png')


@pytest.mark.parametrize('form, feed', [
    ('RGBA', 'resident'), ('grey', 'streaming'), ('oblong', 'streaming'),
    pytest.param('grey', 'resident', marks=pytest.mark.slow),
    pytest.param('oblong', 'resident', marks=pytest.mark.slow),
    pytest.param('RGBA', 'streaming', marks=pytest.mark.slow),
])
def test_folder_trains_and_samples_back_in_its_form(form, feed, tmp_path):
    mode, size, keys = FORMS[form]
    (tmp_path / 'images').mkdir()
    make_folder(tmp_path / 'images', mode, size)
    config = helpers.tiny(defaults.default_config())
    config.data.path, config.data.feed = str(tmp_path / 'images'), feed
    config.data.update(keys)
    config.num_steps, config.log_every = 20, 10
    config.sample_every = config.checkpoint_every = 20
    run = train.train(config, tmp_path / 'run')
    assert int(run.state.step) == 20
    samples = run.sample(range(3))
    assert samples.shape == (3, *size, len(Image.new(mode, (1, 1)).getbands()))
    assert np.isfinite(samples).all() and abs(samples).max() <= 1
    out = tmp_path / 'out.png'
    if feed == 'streaming':  # the run folder is the same for both
        return
    done = helpers.run(
        'gan_jax', 'sample', f'--workdir={tmp_path / "run"}', '--seeds=0',
        f'--out={out}',
    )
    assert done.returncode == 0, done.stderr
    with Image.open(out) as picture:
        assert picture.mode == mode
        width, height = picture.size
        assert width * size[0] == height * size[1]


@pytest.mark.parametrize('ending', ['npy', 'npz'])
def test_table_trains_as_points(ending, tmp_path, capsys):
    rows = np.random.RandomState(0).randn(300, 5).astype(np.float32)
    path = tmp_path / f'table.{ending}'
    np.save(path, rows) if ending == 'npy' else np.savez(path, rows)
    config = helpers.tiny_mlp()
    config.data.path, config.eval_every = str(path), 2
    run = train.train(config, tmp_path / 'run')
    assert '300 points in 5 dimensions (resident)' in capsys.readouterr().out
    assert run.sample(range(7)).shape == (7, 5)
    path.unlink()
    done = helpers.run(
        'gan_jax', 'sample', f'--workdir={tmp_path / "run"}',
        f'--out={tmp_path / "out.png"}',
    )
    assert done.returncode == 0, done.stderr
