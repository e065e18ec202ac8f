"""Exported generators give the same samples without this package."""

import json
import subprocess
import sys

import jax
from jax import export as jax_export
import numpy as np
from PIL import Image
import pytest
from safetensors import numpy as safetensors

import helpers
from gan_jax.algorithms.game import G
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.runs import sampling
from gan_jax.tools import export

LABELS = np.arange(32) % 3
RUNS = {  # changes of a tiny run, the shape of its images or None for points
    'images': ({'generator.name': 'dcgan', 'generator.norm': 'batch'},
               (16, 16, 1)),
    'color': ({'latent': 'uniform'}, (4, 6, 3)),
    'conditional': ({'generator.condition': 'concat', 'latent': 'sphere',
                     'discriminator.condition': 'concat'}, (8, 8, 1)),
    'points': ({'data.name': 'ring'}, None),
    'fitted': ({'algorithm': 'vae', 'latent': 'fitted',
                'discriminator.name': 'mlp'}, (8, 8, 1)),
    'pose_decoder': ({'algorithm': 'pose_decoder'}, (8, 8, 1)),
}
SEEDS = [5, 0, 123, 7]
# Runs scripts one after the other; forbidden imports raise ImportError.
REFUSING = '''
import runpy, sys
BARRED = {'gan_jax', 'flax', 'optax', 'orbax', 'safetensors', 'absl', 'etils'}
class Refuse:
    def find_spec(self, name, *others):
        if name.split('.')[0] in BARRED:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
try:
    import gan_jax
except ImportError:
    pass
else:
    sys.exit('it could be imported')
for line in sys.stdin.read().splitlines():
    sys.argv = line.split('\\t')
    runpy.run_path(sys.argv[0], run_name='__main__')
assert not {name.split('.')[0] for name in sys.modules} & BARRED
'''


def configure(name):
    config = helpers.tiny_mlp()
    changes, shape = RUNS[name]
    if 'algorithm' in changes:
        config.d_optimizer.b1 = config.g_optimizer.b1 = 0.9
    config.update_from_flattened_dict(changes)
    unused_keys.leave_out(config, changes)
    return config, shape


@pytest.fixture(scope='module')
def exports(tmp_path_factory):
    """Export each run; return {name: (run, folder)}."""
    exported = {}
    for name in RUNS:
        root = tmp_path_factory.mktemp(name)
        config, shape = configure(name)
        data = {} if shape is None else {
            'images': helpers.random_images(32, shape), 'labels': LABELS
        }
        run = helpers.untrained(config, root / 'run', **data)
        export.write(root / 'out', root / 'run', run.algorithm, run.state)
        exported[name] = run, root / 'out'
    return exported


@pytest.fixture(scope='module')
def sampled(exports, tmp_path_factory):
    """Run all scripts in one process that cannot import the package."""
    folder = tmp_path_factory.mktemp('sampled')
    lines = []
    for name, (run, exported) in exports.items():
        for ending in ('npy',) if name == 'points' else ('npy', 'png'):
            lines.append([
                exported / 'sample.py', *SEEDS,
                f'--out={folder / name}.{ending}',
            ])
    script = exports['conditional'][1] / 'sample.py'
    lines.append([script, *SEEDS, '--label=1', f'--out={folder / "ones"}.npy'])
    done = subprocess.run(
        [sys.executable, '-c', REFUSING],
        input='\n'.join('\t'.join(map(str, line)) for line in lines),
        env=helpers.environment(), capture_output=True, text=True, cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize('name', RUNS)
def test_script_gives_the_samples_of_the_run(name, exports, sampled):
    expected = exports[name][0].sample(SEEDS)
    found = np.load(sampled / f'{name}.npy')
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3  # seeds differ


def test_script_samples_one_class(exports, sampled):
    run = exports['conditional'][0]
    found = np.load(sampled / 'ones.npy')
    expected = run.sample(SEEDS, labels=[1] * 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, run.sample(SEEDS), atol=1e-5)


@pytest.mark.parametrize('name, mode, size', [
    ('images', 'L', (64, 16)), ('color', 'RGB', (24, 4)),
])
def test_script_draws_a_row(name, mode, size, exports, sampled):
    with Image.open(sampled / f'{name}.png') as picture:
        assert (picture.mode, picture.size) == (mode, size)
        pixels = np.asarray(picture)
    expected = np.concatenate(exports[name][0].sample(SEEDS), 1)
    expected = expected.squeeze() * 127.5 + 127.5
    np.testing.assert_allclose(pixels, expected, atol=0.51)


@pytest.mark.parametrize('name', RUNS)
def test_script_is_short(name, exports):
    text = (exports[name][1] / 'sample.py').read_text()
    code = text.split('args = parser')[1].strip().splitlines()
    assert len(code) <= 12 and 'gan_jax' not in text
    assert max(map(len, text.splitlines())) <= 80


def test_program_is_for_all_platforms_and_any_batch(exports):
    content = (exports['conditional'][1] / 'generator.stablehlo').read_bytes()
    exported = jax_export.deserialize(bytearray(content))
    assert exported.platforms == ('cpu', 'cuda', 'tpu')
    z, labels = exported.in_avals
    assert str(z.shape) == '(batch, 3)' and str(labels.shape) == '(batch,)'
    for size in (1, 7):
        images = exported.call(np.zeros((size, 3), np.float32),
                               np.zeros(size, np.int32))
        assert images.shape == (size, 8, 8, 1)


@pytest.mark.parametrize('classes', [0, 3])
def test_program_of_styles_takes_the_truncation(classes):
    gan, state = helpers.styled_gan(classes)
    content = export.program(gan, state)
    exported = jax_export.deserialize(bytearray(content))
    z, *labels, truncation = exported.in_avals
    assert truncation.shape == () and len(labels) == bool(classes)
    inputs = gan.inputs(SEEDS)
    for psi in (1, 0.5, -1):
        found = exported.call(
            inputs.main, *[inputs.labels] * bool(classes), np.float32(psi)
        )
        np.testing.assert_allclose(found, sampling.sample(
            gan, state, SEEDS, truncation=psi
        ), atol=1e-5)
    data = {'image_shape': helpers.SHAPE}
    text = export.script(gan, data)
    assert "'--truncation', type=float, default=1" in text
    names = ', labels' * bool(classes)
    assert f'(seeds){names}, np.float32(args.truncation)\n' in text
    assert 'truncation' not in export.script(helpers.linear_gan(), data)


def test_tensors_are_the_weights_by_name(exports):
    run, folder = exports['images']
    found = safetensors.load_file(folder / 'generator.safetensors')
    assert {value.dtype for value in found.values()} == {np.dtype('float32')}
    averaged = run.state.averages[G]
    assert len(found) == len(jax.tree.leaves(averaged))
    kernel = averaged.params['ConvTranspose_0']['kernel']
    np.testing.assert_array_equal(
        found['params.ConvTranspose_0.kernel'], kernel
    )
    assert any(name.startswith('batch_stats.') for name in found)
    with open(folder / 'generator.safetensors', 'rb') as file:
        size = int.from_bytes(file.read(8), 'little')
        about = json.loads(file.read(size))['__metadata__']
    assert about['step'] == '4' and about['latent_size'] == '3'
    assert json.loads(about['image_shape']) == [16, 16, 1]


def test_card_has_the_metrics_of_the_run_folder(exports):
    run, _ = exports['conditional']
    (run.workdir / 'metrics.jsonl').write_text(
        '{"step": 4, "g/loss": 0.73512, "perf/x": 1}\n{"step": 6, "g/lo'
    )
    (run.workdir / 'evaluation.json').write_text(json.dumps([{
        'step': step, 'weights': 'ema', 'num_fake': 50, 'num_real': 60,
        'data': 'arrays', 'split': 'train', 'features': {'note': 'pixels'},
        'values': {'fid': {'value': value, 'floor': 2.5},
                   'support': {'value': None, 'floor': None},
                   'probe': {'pixels': 0.5}},
    } for step, value in ((4, 12.25), (2, 99.5))]))
    card = export.card(run.workdir, run.algorithm, run.state)
    assert '32 images of 8x8x1, classes 0, 1, 2' in card
    assert '4 of 4, batches of 8' in card and '`labels` int32 [B]' in card
    assert '| fid | 12.25 | 2.5 |' in card and '99.5' not in card
    assert 'Logged at step 4: g/loss 0.7351.' in card
    assert 'support' not in card and '# license: set one' in card
    raw = export.card(run.workdir, run.algorithm, run.state, 'raw')
    assert '32 images of 8x8x1' in raw
    assert 'fid' not in raw and 'the generator as trained' in raw


def test_only_files_of_an_export_are_replaced(exports, tmp_path, monkeypatch):
    run, _ = exports['images']
    out = tmp_path / 'out'
    arguments = out, run.workdir, run.algorithm, run.state
    out.mkdir()
    (out / 'README.md').write_text('mine')
    with pytest.raises(errors.ConfigError, match='holds another README.md'):
        export.write(*arguments)
    assert [path.read_text() for path in out.iterdir()] == ['mine']
    (out / 'README.md').rename(out / 'notes.md')

    def killed(path, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, 'write', killed)
        patch.setattr(files, 'write_json', lambda path, _: path.touch())
        export.write(*arguments)
    for _ in range(2):
        export.write(*arguments)
    assert (out / 'notes.md').read_text() == 'mine'
    assert (out / 'README.md').stat().st_size > 100


def test_command_exports_other_weights(exports, tmp_path):
    run, folder = exports['images']
    out = tmp_path / 'deep' / 'out'
    command = ['gan_jax', 'export', f'--workdir={run.workdir}', f'--out={out}']
    (code, output, error), = helpers.commands([[*command, '--weights=raw']])
    assert code == 0, error
    assert f'step 4 (raw) to {out}' in output
    assert {path.name for path in out.iterdir()} == {
        path.name for path in folder.iterdir()
    }
    assert f'jax {jax.__version__}. JAX promises' in output
    about = json.loads((out / 'export.json').read_text())
    assert about['jax'] == jax.__version__ and about['weights'] == 'raw'
    assert about['step'] == '4' and about['stablehlo']['months'] == 6
    assert {*about['files'], 'export.json'} == {p.name for p in out.iterdir()}
    assert about['stablehlo']['promise'] in (out / 'README.md').read_text()
    program = jax_export.deserialize(
        bytearray((out / 'generator.stablehlo').read_bytes())
    )
    images = program.call(sampling.latents_of(run.algorithm, SEEDS))
    expected = run.sample(SEEDS, weights='raw')
    np.testing.assert_allclose(images, expected, atol=1e-5)
