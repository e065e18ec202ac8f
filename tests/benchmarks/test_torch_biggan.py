"""PyTorch's BigGAN computes what ours does; its parameters and FLOPs."""

import importlib

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from conftest import ROOT
from gan_jax.core import errors
from gan_jax.networks import biggan

torch = pytest.importorskip('torch')
SHAPE, LATENT = (16, 16, 3), 11  # chunks of 4, 4 and 3
FIELDS = {
    'width': 4, 'attention': 8, 'spectral_norm': False, 'num_classes': 10,
}
G = {**FIELDS, 'condition': 'batch_norm', 'shared_embedding': 5}
D = {
    **FIELDS, 'condition': 'projection', 'norm': 'none', 'small_factor': 2,
}
LABELS = np.array([3, 0, 9, 3], np.int32)


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    return importlib.import_module


def named(params, kind):
    """Yield what flax names kind_0, kind_1 and so on, in its order."""
    for number in range(100):
        if f'{kind}_{number}' in params:
            yield params[f'{kind}_{number}']


@torch.no_grad()
def copy(network, params):
    """Set PyTorch's parameters to ours, in the order of the calls."""
    def put(layer, ours):
        kernel = np.asarray(ours['kernel'])
        if isinstance(layer, torch.nn.Conv2d):
            kernel = kernel.reshape((1,) * (4 - kernel.ndim) + kernel.shape)
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            kernel = kernel.T
        assert layer.weight.shape == kernel.shape
        layer.weight.copy_(torch.tensor(kernel.copy()))
        if layer.bias is not None:
            layer.bias.copy_(torch.tensor(np.asarray(ours['bias'])))

    convs = named(params, 'Conv')
    modulations = named(params, 'ModulatedNorm')
    for name, module in network.named_modules():
        kind = type(module).__name__
        if kind == 'SelfAttention':
            ours, = named(params, 'SelfAttention')
            for part in 'fghv':
                put(getattr(module, part), ours[part])
            module.weight.copy_(torch.tensor(float(ours['weight'])))
        elif kind == 'ModulatedNorm':
            ours = next(modulations)
            put(module.scale, ours['scale'])
            put(module.bias, ours['bias'])
        elif kind == 'Conv2d' and name.split('.')[-1] not in 'fghv':
            put(module, next(convs))
        elif kind == 'Embedding':
            ours, = named(params, 'Embed')
            module.weight.copy_(torch.tensor(np.asarray(ours['embedding'])))
    assert not list(convs) and not list(modulations)
    ours, = named(params, 'Dense')
    if hasattr(network, 'dense'):  # ours has channels last
        rows = {name: np.asarray(leaf) for name, leaf in ours.items()}
        put(network.dense, {name: leaf.reshape(
            *leaf.shape[:-1], 4, 4, -1
        ).swapaxes(-1, -2).swapaxes(-2, -3).reshape(leaf.shape)
            for name, leaf in rows.items()})
        norm = params['Norm_0']['BatchNorm_0']
        network.norm.weight.copy_(torch.tensor(np.asarray(norm['scale'])))
        network.norm.bias.copy_(torch.tensor(np.asarray(norm['bias'])))
    else:
        put(network.output, ours)


def applied(module, *inputs):
    """Return random params, and the output of a forward pass in training."""
    shapes = jax.eval_shape(lambda: module.init(
        jax.random.key(0), *inputs, train=False
    ))
    leaves, structure = jax.tree.flatten(shapes['params'])
    random = np.random.RandomState(2)
    params = jax.tree.unflatten(structure, [
        random.normal(0, 0.3, leaf.shape).astype(np.float32) for leaf in leaves
    ])
    stats = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape), shapes.get('batch_stats', {})
    )
    output, _ = jax.jit(lambda: module.apply(
        {'params': params, 'batch_stats': stats}, *inputs, train=True,
        mutable=['batch_stats'],
    ))()
    return params, output


def assert_close(actual, expected):
    np.testing.assert_allclose(
        actual.numpy(), expected, rtol=1e-3,
        atol=1e-4 * float(np.abs(expected).max()),
    )


def options(fields):
    return config_dict.ConfigDict({'norm': 'batch', **fields})


def test_pytorchs_generator_computes_what_ours_does(script):
    z = np.random.RandomState(0).randn(4, LATENT).astype(np.float32)
    params, expected = applied(
        biggan.Generator(image_shape=SHAPE, **G), z, LABELS
    )
    network = script('torch_biggan').generator(options(G), LATENT, SHAPE)
    copy(network, params)
    with torch.no_grad():
        actual = network(torch.tensor(z), torch.tensor(LABELS).long())
    assert_close(actual, np.moveaxis(np.asarray(expected), -1, 1))


def test_pytorchs_discriminator_computes_what_ours_does(script):
    images = np.random.RandomState(1).randn(4, *SHAPE).astype(np.float32)
    fields = {name: value for name, value in D.items() if name != 'norm'}
    params, expected = applied(
        biggan.Discriminator(norm='none', **fields), images, LABELS
    )
    network = script('torch_biggan').discriminator(options(D), SHAPE)
    copy(network, params)
    with torch.no_grad():
        actual = network(
            torch.tensor(np.moveaxis(images, -1, 1).copy()),
            torch.tensor(LABELS).long(),
        )
    assert_close(actual[:, 0], np.asarray(expected.logits))


@pytest.mark.integration
@pytest.mark.parametrize('name', ['biggan 32', 'r3gan 32'])
def test_counted_flops_are_those_of_pytorchs_counter(script, name):
    """The counter has filters and norms' layers too: a few percent."""
    case, = script('beside_torch').cases([name])
    config, counted = case.config, script('useful_flops')
    for player in (config.generator, config.discriminator):
        player.width, player.spectral_norm = 32, False
    make_g, make_d = script('torch_step').NETWORKS[config.generator.name]
    g = make_g(config.generator, config.latent_size, case.shape)
    d = make_d(config.discriminator, case.shape)
    labels = [torch.zeros(2, dtype=torch.long)] * (name == 'biggan 32')
    counter = importlib.import_module('torch.utils.flop_counter')
    for network, inputs, cost in zip(
        (g, d),
        (torch.zeros(2, config.latent_size), torch.zeros(2, 3, 32, 32)),
        counted.FAMILIES[config.generator.name](config, case.shape),
    ):
        with torch.no_grad(), counter.FlopCounterMode(display=False) as found:
            network(inputs, *labels)
        total = found.get_total_flops() / 2
        assert cost.total == pytest.approx(total, rel=0.05)
        assert 0 < cost.first < 0.1 * cost.total
    step = counted.step(config, case.shape)
    config.loss.name = 'hinge'
    relative = config.batch_size * cost.total if name == 'r3gan 32' else 0
    assert step - counted.step(config, case.shape) == relative


def test_other_forms_of_biggan_are_refused(script):
    case, = script('beside_torch').cases(['biggan 32'])
    case.config.generator.condition = 'none'
    with pytest.raises(errors.ConfigError, match='biggan with condition'):
        script('torch_step').Step(case.config, case.shape, 'plain')
