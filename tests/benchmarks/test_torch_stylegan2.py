"""PyTorch's StyleGAN2 computes what ours does: networks, penalties, steps."""

import importlib

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from conftest import ROOT
from gan_jax.core import errors
from gan_jax.networks import stylegan2
from gan_jax.objectives import path_length
from gan_jax.objectives import penalties

torch = pytest.importorskip('torch')
SHAPE, SIZE = (16, 16, 2), 6
FIELDS = {'width': 8, 'full_side': 8}
OPTIONS = config_dict.ConfigDict({
    **FIELDS, 'condition': 'none', 'mapping_layers': 2, 'style_mixing': 0.9,
    'output': 'linear', 'residual': True, 'stddev_group': 4,
})


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    return importlib.import_module


def randomise(params):
    leaves, tree = jax.tree.flatten(params)
    random = np.random.RandomState(2)
    return jax.tree.unflatten(tree, [
        random.normal(0, 0.5, leaf.shape).astype(np.float32) for leaf in leaves
    ])


def put(layer, params):
    """Set weight and bias of a dense layer or a convolution."""
    kernel = np.asarray(params['kernel'])
    kernel = kernel.transpose((3, 2, 0, 1) if kernel.ndim == 4 else (1, 0))
    layer.weight.copy_(torch.tensor(kernel.copy()))
    if 'bias' in params:
        layer.bias.copy_(torch.tensor(np.asarray(params['bias'])))


@torch.no_grad()
def copy_generator(network, variables):
    params = variables['params']
    for number, layer in enumerate(network.mapping):
        put(layer, params['mapping'][f'dense_{number}'])
    parts, noise = params['synthesis'], variables['noise']['synthesis']
    constant = np.asarray(parts['constant']).transpose(2, 0, 1)
    network.constant.copy_(torch.tensor(constant.copy()))
    convs = iter(network.convs)
    for number, rgb in enumerate(network.rgbs):
        stage = parts[f'stage_{number}']
        for name in ['conv_up'] * (number > 0) + ['conv']:
            layer, ours = next(convs), stage[name]
            put(layer.conv, {'kernel': ours['modulated']['kernel']})
            put(layer.conv.style, ours['modulated']['style'])
            layer.bias.copy_(torch.tensor(ours['bias']))
            layer.strength.copy_(torch.tensor(ours['noise_strength']))
            layer.noise.copy_(torch.tensor(np.asarray(
                noise[f'stage_{number}'][name]['noise']
            )))
        put(rgb, {'kernel': stage['to_rgb']['modulated']['kernel']})
        put(rgb.style, stage['to_rgb']['modulated']['style'])
        network.rgb_biases[number].copy_(torch.tensor(stage['to_rgb']['bias']))


@torch.no_grad()
def copy_discriminator(network, params):
    put(network.first, params['from_rgb'])
    for number, stage in enumerate(network.stages):
        for layer, name in (
            (stage.conv, 'conv'), (stage.down, 'conv_down'),
            (stage.skip, 'skip'),
        ):
            if layer is not None:
                put(layer, params[f'stage_{number}'][name])
    put(network.conv, params['conv'])
    kernel = np.asarray(params['dense']['kernel']).reshape(4, 4, 8, 8)
    put(network.dense, {
        'kernel': kernel.transpose(2, 0, 1, 3).reshape(-1, 8),
        'bias': params['dense']['bias'],
    })
    put(network.output, params['output'])


@pytest.fixture(name='generators')
def fixture_generators(script):
    module = stylegan2.Generator(
        image_shape=SHAPE, output='linear', **FIELDS
    )
    variables = jax.jit(lambda z: module.init(
        jax.random.key(0), z, train=False
    ))(jnp.zeros((2, SIZE)))
    variables = {**variables, 'params': randomise(variables['params'])}
    network = script('torch_stylegan2').generator(OPTIONS, SIZE, SHAPE)
    copy_generator(network, variables)
    return module, variables, network


Z = np.random.RandomState(0).randn(4, SIZE).astype(np.float32)


def test_pytorchs_generator_computes_what_ours_does(generators):
    module, variables, network = generators
    expected = module.apply(variables, Z, train=False)
    with torch.no_grad():
        actual = network.eval()(torch.tensor(Z)).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(
        actual, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max())
    )


@pytest.mark.parametrize('residual', [True, False])
def test_pytorchs_discriminator_computes_what_ours_does(script, residual):
    module = stylegan2.Discriminator(residual=residual, **FIELDS)
    images = np.random.RandomState(1).randn(8, *SHAPE).astype(np.float32)
    params = randomise(jax.eval_shape(lambda: module.init(
        jax.random.key(0), images, train=False
    ))['params'])
    network = script('torch_stylegan2').discriminator(
        config_dict.ConfigDict({**OPTIONS, 'residual': residual}), SHAPE
    )
    copy_discriminator(network, params)
    expected = module.apply({'params': params}, images, train=False).logits
    with torch.no_grad():
        actual = network(torch.tensor(images.transpose(0, 3, 1, 2)))[:, 0]
    np.testing.assert_allclose(
        actual, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max())
    )


def test_pytorchs_path_length_computes_what_ours_does(
    generators, script, monkeypatch
):
    module, variables, network = generators
    noise = np.random.RandomState(3).randn(2, *SHAPE).astype(np.float32)

    def call(name, *arrays):
        return module.apply(variables, arrays[0], method=name)

    monkeypatch.setattr(
        path_length.per_sample, 'draw', lambda fn, key, index: jnp.asarray(
            noise if len(jax.eval_shape(fn, key).shape) == 3 else index
        ),
    )
    ours = path_length.path_length(penalties.Context(
        generator_method=call, z=jnp.asarray(Z), sample_index=jnp.arange(4)
    ), 0.0, jax.random.key(0)).value
    monkeypatch.setattr(torch, 'randn_like', lambda x: torch.tensor(
        noise.transpose(0, 3, 1, 2).copy()
    ))
    theirs = script('torch_stylegan2').PathLength('cpu')(
        network.eval(), torch.tensor(Z)
    )
    np.testing.assert_allclose(theirs.detach(), ours, rtol=1e-3)


@pytest.mark.integration
def test_a_step_in_pytorch_is_lazy(script):
    case, = script('beside_torch').cases(['stylegan2 32'])
    case.config.batch_size = 4
    for player in (case.config.generator, case.config.discriminator):
        player.width = 4
    step = script('torch_step').Step(case.config, case.shape, 'plain')
    weights = []
    for _ in range(17):
        weights.append(tuple(
            step._weight(name) for name in ('r1', 'r2', 'path_length')
        ))
        step.step()
    r1 = 16 * case.config.penalties.r1.weight
    assert weights[0] == weights[16] == (r1, 0.0, 8.0)
    assert weights[4] == weights[8] == weights[12] == (0.0, 0.0, 8.0)
    assert weights.count((0.0, 0.0, 0.0)) == 12
    assert float(step._path_length._mean) > 0
    mean = step.generator.mean
    assert mean.abs().sum() > 0 and torch.isfinite(mean).all()


def test_what_is_not_written_in_pytorch_is_refused(script):
    case, = script('beside_torch').cases(['stylegan2 32'])
    steps = script('torch_step')
    assert 'lazy penalties' in script('beside_torch').unsuited(
        case.config, 'channels_last+graph'
    )
    case.config.generator.condition = 'concat'
    case.config.discriminator.condition = 'projection'
    with pytest.raises(errors.ConfigError, match='condition'):
        steps.Step(case.config, case.shape, 'plain')
