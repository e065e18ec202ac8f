"""PyTorch's CycleGAN computes what ours does, from the same weights."""

import functools
import importlib

import jax
import numpy as np
import pytest

from conftest import ROOT
import helpers
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import translation
from gan_jax.algorithms import translation_updates as step_lib
from gan_jax.config import builders
from gan_jax.config import validation
from gan_jax.core import errors

SHAPE = (24, 24, 3)
PLAYERS = (  # in the order of PyTorch's networks
    'generator_a_to_b', 'generator_b_to_a', 'discriminator_b', 'discriminator_a'
)


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    return importlib.import_module


@pytest.fixture(name='config')
def fixture_config(script):
    config = script('translation_config').get_config('2')
    config.generator.width, config.discriminator.width = 4, 4
    config.batch_size = 2
    validation.validate(config)
    return config


def built(config):
    """Return our algorithm and its initial state."""
    specs = {name: builders.DataSpec(SHAPE) for name in translation.DOMAINS}
    ours = builders.algorithm(config, specs)
    return ours, builders.initial_state(config, ours, specs)


def copied(network, params):
    """Return params of ours with the values of PyTorch's network.

    Flax names layers in the order of the calls, as PyTorch does here: Conv_0,
    Conv_1, ..., and ConvTranspose_0, ... Kernels are [kh, kw, in, out], in
    PyTorch [out, in, kh, kw], and of transposed convolutions [in, out, kh, kw].
    PyTorch flips the latter against `lax.conv_transpose`.
    """
    torch, taken = importlib.import_module('torch'), {}
    counts = {'Conv': 0, 'ConvTranspose': 0}
    for module in network.modules():
        if isinstance(module, torch.nn.ConvTranspose2d):
            kind, axes, flip = 'ConvTranspose', (2, 3, 0, 1), -1
        elif isinstance(module, torch.nn.Conv2d):
            kind, axes, flip = 'Conv', (2, 3, 1, 0), 1
        else:
            continue
        weight = module.weight.detach().numpy().transpose(axes)
        taken[f'{kind}_{counts[kind]}'] = {
            'kernel': weight[::flip, ::flip],
            'bias': module.bias.detach().numpy(),
        }
        counts[kind] += 1
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_equal(ours.shape, theirs.shape),
        params, taken,
    )
    return taken


def images(seed):
    """Return noise in [-1, 1] of both domains, [2, B, H, W, C]."""
    random = np.random.RandomState(seed)
    return random.uniform(-1, 1, (2, 2, *SHAPE)).astype(np.float32)


def to_torch(array):
    torch = importlib.import_module('torch')
    return torch.tensor(np.moveaxis(array, -1, 1).copy())


def ours_and_theirs(script, config, variant='plain', seed=0):
    """Return our algorithm, a state and PyTorch's step of equal weights."""
    torch = importlib.import_module('torch')
    torch.manual_seed(seed)
    step = script('torch_translation').Step(config, SHAPE, variant)
    ours, state = built(config)
    for network in (*step.generators, *step.discriminators):
        for parameter in network.parameters():  # biases are 0 at first
            torch.nn.init.normal_(parameter, 0.0, 0.1)
    players = {
        name: state.players[name].replace(
            params=copied(network, state.players[name].params)
        )
        for name, network in zip(
            PLAYERS, (*step.generators, *step.discriminators)
        )
    }
    return ours, state.replace(players=players), step


@pytest.mark.parametrize('variant', [
    'plain', 'channels_last', 'channels_last+joined',
])
@pytest.mark.parametrize('identity', [2.5, 0.0])
def test_losses_and_gradients_are_ours(script, config, variant, identity):
    pytest.importorskip('torch')
    config.translation.identity = identity
    ours, state, step = ours_and_theirs(script, config, variant)
    a, b = images(1)
    ctx = discriminator_inputs.UpdateContext(
        ours, builders.hyperparams(config), state, jax.random.key(0),
        algorithm.SINGLE_DEVICE, discriminator_inputs.unrolled_scan,
    )
    params = {name: player.params for name, player in state.players.items()}
    stats = {name: player.stats for name, player in state.players.items()}
    real, index = {'a': a, 'b': b}, np.arange(2, dtype=np.int32)
    names = {'g': PLAYERS[:2], 'd': PLAYERS[2:]}

    @jax.jit
    def both():
        (g_loss, (_, _, fakes)), g_grads = jax.value_and_grad(
            functools.partial(
                step_lib._generator_objective, ctx, stats, params, real,
                index,
            ), has_aux=True,
        )({name: params[name] for name in names['g']})
        (d_loss, _), d_grads = jax.value_and_grad(functools.partial(
            step_lib._discriminator_objective, ctx, stats, real, fakes, index
        ), has_aux=True)({name: params[name] for name in names['d']})
        return g_loss, d_loss, fakes, {**g_grads, **d_grads}

    g_loss, d_loss, fakes, grads = both()
    step.discriminators.requires_grad_(False)
    actual, fake_b, fake_a = step.g_gradients(to_torch(a), to_torch(b))
    np.testing.assert_allclose(actual, g_loss, rtol=1e-5)
    for name, fake in (('a', fake_a), ('b', fake_b)):
        np.testing.assert_allclose(
            np.moveaxis(fake.numpy(), 1, -1), fakes[name], atol=1e-5
        )
    assert all(p.grad is None for p in step.discriminators.parameters())
    step.discriminators.requires_grad_(True)
    actual = step.d_gradients(
        (to_torch(b), to_torch(a)), (fake_b, fake_a)
    )
    np.testing.assert_allclose(actual, d_loss, rtol=1e-5)
    for name, network in zip(
        PLAYERS, (*step.generators, *step.discriminators)
    ):
        for parameter in network.parameters():
            parameter.data = parameter.grad
        theirs = copied(network, grads[name])
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(
            x, y, rtol=1e-3, atol=1e-4 * largest
        ), theirs, jax.tree.map(np.asarray, grads[name]))


def test_a_step_trains_all_networks_and_fills_the_pools(script, config):
    torch = pytest.importorskip('torch')
    config.history.size = 3
    step = script('torch_translation').Step(config, SHAPE, 'plain')
    networks = [*step.generators, *step.discriminators]
    before = [
        [p.detach().clone() for p in network.parameters()]
        for network in networks
    ]
    assert step.train(2) > 0 and step.generate(1) > 0
    for old, network in zip(before, networks):
        for one, parameter in zip(old, network.parameters()):
            assert not torch.equal(one, parameter)
    assert all(pool._images.abs().sum((1, 2, 3)).all() for pool in step._pools)
    _, state = built(config)
    assert step.about()['parameters'] == [
        sum(leaf.size for leaf in jax.tree.leaves(state.players[name].params))
        for name in PLAYERS
    ]


def test_the_pool_fills_then_swaps_half(script):
    torch = pytest.importorskip('torch')
    torch.manual_seed(0)
    pool = script('torch_translation').Pool(50, (1, 1, 1), 'cpu')

    def query(first):
        numbers = torch.arange(first, first + 2.0)[:, None, None, None]
        return numbers.flatten(), pool.query(numbers).flatten()

    for first in range(1, 51, 2):
        new, returned = query(first)
        torch.testing.assert_close(returned, new)
    kept, swapped = set(range(1, 51)), 0
    for first in range(51, 1051, 2):
        new, returned = query(first)
        for one, other in zip(new.tolist(), returned.tolist()):
            if one != other:
                swapped += 1
                kept.remove(other)
                kept.add(one)
    assert kept == set(pool._images.flatten().tolist())
    assert 420 < swapped < 580


@pytest.mark.parametrize('key, value', [
    ('algorithm', 'pix2pix'), ('generator.name', 'unet'),
    ('generator.dropout', 0.5), ('discriminator.norm', 'batch'),
    ('loss.name', 'relativistic'), ('data.a.flip', True),
    ('history.share', 0.3), ('penalties.r1.weight', 1.0),
])
def test_what_is_not_written_is_refused(script, config, key, value):
    pytest.importorskip('torch')
    config.update_from_flattened_dict({key: value})
    with pytest.raises(errors.ConfigError, match=f'no PyTorch step.*{key}'):
        script('torch_translation').Step(config, SHAPE, 'plain')


@pytest.mark.parametrize('variant, match', [
    ('split', 'no convolution is grouped'), ('nchw', 'a variant consists of'),
])
def test_unknown_variants_are_refused(script, config, variant, match):
    pytest.importorskip('torch')
    with pytest.raises(errors.ConfigError, match=match):
        script('torch_translation').Step(config, SHAPE, variant)


def test_cases_are_four_sizes_of_the_papers_networks(script):
    speed, _ = helpers.load_script('translation_speed')
    cases = script('beside_torch').cases(table=speed.CASES)
    assert [(case.shape, case.config.batch_size) for case in cases] == [
        ((side, side, 3), size) for side in (64, 128) for size in (1, 4)
    ]
    for case in cases:
        validation.validate(case.config)
        assert case.config.generator.num_blocks == 6
        options = script('beside_torch').Options(('plain',), 2, 0.1, 64)
        starts = script('beside_torch').worker_starts(case, options)
        assert starts['plain'].args[0].endswith('torch_translation.py')
        assert starts['ours'].args[0].endswith('step_throughput.py')
