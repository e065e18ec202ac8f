"""Exported generators translate images alike without this package."""

import json
import subprocess
import sys

from jax import export as jax_export
import numpy as np
from PIL import Image
import pytest
from safetensors import numpy as safetensors

import helpers
import image_files
from gan_jax.data import pictures
from gan_jax.tools import export_translation
from gan_jax.tools import image_translation
from test_export import REFUSING

RUNS = {  # kind, direction, channels of a and b, side
    'to_grey': ('cyclegan', 'a_to_b', (3, 1), 16),
    'to_alpha': ('cyclegan', 'b_to_a', (4, 1), 16),
    'pix2pix': ('pix2pix', 'a_to_b', (3, 3), 64),
}


@pytest.fixture(scope='module')
def exports(tmp_path_factory):
    """Export each run; return {name: (run, folder)}."""
    exported = {}
    for name, (kind, direction, channels, side) in RUNS.items():
        root = tmp_path_factory.mktemp(name)
        config = helpers.tiny_translation(
            kind, data__a__background='green', data__a__channels=channels[0]
        )
        if kind == 'cyclegan':
            config.translation.identity = 0.0
        run = helpers.untrained(config, root / 'run', {
            domain: helpers.random_images(4, (side, side, depth))
            for domain, depth in zip('ab', channels)
        })
        export_translation.write(
            root / 'out', run.workdir, run.algorithm, run.state,
            direction=direction,
        )
        exported[name] = run, root / 'out'
    return exported


@pytest.fixture(scope='module')
def translated(exports, tmp_path_factory):
    """Run all scripts in one process that cannot import the package."""
    folder = tmp_path_factory.mktemp('translated')
    lines = []
    for name, (*_, side) in RUNS.items():
        image = helpers.random_images(1, (side, side, 4))[0]
        image_files.write(folder / f'{name}.png', image_files.encoded(image))
        deep = image[..., 0].astype(np.uint16) * 256 + image[..., 1]
        Image.fromarray(deep).save(folder / f'{name}_deep.png')
        lines += [
            [exports[name][1] / 'translate.py', folder / f'{kind}.png',
             f'--out={folder / kind}_out.{ending}']
            for kind in (name, f'{name}_deep') for ending in ('npy', 'png')
        ]
    image_files.write(folder / 'large.jpg', image_files.flat(
        (200, 10, 30), (40, 90), 'JPEG', exif=image_files.exif(6)
    ))
    lines.append([
        exports['to_grey'][1] / 'translate.py', folder / 'large.jpg',
        f'--out={folder}/large.png',
    ])
    done = subprocess.run(
        [sys.executable, '-c', REFUSING],
        input='\n'.join('\t'.join(map(str, line)) for line in lines),
        env=helpers.environment(), capture_output=True, text=True, cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize('depth', ['', '_deep'])
@pytest.mark.parametrize('name', RUNS)
def test_script_gives_the_picture_of_the_command(
    name, depth, exports, translated
):
    run, _ = exports[name]
    direction = RUNS[name][1]
    translator = image_translation.build(
        run.workdir, run.algorithm, run.state, direction
    )
    content = (translated / f'{name}{depth}.png').read_bytes()
    image = pictures.decode(content, translator.preparation).pixels
    expected = image_translation.translate(translator, image)
    raw = np.load(translated / f'{name}{depth}_out.npy')
    np.testing.assert_allclose((raw + 1) * 127.5, expected, atol=0.51)
    with Image.open(translated / f'{name}{depth}_out.png') as picture:
        found = np.asarray(picture).reshape(expected.shape)
        assert picture.mode == pictures.CHANNELS[expected.shape[-1]]
    np.testing.assert_allclose(found, expected, atol=1)  # rounding of ties
    assert (found == expected).mean() > 0.99 and np.ptp(found) > 50


def test_script_resizes_an_image_to_the_size_in_training(translated):
    with Image.open(translated / 'large.png') as picture:
        assert (picture.mode, picture.size) == ('L', (16, 16))


@pytest.mark.parametrize('name', RUNS)
def test_script_is_short(name, exports):
    text = (exports[name][1] / 'translate.py').read_text()
    code = text.split('args = parser')[1].strip().splitlines()
    assert len(code) <= 18 and 'gan_jax' not in text
    assert max(map(len, text.splitlines())) <= 80


def test_program_is_for_all_platforms_and_any_batch(exports):
    run, folder = exports['to_grey']
    content = (folder / 'generator.stablehlo').read_bytes()
    exported = jax_export.deserialize(bytearray(content))
    assert exported.platforms == ('cpu', 'cuda', 'tpu')
    assert str(exported.in_avals[0].shape) == '(batch, 16, 16, 3)'
    images = helpers.random_images(3, (16, 16, 3)) / np.float32(127.5) - 1
    expected = run.algorithm.translate(
        run.algorithm.weights(run.state, 'ema'), images, 'a_to_b'
    )
    found = exported.call(images)
    assert found.shape == (3, 16, 16, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_tensors_are_the_weights_of_the_direction(exports):
    run, folder = exports['to_alpha']
    found = safetensors.load_file(folder / 'generator.safetensors')
    average = run.state.averages['generator_b_to_a'].params
    np.testing.assert_array_equal(
        found['params.Conv_0.kernel'], average['Conv_0']['kernel']
    )
    with open(folder / 'generator.safetensors', 'rb') as file:
        size = int.from_bytes(file.read(8), 'little')
        about = json.loads(file.read(size))['__metadata__']
    assert about['direction'] == 'b_to_a' and about['step'] == '4'
    assert json.loads(about['source_shape']) == [16, 16, 1]
    assert json.loads(about['target_shape']) == [16, 16, 4]


def test_card_names_both_domains_and_the_direction(exports):
    run, folder = exports['to_alpha']
    (run.workdir / 'evaluation.json').write_text(json.dumps([{
        'step': 4, 'weights': 'ema', 'direction': direction, 'num_fake': 5,
        'num_real': 6, 'values': {'fid': {'value': value, 'floor': None}},
    } for direction, value in (('b_to_a', 12.25), ('a_to_b', 99.5))]))
    card = export_translation.card(
        run.workdir, run.algorithm, run.state, 'ema', 'b_to_a'
    )
    assert '# Generator of run, b_to_a' in card
    assert '| data a | arrays passed from Python, 4 images of 16x16x4 |' in card
    assert '| inputs | `images` float32 [B, 16, 16, 1] in [-1, 1] |' in card
    assert '| output | float32 [B, 16, 16, 4] in [-1, 1] |' in card
    assert 'python translate.py image.png' in card and 'sample' not in (
        card.split('## Translate')[1]
    )
    assert '| fid | 12.25 | |' in card and '99.5' not in card


def test_card_names_the_task_of_a_domain(tmp_path):
    config = helpers.tiny_translation(
        data__name='digits', data__a__name='digits', data__b__name='digits',
        data__task='stripes', translation__identity=0.0,
    )
    run = helpers.untrained(config, tmp_path / 'run', {
        'a': helpers.random_images(4), 'b': helpers.random_images(4),
    })
    card = export_translation.card(
        run.workdir, run.algorithm, run.state, 'ema', 'a_to_b'
    )
    for domain in 'ab':
        line, = (x for x in card.splitlines() if f'data {domain}' in x)
        assert f'side {domain.upper()} of the task `stripes`' in line


def test_command_exports_a_direction(exports, tmp_path):
    run, folder = exports['to_alpha']
    gan = helpers.untrained(
        helpers.tiny_mlp(), tmp_path / 'gan', helpers.random_images()
    )
    of_run, of_gan = (
        ['gan_jax', 'export', f'--workdir={one.workdir}'] for one in (run, gan)
    )
    results = helpers.commands([
        [*of_run, '--direction=b_to_a', f'--out={tmp_path}/b'],
        [*of_run, f'--out={tmp_path}/a'],
        [*of_run, '--direction=c', f'--out={tmp_path}/c'],
        [*of_gan, '--direction=a_to_b', f'--out={tmp_path}/d'],
    ])
    assert [code for code, _, _ in results] == [0, 0, 2, 2], results
    assert f'to {tmp_path}/b; translate by: python' in results[0][1]
    assert "--direction='c' is not one of" in results[2][2]
    assert 'translates no images' in results[3][2]
    assert {path.name for path in (tmp_path / 'b').iterdir()} == {
        path.name for path in folder.iterdir()
    } == {'README.md', 'export.json', 'generator.safetensors',
          'generator.stablehlo', 'translate.py'}
    for name, channels in (('b', 1), ('a', 4)):
        content = (tmp_path / name / 'generator.stablehlo').read_bytes()
        shape = jax_export.deserialize(bytearray(content)).in_avals[0].shape
        assert shape[1:] == (16, 16, channels)
    assert not (tmp_path / 'c').exists() and not (tmp_path / 'd').exists()
