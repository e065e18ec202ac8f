"""Generators as ONNX give the same images in onnxruntime, for any batch."""

import os

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
import test_export
from gan_jax import networks
from gan_jax.core import errors
from gan_jax.tools import export
from gan_jax.tools import export_translation
from gan_jax.tools import graph
from gan_jax.tools import onnx_file

SHAPE, LATENT, CLASSES = (16, 16, 3), 12, 3
# Of a generator, beside its shape and width. Random vectors of spectral norm
# are no singular vectors, so many layers with them magnify rounding.
FIELDS = {
    'biggan': {'attention': 8, 'condition': 'batch_norm',
               'num_classes': CLASSES},
    'dcgan': {'norm': 'batch'},
    'dcgan nearest': {'upsampling': 'nearest'},
    'dcgan pixel_shuffle': {'upsampling': 'pixel_shuffle'},
    'dcgan concat': {'condition': 'concat', 'num_classes': CLASSES},
    'dcgan batch_norm': {'condition': 'batch_norm', 'norm': 'batch',
                         'num_classes': CLASSES},
    'mlp': {'norm': 'batch', 'depth': 2},
    'mlp maxout': {'maxout': 3},
    'r3gan': {'condition': 'concat', 'num_classes': CLASSES},
    'resnet': {'norm': 'batch'},
    'resnet sagan': {'attention': 8, 'spectral_norm': True},
    'stylegan2': {'condition': 'concat', 'num_classes': CLASSES},
    'tiny': {},
}
INPUTS = {
    'z': ('float32', ('batch', LATENT)), 'labels': ('int32', ('batch',)),
    'truncation': ('float32', ()),
}
X = ('float32', ('batch', 6, 5, 4))
KERNEL = np.random.RandomState(1).normal(size=(3, 2, 4, 6)).astype('float32')


def convolve(x, kernel=KERNEL, **options):
    return lax.conv_general_dilated(
        x, kernel, **{'window_strides': (1, 1), 'padding': 'SAME', **options},
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )


FUNCTIONS = {  # of images [B, 6, 5, 4]
    'batched_products': lambda x: jnp.einsum('bhwc,bhvc->bhwv', x, 2 * x),
    'clamp': lambda x: jnp.clip(x, -0.5, 0.3),
    'contracted_batch': lambda x: x / (1 + (x ** 2).sum(0)),
    'conv_dilated': lambda x: convolve(x, rhs_dilation=(2, 1)),
    'conv_groups': lambda x: convolve(
        x, KERNEL[:, :, :2], feature_group_count=2
    ),
    'conv_negative_padding': lambda x: convolve(x, padding=((-1, 2), (0, -1))),
    'conv_strided': lambda x: convolve(x, window_strides=(2, 3)),
    'conv_transposed': lambda x: convolve(
        x, lhs_dilation=(2, 3), padding=((1, 2), (1, 0))
    ),
    'conv_transposed_wide': lambda x: convolve(
        x, lhs_dilation=(2, 2), padding=((4, 3), (0, 5)), rhs_dilation=(1, 2)
    ),
    'conv_kernel_of_input': lambda x: convolve(
        x, KERNEL * x.mean(), lhs_dilation=(2, 2), padding=((0, 0), (0, 0))
    ),
    'elementwise': lambda x: sum([
        jnp.exp(-x), jnp.log1p(x * x), jnp.expm1(x), jnp.tanh(x), abs(x),
        lax.erf(x), lax.erfc(x), jax.nn.sigmoid(x), lax.rsqrt(1 + x ** 2),
        jnp.sign(x),
        jnp.sqrt(1 + x * x), x ** 3, jnp.floor(x), jax.nn.softplus(x),
        jnp.where(x > 0.5, x, jnp.where((x < 0) & (x != -1), 2.0, x)),
    ]),
    'expanded': lambda x: jnp.concatenate(
        [jnp.zeros(x.shape) + jnp.arange(4.0), x, jnp.ones(x.shape)], 2
    ),
    'gather': lambda x: x[:, jnp.array([[3, 0], [1, 5]])],
    'instance_norm': lambda x: jax.nn.standardize(x, axis=(1, 2)),
    'pad_inside': lambda x: lax.pad(
        x, 0.5, [(0, 0, 0), (1, 2, 2), (-1, 0, 1), (0, -1, 0)]
    ),
    'pad_reflect': lambda x: jnp.pad(
        x, ((0, 0), (2, 1), (3, 3), (0, 0)), 'reflect'
    ),
    'repeat': lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 3, 2),
    'slices': lambda x: (
        lax.rev(x, [1])[:, :3, 1:3]
        - lax.slice_in_dim(x, 0, 6, 2, 1)[:, :, 3:]
    ),
    'sizes': lambda x: x * x.shape[0],
    'softmax': lambda x: jax.nn.softmax(x.reshape(x.shape[0], -1, 4), 1),
    'split': lambda x: jnp.stack(jnp.split(x, [1, 2], axis=1)[:2], 2),
}


def values(inputs, size=5, seed=0):
    """Draw arrays for inputs, {name: (dtype, shape)}, as [size, ...]."""
    random = np.random.RandomState(seed)
    return {
        name: np.array(0.7, np.float32) if not shape
        else random.randint(0, CLASSES, size, 'int32') if dtype == 'int32'
        else random.normal(size=(size, *shape[1:])).astype('float32')
        for name, (dtype, shape) in inputs.items()
    }


def needed(package):
    """Return a package; skip the test if it is missing."""
    return pytest.importorskip(package, reason="pip install -e '.[test]'")


@pytest.fixture(autouse=True)
def packages():
    needed('onnx')
    needed('onnxruntime')


def run(content, arrays):
    runtime = needed('onnxruntime')
    return runtime.InferenceSession(content).run(None, arrays)[0]


def check(function, inputs, atol=1e-4):
    """Compare a function with its ONNX, for batches of 5 and 1.

    Returns:
        (graph, arrays, outputs).
    """
    traced = graph.trace(function, inputs)
    content = onnx_file.content(traced, 'samples', {'step': '4'})
    arrays = values(inputs)
    expected = np.asarray(jax.jit(function)(*arrays.values()))
    found = run(content, arrays)
    np.testing.assert_allclose(found, expected, atol=atol)
    first = run(content, {k: v[:1] if v.ndim else v for k, v in arrays.items()})
    if (expected[1:] - expected[:1]).any():  # samples are independent
        np.testing.assert_allclose(first, jax.jit(function)(*(
            v[:1] if v.ndim else v for v in arrays.values()
        )), atol=atol)
    assert traced.shape == ('batch', *expected.shape[1:])
    return traced, arrays, expected


def drawn(variables, equalised):
    """Draw variables of the shapes given, so that none is 0 or 1.

    Layers with an equalised learning rate scale their kernels themselves, and
    those of the mapping by its rate, 0.01, too.
    """
    random = np.random.RandomState(0)

    def draw(path, leaf):
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 25
        noise = random.normal(0, fan_in ** -0.5, leaf.shape)
        if equalised and len(leaf.shape) > 1:
            noise *= fan_in ** 0.5 * (100 if 'mapping' in str(path) else 1)
        positive = path[-1].key in ('scale', 'var')
        return np.float32(abs(1 + noise) if positive else noise)

    return jax.tree_util.tree_map_with_path(draw, variables)


def family(name):
    """Return (function, inputs) of a small generator with random weights."""
    pair = networks.NETWORKS[name.split()[0]]
    width = 16 if name == 'r3gan' else 8
    module = pair.generator(image_shape=SHAPE, width=width, **FIELDS[name])
    names = ['z', *['labels'] * bool(module.num_classes),
             *['truncation'] * bool(getattr(module, 'has_styles', False))]
    inputs = {name: INPUTS[name] for name in names}

    def apply(variables, *arrays):
        named = dict(zip(names, arrays))
        return module.apply(
            variables, named.pop('z'), train=False, **named
        )

    arrays = values({k: v for k, v in inputs.items() if k != 'truncation'})
    variables = drawn(jax.eval_shape(
        lambda key: module.init(key, *arrays.values(), train=False),
        jax.random.key(0),
    ), equalised=name == 'stylegan2')
    return lambda *arrays: apply(variables, *arrays), inputs


def test_every_generator_is_compared():
    assert {name.split()[0] for name in FIELDS} == {
        name for name, pair in networks.NETWORKS.items() if pair.generator
    }


@pytest.mark.parametrize('name', FIELDS)
def test_generator_has_the_images_of_jax(name):
    _, arrays, images = check(*family(name))
    assert images.shape == (5, *SHAPE) and images.std() > 0.05
    assert np.ptp(images, axis=0).max() > 0.01  # z matters


@pytest.mark.parametrize('name', FUNCTIONS)
def test_operation_has_the_values_of_jax(name):
    check(FUNCTIONS[name], {'x': X}, atol=1e-5)


@pytest.mark.parametrize('name', ['fitted', 'points', 'conditional'])
def test_run_has_the_samples_of_the_run(name, tmp_path):
    config, shape = test_export.configure(name)
    data = {} if shape is None else {
        'images': helpers.random_images(32, shape),
        'labels': test_export.LABELS,
    }
    run_ = helpers.untrained(config, tmp_path / 'run', **data)
    export.write(
        tmp_path / 'out', run_.workdir, run_.algorithm, run_.state,
        formats=['onnx'],
    )
    content = (tmp_path / 'out' / 'generator.onnx').read_bytes()
    inputs = run_.algorithm.inputs(test_export.SEEDS)
    arrays = {'z': np.asarray(inputs.main)}
    if inputs.labels is not None:
        arrays['labels'] = np.asarray(inputs.labels)
    np.testing.assert_allclose(
        run(content, arrays), run_.sample(test_export.SEEDS), atol=1e-4
    )
    about = {p.key: p.value for p in needed('onnx').load_from_string(
        content
    ).metadata_props}
    assert about['step'] == '4' and about['weights'] == 'ema'
    assert 'generator.onnx' in (tmp_path / 'out' / 'README.md').read_text()


@pytest.mark.parametrize('kind, direction, side, width', [
    ('cyclegan', 'a_to_b', 32, 8), ('cyclegan', 'b_to_a', 16, 4),
    ('pix2pix', 'a_to_b', 64, 4),
])
def test_translation_has_the_images_of_the_command(
    kind, direction, side, width, tmp_path
):
    config = helpers.tiny_translation(kind, generator__width=width)
    if kind == 'cyclegan':
        config.translation.identity = 0.0
    images = helpers.random_images(4, (side, side, 3))
    run_ = helpers.untrained(
        config, tmp_path / 'run', {'a': images, 'b': images}
    )
    export_translation.write(
        tmp_path / 'out', run_.workdir, run_.algorithm, run_.state,
        formats=['onnx'], direction=direction,
    )
    content = (tmp_path / 'out' / 'generator.onnx').read_bytes()
    inputs = images[:3] / np.float32(127.5) - 1
    weights = run_.algorithm.weights(run_.state, 'ema')
    expected = np.concatenate([
        run_.algorithm.translate(weights, image[None], direction)
        for image in inputs
    ])
    assert expected.std() > 0.05
    np.testing.assert_allclose(
        run(content, {'images': inputs}), expected, atol=1e-4
    )


def test_bfloat16_is_computed_in_float32():
    def function(x):
        return (x.astype(jnp.bfloat16) * jnp.bfloat16(3)).astype(jnp.float32)

    traced = graph.trace(function, {'x': X})
    arrays = values({'x': X})
    found = run(onnx_file.content(traced, 'samples', {}), arrays)
    np.testing.assert_allclose(found, 3 * arrays['x'], rtol=1e-6)


@pytest.mark.parametrize('function, words', [
    (lambda x: jnp.sort(x, 1), "the operation 'sort'"),
    (lambda x: x + jnp.arange(x.shape[0])[:, None, None, None], 'counts'),
    (lambda x: lax.dynamic_slice_in_dim(
        x, x[0, 0, 0, 0].astype(int), 2, 1), 'depend on its inputs'),
])
def test_unknown_operation_is_one_line(function, words):
    with pytest.raises(errors.ConfigError, match=words):
        graph.trace(function, {'x': X})


def test_what_needs_no_input_is_computed_before():
    traced = graph.trace(
        lambda x: x * jnp.exp(jax.random.normal(jax.random.key(0), (4,))).sum(),
        {'x': X},
    )
    assert [node.op for node in traced.nodes] == ['Mul']
    assert len(traced.constants) == 1


def test_command_writes_onnx_or_names_the_missing_package(
    tmp_path, monkeypatch
):
    run_ = helpers.untrained(
        helpers.tiny_mlp(), tmp_path / 'run', helpers.random_images()
    )
    command = ['gan_jax', 'export', f'--workdir={run_.workdir}', '--onnx']
    (code, _, error), = helpers.commands([[*command, f'--out={tmp_path}/a']])
    assert code == 0, error
    assert run(
        (tmp_path / 'a' / 'generator.onnx').read_bytes(),
        {'z': np.zeros((2, 3), np.float32)},
    ).shape == (2, 8, 8, 1)
    (tmp_path / 'without' / 'onnx').mkdir(parents=True)
    (tmp_path / 'without' / 'onnx' / '__init__.py').write_text(
        'raise ImportError'
    )
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}/without', prepend=os.pathsep)
    (code, _, error), = helpers.commands([[*command, f'--out={tmp_path}/b']])
    assert code == 2 and error.count('\n') == 1, error
    assert "pip install 'gan_jax[onnx]'" in error
    assert not (tmp_path / 'b').exists()
