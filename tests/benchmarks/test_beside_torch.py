"""The table beside PyTorch: its cases, and rows that say why they are empty."""

import importlib
import json
import time

import jax
import pytest

from conftest import ROOT
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.config import validation
from gan_jax.core import errors

BENCHMARKS = ROOT / 'benchmarks'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def parameters(config, shape, num_classes):
    gan = builders.algorithm(
        config, builders.single_source_specs(shape, num_classes)
    )
    state = jax.eval_shape(
        lambda key: game.init(gan, key, shape), jax.random.key(0)
    )
    return [
        sum(leaf.size for leaf in jax.tree.leaves(player.params))
        for player in (state.players[G], state.players[D])
    ]


def test_every_case_can_be_trained(script):
    for case in script('beside_torch').cases():
        validation.validate(case.config)


@pytest.mark.parametrize('name', [
    'mlp 512', 'dcgan 28', 'dcgan 32 shared', 'celeb_a', 'dcgan 32 r1 r2',
    pytest.param('biggan 32', marks=pytest.mark.integration), *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ('dcgan 64', 'sngan resnet 32', 'wgan_gp 32')
    ),
])
def test_pytorchs_networks_have_as_many_parameters(script, name):
    pytest.importorskip('torch')
    case, = script('beside_torch').cases([name])
    case.config.batch_size, case.config.d_steps = 2, 1
    for player in (case.config.generator, case.config.discriminator):
        player.width = 8
    step = script('torch_step').Step(case.config, case.shape, 'channels_last')
    assert step.about()['parameters'] == parameters(
        case.config, case.shape,
        script('beside_torch').NUM_CLASSES if name == 'biggan 32' else 0,
    )
    assert step.train(2) > 0 and step.generate(1) > 0 and step.memory() > 0


@pytest.mark.parametrize('changes, named', [
    ({'loss.name': 'relativistic_average'}, 'relativistic_average'),
    ({'penalties.dragan.weight': 1.0}, 'dragan'),
    ({'generator.upsampling': 'nearest'}, 'upsampling'),
    ({'packing': 2}, 'packing'),
    ({'instance_noise.std': 0.1}, 'instance_noise'),
    ({'discriminator.attention': 8}, 'attention'),
    ({'g_optimizer.clip_norm': 1.0}, 'clip_norm'),
    ({'data.flip': True}, 'flip'),
])
def test_what_is_not_written_in_pytorch_is_refused(script, changes, named):
    pytest.importorskip('torch')
    case, = script('beside_torch').cases(['dcgan 32'])
    case.config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=named):
        script('torch_step').Step(case.config, case.shape, 'plain')


def test_unknown_cases_and_variants_are_refused(script):
    with pytest.raises(errors.ConfigError, match='dcgan 33'):
        script('beside_torch').cases(['dcgan 33'])
    pytest.importorskip('torch')
    case, = script('beside_torch').cases(['mlp 64'])
    with pytest.raises(errors.ConfigError, match='channels_first'):
        script('torch_step').Step(case.config, case.shape, 'channels_first')


def test_variants_are_those_that_do_the_same(script):
    plain, shared, gp = script('beside_torch').cases(
        ['dcgan 32', 'dcgan 32 shared', 'wgan_gp 32']
    )
    unsuited = script('beside_torch').unsuited
    assert not unsuited(gp.config, 'channels_last+joined+compile')
    assert 'BatchNorm' in unsuited(plain.config, 'joined')
    assert not unsuited(plain.config, 'compile')
    assert 'shared fakes' in unsuited(shared.config, 'channels_last+compile')
    assert not unsuited(shared.config, 'channels_last+graph')
    gp.config.discriminator.spectral_norm = True
    assert 'spectral norm' in unsuited(gp.config, 'joined')


def test_both_sides_have_one_dtype(script):
    case, = script('beside_torch').cases(['mlp 64'], 'bfloat16')
    assert case.config.dtype == 'bfloat16'
    assert '--config.dtype=bfloat16' in case.arguments


def test_both_sides_are_told_of_tf32(script):
    beside = script('beside_torch')
    case, = beside.cases(['mlp 64'])
    for tf32 in (True, False):
        options = beside.Options(('plain',), 2, 1.0, 8, tf32=tf32)
        for start in beside.worker_starts(case, options).values():
            assert f'--tf32={tf32}' in start.args


# Answers as both sides do, and fails as its variant says.
STUB = '''
import os, signal, sys, time
sys.path.insert(0, {benchmarks!r})
import turns

words = [a.split('=')[1] for a in sys.argv if a.startswith('--variant=')]
word = words[0].partition('+')[0] if words else 'ours'
if word == 'dies':
    sys.exit('no module named so')

class Subject:
    def __init__(self):
        self.turns = 0
        if word == 'raises':
            raise ValueError('no double backward | here')

    def train(self, count):
        self.turns += 1  # the first two are not timed
        if word == 'third' and self.turns == 5:
            raise ValueError('in the third turn')
        if word == 'killed' and self.turns == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if word == 'hangs' or word == 'stops' and self.turns == 5:
            time.sleep(60)
        return count * (1e-3 if word == 'ours' else 2e-3)

    def memory(self):
        return 2**20

    def about(self):
        return {{'parameters': [1, 2]}}

    def generate(self, count):
        if word == 'samples':
            raise ValueError('no samples')
        return count * 1e-3

    def product_rate(self, size):
        return 1e12

    def kernels(self, count):
        return {{'dgrad': {{'share': 1.0, 'longest': [['dgrad', 1.0, 1.0]]}}}}

turns.serve(Subject)
'''


@pytest.fixture(name='table')
def fixture_table(script, monkeypatch, tmp_path, capsys):
    """Return function(names of cases, variants, **options) -> lines, JSON."""
    beside = script('beside_torch')
    for name in ('step_throughput.py', 'torch_step.py'):
        (tmp_path / name).write_text(STUB.format(benchmarks=str(BENCHMARKS)))
    monkeypatch.setattr(beside, 'HERE', tmp_path)
    # Two at once: the first case's and, alone, the second's.
    monkeypatch.setattr(script('turns'), 'at_once', lambda: 2)

    def measure(names, variants, **changes):
        path = tmp_path / 'out.json'
        options = beside.Options(
            tuple(variants), rounds=4, seconds=0.05, product=8, kernels=1,
        )._replace(**changes)
        beside.compare(beside.cases(names), options, str(path))
        return capsys.readouterr().out.splitlines(), json.loads(
            path.read_text()
        )

    return measure


def test_what_one_variant_cannot_do_is_a_row_that_says_why(table):
    lines, result = table(['mlp 64', 'dcgan 32'], [
        'fine', 'raises', 'raises+compile', 'dies', 'third', 'killed',
        'samples', 'joined',
    ])
    rows = [line.strip('| ').split(' | ') for line in lines[2:20]]
    assert [row[1] for row in rows] == 2 * [
        'ours', 'fine', 'raises', 'raises+compile', 'dies', 'third', 'killed',
        'samples', 'joined',
    ]
    remarks = {row[1]: row[-1].strip() for row in rows[9:]}
    assert remarks['raises'] == 'ValueError: no double backward / here'
    assert remarks['dies'] == 'ended with exit code 1: no module named so'
    assert remarks['third'] == (
        'after 2 of 4 turns: ValueError: in the third turn'
    )
    assert remarks['killed'] == 'killed by SIGKILL'
    assert remarks['joined'] == "joined: one pass mixes BatchNorm's statistics"
    assert remarks['samples'] == 'after 4 of 4 turns: ValueError: no samples'
    case = result['cases']['mlp 64']
    assert set(case['ms_per_step']) == {
        'ours', 'fine', 'third', 'samples', 'joined'
    }
    assert len(case['ms_per_step']['third']) == 2
    assert set(case['samples_per_second']) == {'ours', 'fine', 'joined'}
    assert case['ours / torch']['fine']['ratio'] == pytest.approx(0.5)
    assert case['failures']['killed'] == 'killed by SIGKILL'
    assert result['not_measured'] == []
    assert lines[-1].startswith('Product of 8 x 8')
    assert '| dgrad | 100.0% | dgrad 100.0% |' in lines


def test_a_variant_that_hangs_costs_its_row(table):
    lines, result = table(['mlp 64'], ['hangs', 'fine'], patience=1.0)
    assert 'train: no answer within 1 s' in lines[3]
    assert list(result['cases']['mlp 64']['ms_per_step']) == ['ours', 'fine']


def test_the_limit_strikes_and_what_is_left_is_listed(table):
    began = time.monotonic()
    lines, result = table(
        ['mlp 64', 'mlp 512', 'dcgan 32'], ['stops'], limit=2.5
    )
    assert time.monotonic() - began < 5
    assert 'after 2 of 4 turns: train: the time limit was reached' in lines[3]
    assert lines[-2:] == [
        'After 2.5 s the time limit was reached.',
        'Not measured: mlp 512, dcgan 32.',
    ]
    assert result['not_measured'] == ['mlp 512', 'dcgan 32']
    assert list(result['cases']) == ['mlp 64']


def test_our_side_may_fail_too(table, monkeypatch, tmp_path):
    (tmp_path / 'step_throughput.py').write_text('import nothing_of_this_name')
    lines, result = table(['mlp 64'], ['fine'])
    assert 'ended with exit code 1: ModuleNotFoundError: No module' in lines[2]
    assert list(result['cases']['mlp 64']['ms_per_step']) == ['fine']


def test_numbers_are_written_after_each_case(table, monkeypatch, script):
    beside, seen = script('beside_torch'), []
    write = beside.writer.write_json

    def note(path, result):
        seen.append(list(result['not_measured']))
        write(path, result)

    monkeypatch.setattr(beside.writer, 'write_json', note)
    table(['mlp 64', 'mlp 512'], [])
    assert seen == [['mlp 512'], [], []]


TINY = {'batch_size': 4, **{
    f'{player}.width': 8 for player in ('generator', 'discriminator')
}}


@pytest.mark.slow
def test_each_family_has_its_rows_in_the_table(script, tmp_path, capsys):
    pytest.importorskip('torch')
    beside, path = script('beside_torch'), tmp_path / 'out.json'
    table = {
        name: (beside.CASES[name][0], {
            **beside.CASES[name][1], **TINY, **changes,
        }, shape) for name, changes, shape in (
            ('r3gan 32', {}, '16x16x3'), ('stylegan2 32', {}, '16x16x1'),
            ('biggan 32', {'d_steps': 1}, '32x32x3'),
            ('cyclegan 256', {'generator.num_blocks': 1}, '32x32x3'),
            ('kl_autoencoder 32', {'generator.num_blocks': 1}, '24x24x3'),
        )
    }
    beside.compare(
        beside.cases((), 'bfloat16', table),
        beside.Options(('channels_last', 'channels_last+graph'), 2, 0.05, 64),
        str(path),
    )
    rows = capsys.readouterr().out.splitlines()[2:]
    result = json.loads(path.read_text())
    assert result['not_measured'] == []
    for name, ours, theirs, graph in zip(
        table, rows[::3], rows[1::3], rows[2::3]
    ):
        assert ours.startswith(f'| {name} | ours |')
        assert theirs.startswith(f'| {name} | channels_last |')
        reason = 'lazy' if name == 'stylegan2 32' else 'needs a CUDA device'
        assert reason in graph or script('torch_base').torch.cuda.is_available()
        about = result['cases'][name]['about']
        assert about['ours']['parameters'] == (
            about['channels_last']['parameters']
        )
        assert result['cases'][name]['samples_per_second'].keys() >= {
            'ours', 'channels_last'
        }
