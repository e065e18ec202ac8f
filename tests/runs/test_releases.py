"""Releases: written, loaded elsewhere, and refused where they are bad."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors import numpy as safetensors

import gan_jax
import helpers
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.features import weights as weight_files
from gan_jax.reporting import load_run
from gan_jax.runs import release_files
from gan_jax.runs import sampling
from gan_jax.tools import release
from gan_jax.training import train

ELSEWHERE = '''
import sys
import gan_jax
assert 'jax' not in sys.modules  # the import is cheap
import numpy as np
run = gan_jax.load(sys.argv[1])
np.savez(
    sys.argv[2], samples=run.sample(range(5)), raw=run.sample([3], weights='raw'),
    latents=run.project(np.zeros((1, 32, 32, 1), np.uint8)).codes,
    swd=run.evaluate(['swd'], features='pixels', num_fake=16, num_real=16)
    [0]['values']['swd']['value'],
)
'''


def write(folder, run, **options):
    """Write the release of a `train.Run`."""
    release.write(folder, run.workdir, run.algorithm, run.state, **options)
    return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Return a trained run with statistics, Adam and memory."""
    config = helpers.tiny_mlp()
    config.generator.norm, config.discriminator.spectral_norm = 'batch', True
    config.penalties.g_historical_averaging.weight = 0.1
    config.snapshots.count = 2
    return train.train(config, tmp_path_factory.mktemp('trained') / 'run')


@pytest.fixture(scope='module')
def whole(run, tmp_path_factory):
    return write(tmp_path_factory.mktemp('whole') / 'out', run, training=True)


def test_release_samples_in_another_process_without_the_run(run, tmp_path):
    other = tmp_path / 'run'
    shutil.copytree(run.workdir, other)
    folder = write(tmp_path / 'out', run._replace(workdir=other))
    shutil.rmtree(other)
    subprocess.run(
        [sys.executable, '-c', ELSEWHERE, folder, tmp_path / 'a.npz'],
        env=helpers.environment(), cwd='/', check=True, timeout=300,
    )
    found = np.load(tmp_path / 'a.npz')
    np.testing.assert_array_equal(found['samples'], run.sample(range(5)))
    np.testing.assert_array_equal(found['raw'], run.sample([3], weights='raw'))
    assert found['latents'].shape == (1, 3) and found['swd'] > 0
    assert release_files.TRAINING not in os.listdir(folder)


def test_release_holds_the_whole_state_and_equal_bytes(run, whole, tmp_path):
    loaded = gan_jax.load(whole)
    assert helpers.leaves_equal(loaded.state, run.state)
    again = write(tmp_path / 'out', loaded, training=True)
    for name in release_files.NAMES:
        if name != release_files.CARD:  # the command is that of the run
            assert (again / name).read_bytes() == (whole / name).read_bytes()
    done = subprocess.run(
        ['sha256sum', '--check', '--strict', 'SHA256SUMS'], cwd=whole,
        capture_output=True, text=True, check=True,
    )
    assert done.stdout.count(': OK') == len(release_files.NAMES)


@pytest.mark.parametrize('written', range(1, 6))
def test_killed_release_is_refused_and_replaced(
    written, run, whole, tmp_path, monkeypatch
):
    folder = tmp_path / 'out'
    if written % 2:  # over an older release
        write(folder, run)
    real, count = files.write, []

    def killed(path, data):
        if len(count) == written:
            raise KeyboardInterrupt
        count.append(path)
        real(path, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, 'write', killed)
        write(folder, run, training=True)
    with pytest.raises(errors.ReleaseError, match='lacks|is damaged'):
        sampling.load(folder)
    write(folder, run, training=True)
    for name in release_files.NAMES:
        if name != release_files.CARD:  # it has the folder's name
            assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert helpers.leaves_equal(gan_jax.load(folder).state, run.state)


def test_release_does_not_replace_the_one_it_is_made_of(whole, tmp_path):
    folder = pathlib.Path(shutil.copytree(whole, tmp_path / 'out'))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for out in ('out', 'out/../out/'):
        (code, _, err), = helpers.commands([[
            'gan_jax', 'release', '--workdir=out', f'--out={out}',
        ]], cwd=tmp_path)
        assert code == 2 and 'is the --workdir itself' in err, err
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_numbers_of_another_model_do_not_stay(run, whole, tmp_path):
    folder = pathlib.Path(shutil.copytree(whole, tmp_path / 'out'))
    numbers = folder / 'evaluation.json'
    numbers.write_text('[]')
    write(folder, run)
    assert numbers.exists()  # of the same model
    other = helpers.untrained(
        helpers.tiny_mlp(), tmp_path / 'run', helpers.random_images()
    )
    write(folder, other)
    assert not numbers.exists()
    aside, = folder.glob('evaluation.json.*')
    assert aside.read_text() == '[]'


@pytest.mark.parametrize('flags, says', [
    (['--license_link=https://example.org'], '--license_link needs --lic'),
    (['--license=other'], '--license=other needs --license_name'),
    (['--license=mit', '--license_name=x'], 'needs no name or link'),
    (['--pull=me/x', '--license=mit'], '--pull takes --out only'),
])
def test_flags_that_would_be_ignored_are_refused(flags, says, whole, tmp_path):
    workdir = [] if '--pull=me/x' in flags else [f'--workdir={whole}']
    (code, _, err), = helpers.commands([[
        'gan_jax', 'release', *workdir, f'--out={tmp_path}/out', *flags,
    ]])
    assert code == 2 and says in err and err.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_card_has_header_numbers_with_protocol_and_licence(run, tmp_path):
    yaml = pytest.importorskip('yaml')
    other = tmp_path / 'run'
    shutil.copytree(run.workdir, other)
    numbers, = gan_jax.evaluate(
        other, ['swd'], features='pixels', num_fake=16, num_real=16
    )
    (other / 'evaluation.json').write_text(json.dumps([numbers]))
    (code, _, err), = helpers.commands([[
        'gan_jax', 'release', f'--workdir={other}', f'--out={tmp_path}/card',
        '--license=other', '--license_name=mine: "yes"',
        '--license_link=https://example.org', '--data_license=public domain',
    ]])
    assert code == 0, err
    card = (tmp_path / 'card' / 'README.md').read_text()
    header = yaml.safe_load(card.split('---\n')[1])
    metric = header['model-index'][0]['results'][0]['metrics'][0]
    assert metric['value'] == numbers['values'][metric['type']]['value']
    assert '16 samples (seeds 0-15) of ema weights' in metric['name']
    assert header['license_name'] == 'mine: "yes"'
    for text in ('| swd | ', 'raw pixels', '![Samples', 'public domain',
                 'digits, 1,797 images', "gan_jax.load('card')"):
        assert text in card


@pytest.mark.parametrize('kind', ['stylegan2', 'cyclegan', 'fitted codes'])
def test_other_algorithms_give_the_same_samples(kind, tmp_path):
    config, images, labels = {
        'stylegan2': helpers.tiny_stylegan2, 'cyclegan':
        helpers.tiny_translation, 'fitted codes': autoencoder,
    }[kind](), helpers.random_images(), None
    if kind == 'stylegan2':
        labels = np.arange(32) % 3
    made = helpers.untrained(config, tmp_path / 'run', {
        name: images for name in 'ab'
    } if kind == 'cyclegan' else images, labels)
    loaded = gan_jax.load(write(tmp_path / 'out', made))
    for name in made.algorithm.weight_names:
        one, other = (
            each.algorithm.weights(each.state, name) for each in (made, loaded)
        )
        assert helpers.leaves_equal(one, other)
    if made.algorithm.latent_size:
        np.testing.assert_array_equal(made.sample([1]), loaded.sample([1]))
    else:
        one, other = (
            each.translate(images[0], 'b_to_a') for each in (made, loaded)
        )
        np.testing.assert_array_equal(one, other)


def autoencoder():
    """Return a config of an autoencoder that samples from fitted codes."""
    config = defaults.default_config()
    config.algorithm, config.latent = 'autoencoder', 'fitted'
    return helpers.tiny(config)


def signed(folder, **contents):
    """Replace files of a release, and its SHA256SUMS to match."""
    for name, data in contents.items():
        name = name.replace('__', '.')
        (folder / name).write_bytes(data)
    sums = {
        path.name: path.read_bytes() for path in folder.iterdir()
        if path.name in release_files.NAMES
    }
    (folder / 'SHA256SUMS').write_text(release_files.format_sums(sums))


def edit_tensors(folder, change):
    """Change the tensors of a release and sign it again."""
    path = folder / release_files.MODEL
    tensors = safetensors.load(path.read_bytes())
    change(tensors)
    about = json.dumps({'format': 1})
    signed(folder, model__safetensors=safetensors.save(
        tensors, {weight_files.KEY: about}
    ))


def edit_config(folder, **values):
    """Change keys of the config of a release and sign it again."""
    config = json.loads((folder / 'config.json').read_text())
    signed(folder, config__json=json.dumps({**config, **values}).encode())


def flip(name, place=-9):
    def damage(folder):
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 4
        (folder / name).write_bytes(data)
    return damage


def add_line(text):
    def damage(folder):
        with open(folder / 'SHA256SUMS', 'a') as file:
            file.write(text)
    return damage


def truncate(folder):
    data = (folder / release_files.MODEL).read_bytes()
    (folder / release_files.MODEL).write_bytes(data[:-100])


def link_out(folder):
    (folder / 'data.json').unlink()
    (folder / 'data.json').symlink_to('/dev/zero')


def swap_shapes(tensors):
    name = 'players/generator/params/Dense_0/kernel'
    tensors[name] = np.ascontiguousarray(tensors[name].T)


ZEROS = '0' * 64
BAD = {
    'a bit of the weights': (flip('model.safetensors'), 'is damaged'),
    'a bit of the config': (flip('config.json'), 'is damaged'),
    'a bit of the optimizers': (flip('training.safetensors'), 'is damaged'),
    'cut weights': (truncate, 'is damaged'),
    'no weights': (lambda f: (f / 'model.safetensors').unlink(), 'lacks model'),
    'no config': (lambda f: (f / 'config.json').unlink(), 'lacks config'),
    'no sums': (lambda f: (f / 'SHA256SUMS').unlink(), 'lacks SHA256SUMS'),
    'unlisted': (
        lambda f: (f / 'SHA256SUMS').write_text(''), 'does not list config'
    ),
    'a path out of the folder': (
        add_line(f'{ZEROS}  ../../etc/passwd\n'), 'has the line'
    ),
    'a name with a control character': (
        add_line(f'{ZEROS}  a\x1b[2J\n'), r'\x1b'
    ),
    'a name twice': (add_line(f'{ZEROS}  config.json\n'), 'has the line'),
    'a link to a device': (link_out, 'not a regular file'),
    'a huge header': (
        lambda f: signed(f, model__safetensors=b'\xff' * 7 + b'\0' + b'{}'),
        'not a safetensors file',
    ),
    'a header that is no JSON': (
        lambda f: signed(
            f, model__safetensors=(9).to_bytes(8, 'little') + b'{' * 9
        ), 'damaged safetensors',
    ),
    'weights as a pickle': (
        lambda f: signed(f, model__safetensors=b'\x80\x04K\x01.'),
        'not a safetensors file',
    ),
    'another shape': (
        lambda f: edit_tensors(f, swap_shapes), 'does not hold this network'
    ),
    'a missing tensor': (
        lambda f: edit_tensors(f, lambda t: t.pop('step')), 'missing step'
    ),
    'an extra tensor': (
        lambda f: edit_tensors(f, lambda t: t.update(
            {'../x': np.zeros(2, np.float32)}
        )), "unexpected '../x'",
    ),
    'a NaN': (
        lambda f: edit_tensors(f, lambda t: t.update(
            {name: t[name] * np.nan for name in t if 'averages' in name}
        )), 'not finite',
    ),
    'a negative step': (
        lambda f: edit_tensors(f, lambda t: t.update(
            step=np.array(-1, np.int32)
        )),
        'impossible counters',
    ),
    'the config of another network': (
        lambda f: edit_config(f, latent_size=7), 'does not hold this network'
    ),
    'code in the config': (
        lambda f: edit_config(f, algorithm='__import__("os").system("id")'),
        'algorithm',
    ),
    'code as a key': (
        lambda f: edit_config(f, **{'__reduce__': ['os.system', 'id']}),
        'unknown key',
    ),
    'more memory than there is': (
        lambda f: edit_config(f, latent_size=2**16, snapshots={
            'count': 2**31 - 1, 'every': 1
        }), 'memory',
    ),
    # What a file does not hold would be zeros of that size.
    'more memory of training than there is': (
        lambda f: (without_training(f), edit_config(
            f, history={'size': 2**31 - 1}
        )), 'more memory than this machine has',
    ),
}


def without_training(folder):
    """Remove the optimizers and the memory of a release."""
    (folder / release_files.TRAINING).unlink()
    signed(folder)


@pytest.mark.parametrize('name', BAD)
def test_bad_release_is_refused(name, whole, tmp_path):
    damage, says = BAD[name]
    folder = pathlib.Path(shutil.copytree(whole, tmp_path / 'bad'))
    damage(folder)
    with pytest.raises(errors.ReleaseError, match=re.escape(says)) as caught:
        sampling.load(folder)
    assert '\n' not in str(caught.value) and str(folder) in str(caught.value)


def test_command_ends_in_one_line_and_code_8(whole, tmp_path):
    folder = pathlib.Path(shutil.copytree(whole, tmp_path / 'bad'))
    flip('data.json')(folder)
    results = helpers.commands([
        ['gan_jax', 'sample', '--workdir=bad'],
        ['gan_jax', 'evaluate', '--workdir=bad'],
        ['gan_jax', 'train', '--config=./bad', '--config.init_from=bad',
         '--workdir=new'],
        ['gan_jax', 'train', f'--workdir={whole}'],
        ['gan_jax', 'release', f'--workdir={whole}', '--out=.'],
    ], cwd=tmp_path)
    assert [code for code, _, _ in results] == [8, 8, 8, 2, 2]
    for _, _, err in results:
        assert err.startswith('error: ') and err.count('\n') == 1
    assert os.listdir(tmp_path) == ['bad']


def test_command_names_the_paths_of_all_data(tmp_path):
    config = helpers.tiny_translation(
        data__a__name='', data__a__path='/private/a',
        data__b__name='', data__b__path='/private/b',
    )
    helpers.untrained(config, tmp_path / 'run', {
        name: helpers.random_images() for name in 'ab'
    })
    (code, out, err), = helpers.commands([
        ['gan_jax', 'release', '--workdir=run', '--out=out'],
    ], cwd=tmp_path)
    assert code == 0, err
    for name in 'ab':
        assert f'name the path of the data, /private/{name}\n' in out


def test_files_that_are_not_read_may_change(whole, tmp_path):
    folder = pathlib.Path(shutil.copytree(whole, tmp_path / 'edited'))
    (folder / 'README.md').write_text('a card with a licence')
    (folder / '.gitattributes').write_text('*.safetensors filter=lfs')
    assert gan_jax.load(folder).sample([0]).shape == (1, 32, 32, 1)
    sums = release_files.read_sums(folder)
    data = (folder / 'config.json').read_bytes()
    assert sums['config.json'] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize('kind', ['gan', 'cyclegan'])
def test_files_that_are_not_listed_are_not_read(kind, whole, tmp_path):
    folder, step = tmp_path / 'theirs', 4
    if kind == 'gan':
        shutil.copytree(whole, folder)
    else:
        write(folder, helpers.untrained(
            helpers.tiny_translation(), tmp_path / 'run', {
                name: helpers.random_images() for name in 'ab'
            }
        ))
    (folder / 'samples').mkdir()
    (folder / 'samples' / f'{step:06d}.png').write_bytes(release.PNG)
    (folder / 'environment.json').write_text('[{"command": "rm planted"}]')
    (folder / 'metrics.jsonl').write_text(f'{{"step": {step}, "eval/fid": 1}}')
    (folder / 'evaluation.json').write_text(json.dumps([
        {'step': step, 'values': {'measured': {'value': 2.0}}}
    ]))
    loaded = gan_jax.load(folder)
    assert int(loaded.state.step) == step
    card = (write(tmp_path / 'mine', loaded) / release_files.CARD).read_text()
    assert 'planted' not in card and 'eval/fid' not in card
    assert '| measured | 2 |' in card  # as `evaluate` writes it
    assert (tmp_path / 'mine' / 'samples.png').exists() == (kind == 'gan')
    with pytest.raises(errors.CheckpointError, match='has no numbers'):
        load_run.load(folder)
