"""The step beside PyTorch's: same networks, FLOPs by hand, turns, its table."""

import functools
import importlib
import json
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import helpers
from gan_jax import build
from gan_jax import checks
from gan_jax import errors
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G

BENCHMARKS = pathlib.Path(__file__).parent.parent / 'benchmarks'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def parameters(config, shape):
    gan = build.algorithm(config, build.form(shape))
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


def test_every_case_can_be_trained(script):
    for case in script('beside_torch').cases():
        checks.validate(case.config)


@pytest.mark.parametrize('name', [
    'mlp 512', 'dcgan 28', 'dcgan 32 shared', *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ('dcgan 64', 'sngan resnet 32', 'wgan_gp 32')
    ),
])
def test_pytorchs_networks_have_as_many_parameters(script, name):
    pytest.importorskip('torch')
    case, = script('beside_torch').cases([name])
    case.config.batch_size = 2
    for player in (case.config.generator, case.config.discriminator):
        player.width = 8
    step = script('torch_step').Step(case.config, case.shape, 'channels_last')
    assert step.about()['parameters'] == parameters(case.config, case.shape)
    assert step.train(2) > 0 and step.generate(1) > 0 and step.memory() > 0


@pytest.mark.parametrize('changes, named', [
    ({'loss.name': 'relativistic'}, 'relativistic'),
    ({'regularizers.r2.weight': 1.0}, 'r2'),
    ({'discriminator.kernel_size': 5}, 'kernels'),
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
    suits = script('beside_torch').suits
    assert suits(gp.config, 'channels_last+joined+compile')
    assert not suits(plain.config, 'joined')  # BatchNorm
    assert suits(plain.config, 'compile')
    assert not suits(shared.config, 'channels_last+compile')
    gp.config.discriminator.spectral_norm = True
    assert not suits(gp.config, 'joined')


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
        'turns.serve(Subject())\n'
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
        with pytest.raises(RuntimeError, match='echo.py ended with 1'):
            first.ask('thrice', 1)


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
    assert 'devices: virtual ones' in said and '| batch |' in said


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
    found = kernels.longest(lambda: product(x).block_until_ready(), 1)
    (name, seconds, share), = found
    assert name.startswith(('dot', 'ynn'))  # the library, where it is used
    assert 0 < seconds < 10 and 0.5 < share <= 1
    assert len(list(kernels.rows(found))) == 3


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
        'turns.serve(Subject())\n'
    )
    files = [tmp_path / 'a', tmp_path / 'b']
    turns.warm_up([
        functools.partial(turns.Worker, str(subject), str(file))
        for file in files
    ])
    assert all(file.exists() for file in files)
    with pytest.raises(RuntimeError, match='ended with 1'):
        turns.warm_up([functools.partial(turns.Worker, str(subject))])


def test_ratios_are_of_medians_and_quartiles_of_rounds(script):
    found = script('turns').ratio([1, 2, 4], [2, 2, 2])
    assert found['ratio'] == 1
    assert found['quartiles'] == [0.5, 2]
    assert script('turns').ratio([8.0, 8.0, 4.0], [2.0, 2.0, 2.0], 0.5) == {
        'ratio': 2.0, 'quartiles': [1.0, 2.0]
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
    case = json.loads(path.read_text())['cases']['mlp 64']
    assert case['about']['ours']['parameters'] == (
        case['about']['channels_last']['parameters']
    )
    assert case['ours / torch']['channels_last']['ratio'] > 0
