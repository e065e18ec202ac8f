"""PyTorch's step computes what ours does: R3GAN, losses, penalties."""

import contextlib
import importlib

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from conftest import ROOT
from gan_jax.core import errors
from gan_jax.networks import r3gan
from gan_jax.objectives import losses


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    return importlib.import_module


def kernels(kind, params, *, axes=()):
    """Yield the kernels that flax names kind_0, kind_1 and so on."""
    for number in range(100):
        if f'{kind}_{number}' in params:
            leaf, = params[f'{kind}_{number}'].values()
            yield np.transpose(leaf, axes or None)


def copy(torch, network, params):
    """Set PyTorch's parameters to those of a player of `networks.r3gan`."""
    ours = {
        # [in, out]; [3, 3, in of a group, out]; [H, W, C].
        'dense': kernels('Dense', params),
        'grouped': kernels('GroupedConv', params, axes=(3, 2, 0, 1)),
        'bias': kernels('BiasedLeakyReLU', params),
        'maps': kernels('Basis', params, axes=(2, 0, 1)),
        'weights': kernels('WeightedSum', params, axes=(2, 0, 1)),
    }
    parts = {'grouped': [], 'bias': []}  # `split` has one for each group
    for name, parameter in network.named_parameters():
        kind = {'_maps': 'maps', '_weights': 'weights', 'bias': 'bias'}.get(
            name.split('.')[-1], 'grouped' if parameter.shape[2:] == (3, 3)
            else 'dense'
        )
        missing = parts.get(kind) or [next(ours[kind])]
        count = len(missing[0]) // len(parameter) if kind in parts else 1
        if count > 1:
            missing = np.split(missing[0], count)
        with torch.no_grad():
            parameter.copy_(torch.tensor(
                missing[0].reshape(parameter.shape)
            ))
        if kind in parts:
            parts[kind] = missing[1:]
    assert not any(list(rest) for rest in ours.values())


@pytest.mark.parametrize('split', [False, True])
def test_pytorchs_r3gan_computes_what_ours_does(script, split):
    torch = pytest.importorskip('torch')
    nets, shape = script('torch_step'), (16, 16, 3)
    fields = dict(width=8, full_side=4, group_size=2, num_blocks=2)
    options = config_dict.ConfigDict({
        'norm': 'none', 'spectral_norm': False, **fields,
    })
    z = np.random.RandomState(0).randn(4, 5).astype(np.float32)
    images = np.random.RandomState(1).randn(4, *shape).astype(np.float32)
    for module, network, inputs, layout in (
        (r3gan.Generator(image_shape=shape, **fields),
         nets.r3gan_generator(options, 5, shape, split), z, z),
        (r3gan.Discriminator(**fields),
         nets.r3gan_discriminator(options, shape, split), images,
         images.transpose(0, 3, 1, 2)),
    ):
        params = module.init(jax.random.key(0), inputs, train=True)['params']
        leaves, structure = jax.tree.flatten(params)
        random = np.random.RandomState(2)
        params = jax.tree.unflatten(structure, [  # none is 0, as L3 and biases
            random.normal(0, 0.5, leaf.shape).astype(np.float32)
            for leaf in leaves
        ])
        copy(torch, network, params)
        expected = module.apply({'params': params}, inputs, train=True)
        expected = getattr(expected, 'logits', expected)
        with torch.no_grad():
            actual = network(torch.tensor(layout)).numpy()
        if expected.ndim == 4:
            actual = actual.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(
            actual.reshape(expected.shape), expected, rtol=1e-3,
            atol=1e-4 * float(jnp.abs(expected).max()),
        )


def test_an_r3gan_with_a_norm_is_refused(script):
    pytest.importorskip('torch')
    case, = script('beside_torch').cases(['dcgan 32'])
    for player in (case.config.generator, case.config.discriminator):
        player.name, player.norm = 'r3gan', 'layer'
    with pytest.raises(errors.ConfigError, match='r3gan with a norm'):
        script('torch_step').Step(case.config, case.shape, 'plain')


def test_relativistic_losses_in_pytorch_are_ours(script):
    torch = pytest.importorskip('torch')
    real, fake = np.random.RandomState(0).randn(2, 8).astype(np.float32)
    for actual, expected in zip(
        script('torch_step').LOSSES['relativistic'],
        (losses.relativistic_discriminator, losses.relativistic_generator),
    ):
        np.testing.assert_allclose(
            actual(torch.tensor(real), torch.tensor(fake)),
            expected(real, fake), rtol=1e-5,
        )


def test_joined_penalties_have_the_gradients_of_separate_ones(script):
    torch = pytest.importorskip('torch')
    case, = script('beside_torch').cases(['dcgan 32 r1 r2'])
    case.config.batch_size = 2
    case.config.discriminator.width = case.config.generator.width = 4
    case.config.penalties.r2.weight = 3.0

    def gradients(variant):
        torch.manual_seed(0)
        step = script('torch_step').Step(case.config, case.shape, variant)
        step._d_gradients(step._reals(), step._latents())
        return [p.grad for p in step.discriminator.parameters()]

    for one, two in zip(gradients('joined'), gradients('plain')):
        torch.testing.assert_close(one, two)


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
