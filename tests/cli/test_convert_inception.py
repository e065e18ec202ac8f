"""The command `convert_inception`: from pytorch-fid's file to ours."""

import hashlib
import io
import os
import sys
import zipfile

import numpy as np
import pytest

import helpers
import inception_state
from gan_jax.cli import convert_inception
from gan_jax.core import errors
from gan_jax.features import inception
from gan_jax.features import weights


@pytest.fixture(scope='module')
def state():
    return inception_state.random_state()


def test_names_and_axes_by_hand(state):
    variables = convert_inception.to_variables('random', state)
    params, stats = variables['params'], variables['batch_stats']
    kernel = params['Mixed_6b']['branch7x7_2']['conv']['kernel']
    assert kernel.shape == (1, 7, 128, 128)
    theirs = state['Mixed_6b.branch7x7_2.conv.weight']
    assert kernel[0, 5, 3, 100] == theirs[100, 3, 0, 5]
    assert params['fc']['kernel'][2000, 9] == state['fc.weight'][9, 2000]
    for ours, theirs in [
        (params['Mixed_7c']['branch1x1']['bn']['scale'], 'bn.weight'),
        (params['Mixed_7c']['branch1x1']['bn']['bias'], 'bn.bias'),
        (stats['Mixed_7c']['branch1x1']['bn']['mean'], 'bn.running_mean'),
        (stats['Mixed_7c']['branch1x1']['bn']['var'], 'bn.running_var'),
    ]:
        np.testing.assert_array_equal(
            ours, state[f'Mixed_7c.branch1x1.{theirs}']
        )


@pytest.mark.parametrize('changes, says', [
    ({'fc.bias': None}, 'network: missing fc.bias$'),
    (
        {'AuxLogits.fc.weight': np.zeros(1, np.float32)},
        "unexpected 'AuxLogits.fc.weight'$",
    ),
    (
        {'fc.weight': np.zeros((1000, 2048), np.float32)},
        r'fc.weight is float32 \[1000, 2048\], not float32 \[1008, 2048\]$',
    ),
    ({'fc.bias': np.zeros(1008, np.float16)}, 'fc.bias is float16'),
    ({'fc.bias': np.full(1008, np.nan, np.float32)}, 'fc.bias is not finite'),
    (
        {'x\ny': np.zeros(1, np.float32), 'fc.bias': None},
        r"missing fc.bias; unexpected 'x\\ny'$",
    ),
])
def test_other_tensors_are_refused(changes, says, state):
    changed = {k: v for k, v in {**state, **changes}.items() if v is not None}
    with pytest.raises(errors.DamagedError, match=says):
        convert_inception.to_variables('file', changed)


def test_published_hash_agrees_with_the_name_of_the_file():
    assert len(inception.SHA256) == 64
    assert inception.SOURCE.endswith(f'-{inception.SHA256[:8]}.pth')


def test_mistake_is_one_line_and_an_exit_code(tmp_path):
    (tmp_path / 'other.pth').write_bytes(b'other')
    digest = hashlib.sha256(b'other').hexdigest()[:16]
    for arguments, code, says in [
        ([], 2, f'--weights={inception.SOURCE}; download it from https://'),
        (['x'], 2, "unexpected argument 'x'"),
        (['--weights=none.pth'], 2, '--weights=none.pth does not exist'),
        (['--weights=.'], 5, 'is not a regular file'),
        (
            ['--weights=other.pth'], 5,
            f'SHA-256 {digest}…, but the published file has '
            '6726825d0af5f729…: '
        ),
    ]:
        process = helpers.run(
            'gan_jax', 'convert_inception', *arguments, cwd=tmp_path
        )
        assert process.returncode == code, process.stderr
        (line,) = process.stderr.splitlines()
        assert line.startswith('error: ') and says in line
    assert os.listdir(tmp_path) == ['other.pth']


def test_missing_pytorch_is_an_error_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(errors.ConfigError, match=r"pip install -e '.\[convert"):
        convert_inception.load_state('file', b'')


@pytest.fixture
def torch():
    return pytest.importorskip(
        'torch', reason="PyTorch is not installed: pip install -e '.[convert]'"
    )


def test_other_weights_are_converted_if_allowed(
    torch, state, tmp_path, monkeypatch
):
    import torch_inception

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    torch.save(
        torch_inception.load(state).state_dict(), tmp_path / 'random.pth'
    )
    outputs = []
    for _ in range(2):
        process = helpers.run(
            'gan_jax', 'convert_inception', '--weights=random.pth',
            '--allow_other_weights', cwd=tmp_path,
        )
        assert process.returncode == 0, process.stderr
        outputs += [process.stdout]
    loaded = inception.load()
    assert outputs[0] == outputs[1]
    assert outputs[0].endswith(
        f'NOT the published weights, fingerprint {loaded.fingerprint}\n'
    )
    assert str(weights.default_path('inception')) in outputs[0]
    data = (tmp_path / 'random.pth').read_bytes()
    assert loaded.about == {
        'format': 1, 'source': 'other weights',
        'sha256': hashlib.sha256(data).hexdigest(),
    }
    blocked = helpers.run(
        'gan_jax', 'convert_inception', '--weights=random.pth',
        '--allow_other_weights', '--out=random.pth/out', cwd=tmp_path,
    )
    assert blocked.returncode == 2
    assert 'error: random.pth/out cannot be written: ' in blocked.stderr


def test_weights_of_the_published_hash_need_no_flag(
    torch, state, tmp_path, monkeypatch
):
    import torch_inception

    data = save(torch, torch_inception.load(state).state_dict())
    (tmp_path / 'w.pth').write_bytes(data)
    monkeypatch.setattr(
        inception, 'SHA256', hashlib.sha256(data).hexdigest()
    )
    flags = convert_inception.flags.FLAGS
    flags(['x'])
    monkeypatch.setattr(flags, 'weights', str(tmp_path / 'w.pth'))
    monkeypatch.setattr(flags, 'out', str(tmp_path / 'out'))
    assert convert_inception.main(['x']) is None
    assert inception.load(tmp_path / 'out').about == {
        'format': 1, 'source': inception.SOURCE, 'sha256': inception.SHA256,
    }


def save(torch, value, **fields):
    buffer = io.BytesIO()
    torch.save(value, buffer, **fields)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self):
        return os.mkdir, ('exploded',)


def test_files_that_hold_no_tensors_are_refused_and_run_nothing(
    torch, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    empty_zip = io.BytesIO()
    zipfile.ZipFile(empty_zip, 'w').close()
    good = save(torch, {'a': torch.zeros(3)})
    for data in (
        b'', b'text', good[:-9], empty_zip.getvalue(),
        save(torch, {'a': Bomb()}), save(torch, Bomb()),
        save(torch, Bomb(), _use_new_zipfile_serialization=False),
        save(torch, [torch.zeros(3)]), save(torch, torch.zeros(3)),
        save(torch, {'a': 'text'}), save(torch, torch.nn.Linear(1, 1)),
    ):
        with pytest.raises(errors.DamagedError, match='^f holds no named ten'):
            convert_inception.load_state('f', data)
    assert os.listdir(tmp_path) == []
