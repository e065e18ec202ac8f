"""PyTorch's KL autoencoder computes what ours does, from the same weights."""

import importlib

import jax
import numpy as np
import optax
import pytest

from conftest import ROOT
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import autoencoder_updates
from gan_jax.algorithms import codes as codes_lib
from gan_jax.algorithms import discriminator_inputs
from gan_jax.config import builders
from gan_jax.config import validation
from gan_jax.core import errors

SHAPE, BATCH = (24, 24, 3), 3
# In the order of `Step.about`, as of ours.
PLAYERS = 'encoder', 'discriminator', 'decoder'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    return importlib.import_module


@pytest.fixture(name='config')
def fixture_config(script):
    case, = script('beside_torch').cases(['kl_autoencoder 32'])
    config = case.config
    config.generator.width, config.discriminator.width = 4, 4
    config.discriminator.depth, config.batch_size = 2, BATCH
    config.reconstruction.kl = 0.1
    validation.validate(config)
    return config


def copied(network, params):
    """Return params of ours with the values of PyTorch's network.

    Both name layers in the order of the calls. Kernels are [kh, kw, in, out],
    in PyTorch [out, in, kh, kw].
    """
    torch, taken = importlib.import_module('torch'), {}
    counts = {'Conv': 0, 'GroupNorm': 0}
    for module in network.modules():
        weight = getattr(module, 'weight', None)
        if weight is None:
            continue
        weight = weight.detach().numpy()
        if isinstance(module, torch.nn.Conv2d):
            kind, leaf = 'Conv', 'kernel'
            weight = weight.transpose(2, 3, 1, 0)
        else:
            kind, leaf = 'GroupNorm', 'scale'
        taken[f'{kind}_{counts[kind]}'] = {
            leaf: weight, 'bias': module.bias.detach().numpy()
        }
        counts[kind] += 1
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_equal(ours.shape, theirs.shape),
        params, taken,
    )
    return taken


def built(config):
    """Return our algorithm, whose updates are the gradients, and a state."""
    specs = {'real': builders.DataSpec(SHAPE)}
    ours = builders.algorithm(config, specs)._replace(
        g_tx=optax.identity(), d_tx=optax.identity()
    )
    return ours, builders.initial_state(config, ours, specs)


def networks(step):
    return [getattr(step, name) for name in PLAYERS]


def to_torch(array):
    torch = importlib.import_module('torch')
    return torch.tensor(np.moveaxis(np.asarray(array), -1, 1).copy())


@pytest.mark.parametrize('variant, error', [
    ('plain', 'l1'), ('channels_last+joined', 'l2'),
])
def test_losses_and_gradients_are_ours(script, config, variant, error):
    torch = pytest.importorskip('torch')
    config.reconstruction.error = error
    torch.manual_seed(0)
    step = script('torch_autoencoder').Step(config, SHAPE, variant)
    for network in networks(step):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    ours, state = built(config)
    state = state.replace(players={
        name: state.players[name].replace(
            params=copied(network, state.players[name].params)
        ) for name, network in zip(PLAYERS, networks(step))
    })
    key, index = jax.random.key(5), np.arange(BATCH, dtype=np.int32)
    hyperparams = builders.hyperparams(config)._replace(
        g_learning_rate=1.0, d_learning_rate=1.0
    )
    images = np.random.RandomState(1).randint(
        0, 256, (BATCH, *SHAPE)).astype(np.uint8)

    @jax.jit
    def updated():
        ctx = discriminator_inputs.UpdateContext(
            ours, hyperparams, state, key, algorithm.SINGLE_DEVICE,
            discriminator_inputs.unrolled_scan,
        )
        noise = codes_lib.standard_noise(
            jax.random.fold_in(key, discriminator_inputs.CODE_KEY),
            ours.code_shape, index,
        )
        return autoencoder_updates.update(ctx, images, index), noise

    (new, metrics), noise = updated()
    real = to_torch(images / np.float32(127.5) - 1)
    step.discriminator.requires_grad_(False)
    loss, weight, fakes = step.g_gradients(real, to_torch(noise))
    assert all(p.grad is None for p in step.discriminator.parameters())
    step.discriminator.requires_grad_(True)
    d_loss = step.d_gradients(real, fakes)
    for actual, name in (
        (loss, 'g/loss'), (weight, 'g/weight'), (d_loss, 'd/loss'),
    ):
        np.testing.assert_allclose(actual, metrics[name], rtol=1e-4)
    for name, network in zip(PLAYERS, networks(step)):
        for parameter in network.parameters():
            parameter.data = parameter.grad
        before = state.players[name].params
        slopes = jax.tree.map(
            np.subtract, before, new.players[name].params
        )
        theirs = copied(network, before)
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
        assert largest > 0
        jax.tree.map(lambda x, y: np.testing.assert_allclose(
            x, y, rtol=1e-3, atol=1e-4 * largest
        ), theirs, slopes)


def test_a_step_trains_all_networks(script, config):
    torch = pytest.importorskip('torch')
    step = script('torch_autoencoder').Step(config, SHAPE, 'plain')
    before = [
        [p.detach().clone() for p in network.parameters()]
        for network in networks(step)
    ]
    assert step.train(2) > 0 and step.generate(1) > 0
    for old, network in zip(before, networks(step)):
        for one, parameter in zip(old, network.parameters()):
            # The hinge loss's slopes at D's last bias cancel at first.
            assert parameter.ndim < 4 or not torch.equal(one, parameter)
    _, state = built(config)
    assert step.about()['parameters'] == [
        sum(leaf.size for leaf in jax.tree.leaves(state.players[name].params))
        for name in sorted(state.players, reverse=True)
    ]


@pytest.mark.parametrize('key, value', [
    ('algorithm', 'vq_gan'), ('discriminator.norm', 'instance'),
    ('generator.attention', 8), ('loss.name', 'relativistic'),
    ('reconstruction.adaptive', False), ('reconstruction.error', 'huber'),
    ('reconstruction.features', 1.0), ('reconstruction.start', 10),
])
def test_what_is_not_written_is_refused(script, config, key, value):
    pytest.importorskip('torch')
    config.update_from_flattened_dict({key: value})
    with pytest.raises(errors.ConfigError, match=f'no PyTorch step.*{key}'):
        script('torch_autoencoder').Step(config, SHAPE, 'plain')
