"""The price of R1 and R2: cases, the fastest variant, table and JSON."""

import importlib
import json
import subprocess
import sys

import pytest

from conftest import ROOT
import helpers
from gan_jax.config import validation
from gan_jax.core import errors

BENCHMARKS = ROOT / 'benchmarks'
NAMES = ['dcgan 32', 'resnet 32', 'r3gan 32']


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture(scope='module', name='price')
def fixture_price():
    return helpers.load_script('second_order')


def test_both_steps_of_a_case_differ_by_the_penalties_alone(price):
    pairs = price[0].pairs()
    assert [pair['with'].name for pair in pairs] == NAMES
    for pair in pairs:
        for which, weight in (('without', 0.0), ('with', 0.1)):
            penalties = pair[which].config.penalties
            assert penalties.r1.weight == penalties.r2.weight == weight
            assert penalties.r1.every == penalties.r2.every == 1
            assert f'--config.penalties.r2.weight={weight}' in (
                pair[which].arguments
            )
            validation.validate(pair[which].config)
            penalties.r1.weight = penalties.r2.weight = 0.0
        assert pair['with'].config == pair['without'].config
        discriminator = pair['with'].config.discriminator
        assert discriminator.norm == 'none' and not discriminator.spectral_norm


def test_names_are_checked_and_both_steps_have_the_dtype(price):
    with pytest.raises(errors.ConfigError, match='dcgan 33'):
        price[0].pairs(['dcgan 33'])
    pair, = price[0].pairs(['r3gan 32'], 'bfloat16')
    for case in pair.values():
        assert '--config.dtype=bfloat16' in case.arguments


@pytest.mark.parametrize('variant', [
    'channels_last', 'channels_last+joined', 'split',
])
@pytest.mark.parametrize('name', [
    'r3gan 32', *(pytest.param(name, marks=pytest.mark.slow)
                  for name in NAMES[:2]),
])
def test_pytorchs_networks_have_as_many_parameters(
    script, price, name, variant
):
    pytest.importorskip('torch')
    from test_beside_torch import parameters

    pair, = price[0].pairs([name])
    if script('beside_torch').unsuited(pair['with'].config, variant):
        pytest.skip('no such variant of this case')
    for case in pair.values():
        case.config.batch_size = 2
        for player in (case.config.generator, case.config.discriminator):
            player.width, player.group_size = 8, 8
        step = script('torch_step').Step(case.config, case.shape, variant)
        assert step.about()['parameters'] == parameters(case.config, case.shape)
        assert step.train(1) > 0 and step.generate(1) > 0


# Answers as both sides do. Penalties take twice ours and three times PyTorch's
# time; `quick` is the fastest without them, and then fails.
STUB = '''
import sys
sys.path.insert(0, {benchmarks!r})
import turns

words = [a.split('=')[1] for a in sys.argv if a.startswith('--variant=')]
word = words[0] if words else 'ours'
penalised = '--config.penalties.r1.weight=0.1' in sys.argv

class Subject:
    def about(self):
        return {{'parameters': [1, 2]}}

    def train(self, count):
        if word == 'quick' and penalised:
            raise ValueError('no double backward | here')
        seconds = {{'ours': 1e-3, 'fine': 4e-3, 'quick': 2e-3}}.get(word, 9e-3)
        if penalised:
            seconds *= 2 if word == 'ours' else 3
        return count * seconds

turns.serve(Subject)
'''


@pytest.fixture(name='stub')
def fixture_stub(price, monkeypatch, tmp_path):
    for name in ('step_throughput.py', 'torch_step.py'):
        (tmp_path / name).write_text(STUB.format(benchmarks=str(BENCHMARKS)))
    monkeypatch.setattr(price[0].beside_torch, 'HERE', tmp_path)


def test_the_fastest_variant_counts_and_a_failure_is_a_line(
    price, stub, tmp_path, capsys
):
    script, parse = price
    path = tmp_path / 'out.json'
    parse('--rounds=2', '--seconds=0.05', '--only=dcgan 32,r3gan 32',
          '--torch=fine,quick,split+slow', f'--json={path}')
    script.main([])
    lines = capsys.readouterr().out.splitlines()
    head, _, dcgan, r3gan_row = lines[:4]
    assert head.count('|') == dcgan.count('|') == 10
    same = '2.00 (2.00 to 2.00)'
    assert dcgan == (
        f'| dcgan 32 | 1 | 2 | {same} | 2 | 12 | 6.00 (6.00 to 6.00) '
        '| 0.50 (0.50 to 0.50) | 0.17 (0.17 to 0.17) |'
    )
    assert r3gan_row == dcgan.replace('dcgan', 'r3gan')
    assert lines[5:9] == [
        "- dcgan 32, without: PyTorch's fastest is quick.",
        "- dcgan 32, with: PyTorch's fastest is fine.",
        '- dcgan 32, split+slow: split: no convolution is grouped',
        '- dcgan 32, quick, with: ValueError: no double backward | here',
    ]
    result = json.loads(path.read_text())
    assert result['not_measured'] == [] and result['weight'] == 0.1
    case = result['cases']['r3gan 32']
    assert set(case['ms_per_step']['with']) == {'ours', 'fine', 'split+slow'}
    assert case['best of torch'] == {'without': 'quick', 'with': 'fine'}
    assert case['with / without']['torch']['ratio'] == pytest.approx(6)


def test_ours_stands_alone_where_pytorch_fails(
    price, stub, tmp_path, capsys
):
    script, parse = price
    (tmp_path / 'torch_step.py').write_text('import nothing_of_this_name')
    parse('--rounds=2', '--seconds=0.05', '--only=dcgan 32', '--torch=fine')
    script.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        '| dcgan 32 | 1 | 2 | 2.00 (2.00 to 2.00) |  |  |  |  |  |'
    )
    assert 'ModuleNotFoundError: No module' in lines[-1]


def test_what_the_limit_leaves_out_is_named(price, stub, capsys):
    script, parse = price
    parse('--limit=0.001', '--torch=fine')
    script.main([])
    assert capsys.readouterr().out.splitlines()[-1] == (
        'Not measured: dcgan 32, resnet 32, r3gan 32.'
    )


@pytest.mark.slow
def test_one_command_compares_and_writes(tmp_path):
    pytest.importorskip('torch')
    path = tmp_path / 'out.json'
    done = subprocess.run(
        [sys.executable, BENCHMARKS / 'second_order.py', '--only=r3gan 32',
         '--rounds=2', '--seconds=0.05', '--torch=plain', f'--json={path}'],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    case = json.loads(path.read_text())['cases']['r3gan 32']
    assert case['about']['ours']['parameters'] == (
        case['about']['plain']['parameters']
    )
    assert case['with / without']['ours']['ratio'] > 1
    assert case['ours / torch']['with']['ratio'] > 0
