"""The benchmark of few images: its rows, its table, what it goes on from."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import sources

script, parse = helpers.load_script('few_images')

POINT = {
    'step': 500, 'images': 16_000, 'fid': 2.5, 'kid': 0.01, 'recall': 0.5,
    'r': 0.75, 'r_held_out': -0.25, 'p': 0.0,
}
DENSE = {  # which compile in a moment
    **{
        f'{player}.{key}': value
        for player in ('generator', 'discriminator')
        for key, value in (('name', 'mlp'), ('depth', 1), ('norm', 'none'))
    },
    'penalties.path_length.weight': 0.0, 'penalties.path_length.every': 1,
    'batch_size': 4, 'augment.adaptive_images': 40,
}


def test_titles_have_the_names_of_the_features():
    for features, title in (
        ('efficientnet_lite0', 'best fd_efficientnet_lite0'),
        ('random', 'best FID'),
    ):
        parse('--data=my/flowers', f'--features={features}')
        assert script.own_title('best FID') == title


@pytest.fixture
def folder(tmp_path):
    """Write 64 pictures of noise."""
    path = tmp_path / 'images'
    path.mkdir()
    for number, image in enumerate(helpers.random_images(64, (9, 9, 3))):
        Image.fromarray(image).save(path / f'{number:02}.png')
    return path


def test_rows_differ_in_augmentation_alone():
    parse('--data=my/flowers', '--width=16', '--full_side=8', '--side=32')
    configs = {row: script.configure(row, 0.8) for row in script.ROWS}
    for row, config in configs.items():
        validation.validate(config)
        changed = run_identity.differences(configs['none'], config)
        assert all(change.startswith('augment.') for change in changed)
        assert config.latent_size == config.generator.width == 16
    assert configs['ada'].augment.adaptive
    assert [
        name for name in configs['diffaugment'].augment
        if configs['diffaugment'].augment[name] is True
    ] == sorted(script.CHANGES)
    assert not any(
        value is True for value in configs['none'].augment.values()
    )


def test_table_has_the_last_point_and_the_best_fid():
    better = POINT | {'step': 1000, 'fid': 3.5, 'p': 0.4}
    lines = script.table({'ada': {'curve': [POINT, better]}}).splitlines()
    assert len(lines) == 3
    assert lines[2] == (
        '| ada | 1,000 | 3.50 | 2.50 | 0.0100 | 0.50 | 0.75 | -0.25 | 0.40 |'
    )


@pytest.mark.parametrize('count', [3, 64, 70])
def test_signs_are_of_all_images(count):
    gan = helpers.linear_gan()
    state = helpers.start(gan)
    images = helpers.random_images(count)[:, :2, :2]
    (dense,) = state.players['discriminator'].params.values()
    logits = (images / 127.5 - 1).reshape(count, -1) @ dense['kernel'][:, 0]
    np.testing.assert_allclose(
        script.signs(gan, state, images),
        np.sign(logits + dense['bias']).mean(), rtol=1e-6,
    )


def test_too_few_images_and_unknown_rows_are_named(folder):
    parse(f'--data={folder}', '--count=33', '--side=8')
    with pytest.raises(errors.ConfigError, match='--count=33 of the 64 images'):
        script.main([])
    parse(f'--data={folder}', '--only=adda')
    with pytest.raises(errors.ConfigError, match='did you mean'):
        script.main([])
    parse()
    with pytest.raises(errors.ConfigError, match='--data must be'):
        script.main([])


@pytest.mark.integration
def test_runs_are_measured_drawn_and_continued(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(script, 'LOG_EVERY', 2)
    for row, changes in script.ROWS.items():
        extra = dict(DENSE)
        if row != 'ada':
            extra.pop('augment.adaptive_images')
        monkeypatch.setitem(script.ROWS, row, changes | extra)
    command = (
        f'--data={folder}', '--count=32', '--side=8', '--width=4', '--every=4',
        f'--out={tmp_path}/runs', '--num_samples=32', '--minutes=0',
        f'--json={tmp_path}/x.json', f'--table={tmp_path}/x.md',
        f'--picture={tmp_path}/x.png',
    )

    def run(*more):
        parse(*command, *more)
        script.main([])
        return json.loads((tmp_path / 'x.json').read_text())['runs']

    runs = run('--num_steps=8')
    assert list(runs) == list(script.ROWS)
    for row, result in runs.items():
        assert [point['step'] for point in result['curve']] == [4, 8]
        for point in result['curve']:
            assert point['images'] == 4 * point['step']
            assert -1 <= point['r'] <= 1 and -1 <= point['r_held_out'] <= 1
            assert point['p'] == script.FIXED.get(row, point['p'])
            assert np.isfinite(list(point.values())).all()
    text = (tmp_path / 'x.md').read_text()
    assert text in capsys.readouterr().out and '| diffaugment | 8 |' in text
    with Image.open(tmp_path / 'x.png') as image:
        assert image.mode == 'RGB' and image.width == 540

    def load(request):
        raise AssertionError('a finished run is measured again')

    with monkeypatch.context() as patch:
        patch.setattr(script.runner, 'evaluate_run', load)
        assert run('--num_steps=8') == runs
    more = run('--num_steps=12', '--only=ada')
    assert [point['step'] for point in more['ada']['curve']] == [4, 8, 12]


def test_share_leaves_the_count_for_training(folder):
    parse(f'--data={folder}', '--count=20', '--side=8')
    config = script.configure('none', script.held_out_share())
    request = script.builders.request(config)
    sizes = [
        len(sources.load(request._replace(split=split)).images)
        for split in ('train', 'test')
    ]
    assert sizes == [20, 44]
