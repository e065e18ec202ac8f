"""The step beside PyTorch's: same networks, FLOPs by hand, turns, its table."""

import contextlib
import functools
import importlib
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from conftest import ROOT
import helpers
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


def test_flops_of_a_dcgan_step_are_those_counted_by_hand(script):
    case, = script('beside_torch').cases(['dcgan 32'])
    count = script('useful_flops').step
    # G: 100 to 4x4x256, then 4x4 kernels 256-128-64-3 at 4, 8 and 16 pixels a
    # side; D: 3-64-128-256 at 16, 8 and 4, then 4,096 to 1.
    g = 2 * (100 * 4096 + 16 * (
        256 * 128 * 16 + 128 * 64 * 64 + 64 * 3 * 256
    ))
    first = 2 * 16 * 3 * 64 * 256
    d = first + 2 * (16 * (64 * 128 * 64 + 128 * 256 * 16) + 4096)
    expected = 64 * (
        g + 2 * (3 * d - first) + g + 2 * d + 2 * g - 2 * 100 * 4096
    )
    assert count(case.config, case.shape) == expected
    assert expected == pytest.approx(27.0e9, rel=5e-3)


def test_flops_of_points_are_those_counted_by_hand(script):
    case, = script('beside_torch').cases(['mlp 512'])
    g = 2 * (32 * 128 + 128 * 128 + 128 * 2)
    first, d = 2 * 2 * 128, 2 * (2 * 128 + 128 * 128 + 128)
    expected = 512 * (
        g + 2 * (3 * d - first) + 3 * g - 2 * 32 * 128 + 2 * d
    )
    assert script('useful_flops').step(case.config, case.shape) == expected


def test_penalties_and_critic_updates_count(script):
    cases = script('beside_torch').cases
    count = script('useful_flops').step
    plain, r1, gp = (
        case for case in cases(['dcgan 32', 'dcgan 32 r1', 'wgan_gp 32'])
    )
    assert count(r1.config, r1.shape) > count(plain.config, plain.shape)
    both, = cases(['dcgan 32 r1 r2'])
    _, d = script('useful_flops').dcgan_pair(both.config, both.shape)
    assert count(both.config, both.shape) - count(r1.config, r1.shape) == (
        64 * (d.first + 2 * d.total)
    )
    gp.config.d_steps, five = 1, count(gp.config, gp.shape)
    # All but G's update is there five times.
    assert 3 < five / count(gp.config, gp.shape) < 5


def test_shared_fakes_save_a_forward_of_g(script):
    plain, shared = script('beside_torch').cases(
        ['dcgan 32', 'dcgan 32 shared']
    )
    flops = script('useful_flops')
    g, _ = flops.dcgan_pair(plain.config, plain.shape)
    assert flops.step(plain.config, plain.shape) - flops.step(
        shared.config, shared.shape
    ) == 64 * g.total


def test_steps_with_lazy_penalties_take_turns_as_in_training(
    script, monkeypatch
):
    case, = script('beside_torch').cases(['stylegan2 32'])
    specs = builders.single_source_specs(case.shape)
    gan = builders.algorithm(case.config, specs)
    throughput, _ = helpers.load_script('step_throughput')
    monkeypatch.setattr(
        throughput.parallel, 'has_fast_control_flow', lambda _: False
    )
    dues = [sorted(v.due) for v in throughput._variants(gan, True)]
    assert dues == [
        ['path_length', 'r1'] if not step else
        ['path_length'] if step % 4 == 0 else [] for step in range(16)
    ]
    monkeypatch.setattr(
        throughput.parallel, 'has_fast_control_flow', lambda _: True
    )
    only, = throughput._variants(gan, True)
    assert only.due is None


def test_every_case_can_be_trained(script):
    for case in script('beside_torch').cases():
        validation.validate(case.config)


@pytest.mark.integration
def test_samples_are_made_of_maps_of_codes(script):
    case, = script('beside_torch').cases(['kl_autoencoder 32'])
    case.config.batch_size, case.config.generator.num_blocks = 2, 1
    for player in (case.config.generator, case.config.discriminator):
        player.width = 8
    throughput, _ = helpers.load_script('step_throughput')
    step = throughput.Variant(case.config, (24, 24, 3), 1)
    assert step.generate(1) > 0


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


def test_one_pass_gives_the_gradients_of_two(script):
    torch = pytest.importorskip('torch')
    case, = script('beside_torch').cases(['mlp 64'])

    def gradients(variant):
        torch.manual_seed(0)
        step = script('torch_step').Step(case.config, case.shape, variant)
        step.step()
        return [p.detach() for p in step.discriminator.parameters()]

    for one, two in zip(gradients('plain+joined'), gradients('plain')):
        torch.testing.assert_close(one, two)


def test_workers_answer_in_turn_and_tell_of_their_end(script, tmp_path):
    turns = script('turns')
    echo = tmp_path / 'echo.py'
    echo.write_text(
        f'import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\nimport turns\n'
        'class Subject:\n'
        '    def twice(self, number):\n'
        '        print("a line of a library")\n'
        '        return 2 * number\n'
        'turns.serve(Subject)\n'
    )
    with turns.Worker(str(echo)) as first, turns.Worker(str(echo)) as second:
        workers = {'first': first, 'second': second}
        assert turns.alternate(workers, ('twice', 4), 2) == {
            'first': [8, 8], 'second': [8, 8]
        }
        asked = {'first': ('twice', 1), 'second': ('twice', 2)}
        assert turns.alternate(workers, asked, 1) == {
            'first': [2], 'second': [4]
        }
        with pytest.raises(turns.Failure, match="^AttributeError: .*'thrice'"):
            first.ask('thrice', 1)


def test_a_worker_that_is_killed_is_missed_though_its_child_lives(
    script, tmp_path
):
    turns = script('turns')
    parent = tmp_path / 'parent.py'
    parent.write_text(
        f'import os, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n'
        'import subprocess, turns\n'
        'class Subject:\n'
        '    def die(self):\n'
        '        subprocess.Popen(["sleep", "5"])  # holds the pipe open\n'
        '        os.kill(os.getpid(), 9)\n'
        'turns.serve(Subject)\n'
    )
    began = time.monotonic()
    with turns.Worker(str(parent)) as worker:
        with pytest.raises(turns.Failure, match='^killed by SIGKILL$'):
            worker.ask('die')
    assert time.monotonic() - began < 4


def test_both_sides_are_told_of_tf32(script):
    beside = script('beside_torch')
    case, = beside.cases(['mlp 64'])
    for tf32 in (True, False):
        options = beside.Options(('plain',), 2, 1.0, 8, tf32=tf32)
        for start in beside.worker_starts(case, options).values():
            assert f'--tf32={tf32}' in start.args


def test_scaling_tells_each_value_beside_the_first():
    script, parse = helpers.load_script('scaling')
    parse()
    found = [
        {'value': value, 'ms_per_step': [1, taken, 90],
         'images_per_second': 10, 'peak_memory_mib': 5}
        for value, taken in ((8, 2), (16, 5))
    ]
    assert list(script.rows('batch', found))[2:] == [
        '| 8 | 2.0 | 1.00 | 10 | 5 |', '| 16 | 5.0 | 2.50 | 10 | 5 |'
    ]
    parse('--axes=depth')
    with pytest.raises(errors.ConfigError, match='depth'):
        script.main([])


def test_the_model_on_paper_is_corrected_by_the_measured_steps(capsys):
    script, parse = helpers.load_script('scaling')
    device = script.Device(100.0, script.BYTES, 4.0, {1: 5.0, 3: 9.0})
    # 1 second of arithmetic and 1 of memory an image: 3 + images * 2.
    paper = script.on_paper(device, 4, 10, 100.0, 2)
    assert paper == {'arithmetic': 10.0, 'memory': 10.0, 'links': 3.0}
    assert script.corrected(device, 1, 1, 100.0, 2) == 5.0
    assert script.corrected(device, 1, 10, 100.0, 2) == pytest.approx(23.0)
    assert script.corrected(device, 4, 10, 100.0, 2) == pytest.approx(26.0)
    assert script.corrected(
        device._replace(measured=None), 4, 10, 100.0, 2
    ) is None
    parse('--paper')
    script.main([])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == len(script.MODELLED)
    assert '| 5.76 |' in lines[1] and lines[-1].startswith('| 256 v5e | 512 |')


def test_virtual_devices_are_of_the_cpu_alone(monkeypatch, capsys):
    script, parse = helpers.load_script('scaling')
    parse('--axes=devices,batch')
    described = {**script.environment.describe(0), 'backend': 'gpu'}
    monkeypatch.setattr(script.environment, 'describe', lambda _: described)
    monkeypatch.setattr(script, 'measure', lambda axis: [
        {'value': 1, 'ms_per_step': [1.0], 'images_per_second': 2,
         'peak_memory_mib': 3}
    ])
    script.main([])
    said = capsys.readouterr().out
    assert 'devices: left out' in said and '| batch |' in said


@pytest.mark.slow
def test_scaling_trains_on_virtual_devices(tmp_path):
    path = tmp_path / 'out.json'
    done = subprocess.run(
        [sys.executable, BENCHMARKS / 'scaling.py', '--axes=devices',
         '--rounds=2', '--steps=1', '--config_path=configs/dcgan.py',
         '--shape=16x16x1', f'--json={path}'],
        capture_output=True, text=True, cwd=BENCHMARKS.parent,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())['axes']['devices']
    assert [one['value'] for one in found] == [1, 2, 4, 8]
    assert all(one['images_per_second'] > 0 for one in found)


def test_a_trace_names_the_kernels_of_a_call(script):
    kernels = script('kernels')
    product = jax.jit(lambda x: x @ x)
    x = jnp.ones((512, 512))
    product(x).block_until_ready()
    groups = kernels.grouped(
        kernels.trace(lambda: product(x).block_until_ready()), 1
    )
    (name, seconds, share), = groups['other']['longest']
    assert name.startswith(('dot', 'ynn'))  # the library, where it is used
    assert 0 < seconds < 10 and 0.5 < share <= groups['other']['share'] <= 1


def test_kernels_are_grouped_by_what_they_do(script):
    kernels = script('kernels')
    names = {
        'dgrad': [
            'sm90_xmma_dgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32',
            'void dgrad2d_grouped_direct_kernel<float>',
            'cutlass_tensorop_s1688dgrad_analytic_tf32_128x64',
        ],
        'wgrad': ['sm80_xmma_wgrad_implicit_gemm_indexed_tf32f32'],
        'fprop': [
            'sm90_xmma_fprop_implicit_gemm_bf16bf16_nhwckrsc_nhwc',
            'sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_nchw_nchw',
            'cutlass_tensorop_s16816fprop_optimized_nhwc_align8',
            'void implicit_convolve_sgemm<float>', 'convolution.12',
        ],
        'padding and layout': [
            'void cudnn::ops::nhwcAddPaddingKernel<__half>', 'MemcpyD2D',
            'void cudnn::ops::nchwToNhwcKernel<float>', 'loop_pad_fusion.2',
            'input_transpose_fusion', 'loop_slice_fusion', 'copy.4',
        ],
        'normalisation and reductions': [
            'input_multiply_reduce_fusion_3', 'loop_reduce_fusion',
            'void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>',
        ],
        'other': ['loop_multiply_fusion', 'nvjet_hsh_128x128', 'dot.3'],
    }
    for group, members in names.items():
        for name in members:
            assert kernels.group(name) == group, name
    groups = kernels.grouped(
        {'dgrad_a': 3.0, 'wgrad_b': 4.0, 'dgrad_c': 2.0, 'add': 1.0}, 2
    )
    assert groups == {
        'dgrad': {'share': 0.5, 'longest': [('dgrad_a', 3.0, 0.3)]},
        'wgrad': {'share': 0.4, 'longest': [('wgrad_b', 4.0, 0.4)]},
        'other': {'share': 0.1, 'longest': []},
    }
    assert list(kernels.rows(groups))[2:] == [
        '| dgrad | 50.0% | dgrad_a 30.0% |',
        '| wgrad | 40.0% | wgrad_b 40.0% |',
        '| other | 10.0% |  |',
    ]
    assert kernels.grouped({}, 2) == {}


def test_kernels_of_a_gpu_are_those_of_its_streams(script):
    def line(name, **events):
        return SimpleNamespace(name=name, events=[
            SimpleNamespace(name=kernel, duration_ns=taken)
            for kernel, taken in events.items()
        ])

    def plane(name, *lines):
        return SimpleNamespace(name=name, lines=lines)

    gpu = plane(
        '/device:GPU:0', line('Stream #13(Compute)', gemm=3e9, loop=1e9),
        line('Stream #14', gemm=1e9), line('Steps', gemm=9e9),
    )
    host = plane('/host:CPU', line('python', dot=9e9))
    add_up = script('kernels').add_up
    assert add_up(iter([host, gpu])) == {'gemm': 4, 'loop': 1}
    threads = line('tf_XLAEigen', **{
        'dot.3': 2e9, 'while.6': 9e9, 'ThunkExecutor::Execute': 9e9,
    })
    assert add_up([plane('/host:CPU', threads)]) == {'dot.3': 2}


def test_each_worker_is_warmed_up_and_a_failure_told(script, tmp_path):
    turns = script('turns')
    subject = tmp_path / 'subject.py'
    subject.write_text(
        f'import pathlib, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n'
        'import turns\n'
        'class Subject:\n'
        '    def train(self, steps):\n'
        '        pathlib.Path(sys.argv[1]).touch()\n'
        '        return steps\n'
        'turns.serve(Subject)\n'
    )
    files = [tmp_path / 'a', tmp_path / 'b']
    turns.warm_up([
        functools.partial(turns.Worker, str(subject), str(file))
        for file in files
    ])
    assert all(file.exists() for file in files)
    with pytest.raises(turns.Failure, match='^IndexError: '):
        turns.warm_up([functools.partial(turns.Worker, str(subject))])


def test_ratios_are_of_medians_and_quartiles_of_rounds(script):
    found = script('turns').ratio([1, 2, 4], [2, 2, 2])
    assert found['ratio'] == 1
    assert found['quartiles'] == [0.5, 2]
    assert script('turns').ratio([8.0, 8.0, 4.0], [2.0, 2.0, 2.0], 0.5) == {
        'ratio': 2.0, 'quartiles': [1.0, 2.0]
    }


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


def test_a_graph_is_recorded_after_three_steps_and_replayed(
    script, monkeypatch
):
    torch = pytest.importorskip('torch')
    done = []

    class Graph:
        def replay(self):
            done.append('replay')

    class Stream:
        def wait_stream(self, other):
            done.append('wait')

    @contextlib.contextmanager
    def context(thing):
        done.append(type(thing).__name__)
        yield
        done.append('end')

    for name, fake in (
        ('CUDAGraph', Graph), ('Stream', Stream), ('graph', context),
        ('stream', context), ('current_stream', Stream),
    ):
        monkeypatch.setattr(torch.cuda, name, fake)
    replay = script('torch_base').captured(lambda: done.append('step') or 7)
    assert done == [
        'wait', 'Stream', 'step', 'step', 'step', 'end', 'wait',
        'Graph', 'step', 'end',
    ]
    assert replay() == 7 and done[10:] == ['replay']


def test_r2_in_pytorch_is_half_the_squared_slope_at_fakes(script):
    torch = pytest.importorskip('torch')
    case, = script('beside_torch').cases(['mlp 64'])
    case.config.discriminator.depth = 0  # D is linear: its slope is its weight

    def gradient(weight):
        torch.manual_seed(0)
        case.config.penalties.r2.weight = weight
        step = script('torch_step').Step(case.config, case.shape, 'plain')
        step._d_gradients(step._reals(), step._latents())
        layer, = step.discriminator
        return layer.weight.grad, layer.weight.detach()

    (plain, weight), (penalised, _) = gradient(0.0), gradient(3.0)
    torch.testing.assert_close(penalised - plain, 3 * weight)


def test_kernels_of_any_size_halve_and_double(script):
    torch = pytest.importorskip('torch')
    case, = script('beside_torch').cases(['dcgan 32'])
    nets = script('torch_step')
    for size in (2, 3, 4, 5):
        for player in (case.config.generator, case.config.discriminator):
            player.kernel_size, player.width = size, 4
        images = nets.dcgan_generator(
            case.config.generator, 100, case.shape
        )(torch.zeros(2, 100))
        logits = nets.dcgan_discriminator(
            case.config.discriminator, case.shape
        )(images)
        assert images.shape == (2, 3, 32, 32) and logits.shape == (2, 1)


def test_a_graph_needs_a_cuda_device(script, monkeypatch):
    torch = pytest.importorskip('torch')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    case, = script('beside_torch').cases(['mlp 64'])
    with pytest.raises(errors.ConfigError, match='graph: needs a CUDA device'):
        script('torch_step').Step(case.config, case.shape, 'compile+graph')


def test_quartiles_of_two_turns_lie_between_them(script):
    assert script('turns').quartiles([1.0, 3.0]) == [1.5, 2.0, 2.5]
    assert script('turns').quartiles([1.0, 2.0, 4.0]) == [1.0, 2.0, 4.0]


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


@pytest.mark.slow
def test_one_command_compares_and_writes(script, tmp_path):
    pytest.importorskip('torch')
    path = tmp_path / 'out.json'
    done = subprocess.run(
        [sys.executable, BENCHMARKS / 'step_throughput.py', '--table',
         '--only=mlp 64', '--rounds=2', '--seconds=0.05', '--product=64',
         '--kernels=2', f'--json={path}'],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].startswith('| mlp 64 | ours |')
    assert lines[3].startswith('| mlp 64 | channels_last |')
    assert lines[4].startswith('| mlp 64 | channels_last+joined |')
    assert '| other |' in done.stdout
    case = json.loads(path.read_text())['cases']['mlp 64']
    assert case['about']['ours']['parameters'] == (
        case['about']['channels_last']['parameters']
    )
    assert case['ours / torch']['channels_last']['ratio'] > 0
