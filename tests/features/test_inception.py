"""Inception-v3: golden features, the port in PyTorch, resizing, refusals.

The real weights are not at hand; random ones, of the published file's names and
shapes, take their place. Without PyTorch the golden features, which it made,
hold the network; `tests/torch_inception.py` makes them anew.
"""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import ROOT
import helpers
import inception_state
from gan_jax.cli import convert_inception
from gan_jax.core import errors
from gan_jax.features import batches
from gan_jax.features import inception
from gan_jax.features import weights

GOLDEN = np.load(ROOT / 'tests' / 'inception_golden.npz')


@pytest.fixture(scope='module')
def state():
    return inception_state.random_state()


@pytest.fixture(scope='module')
def variables(state):
    return convert_inception.to_variables('random', state)


@pytest.fixture(scope='module')
def extractor(variables):
    return inception.Extractor(variables, 'random', {})


@pytest.fixture(scope='module')
def port(state):
    """Return the module with the network in PyTorch, and the network."""
    pytest.importorskip(
        'torch', reason="PyTorch is not installed: pip install -e '.[convert]'"
    )
    import torch_inception

    return torch_inception, torch_inception.load(state)


def assert_near(actual, expected, tolerance=1e-5):
    """Compare relative to the largest value; on a CPU it was 1.2e-6."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * np.abs(expected).max()
    )


def test_features_and_logits_are_golden(variables, state):
    output = jax.jit(inception.Inception().apply)(
        variables, inception_state.images()
    )
    assert_near(output.features, GOLDEN['features'])
    assert_near(output.logits, GOLDEN['logits'] - state['fc.bias'])


def test_logits_have_the_bias_on_request(variables, state):
    features = GOLDEN['features'][:1]
    params = {'params': variables['params']['fc']}
    with_bias, without = (
        inception.Classes(use_bias).apply(params, features)
        for use_bias in (True, False)
    )
    assert_near(with_bias, GOLDEN['logits'][:1])
    np.testing.assert_allclose(
        with_bias - without, state['fc.bias'][None], atol=1e-5
    )


def test_variables_are_those_of_the_published_file(state):
    # torchvision's Inception3 has 23,834,568 parameters with 1000 classes and
    # without its auxiliary classifier; each class has 2049. The published file
    # has 566 tensors, of which 94 count batches.
    params = [v for k, v in state.items() if 'running' not in k]
    assert sum(v.size for v in params) == 23_834_568 + 8 * 2049
    assert len(state) == 566 - 94
    for name, shape in {
        'Conv2d_1a_3x3.conv.weight': (32, 3, 3, 3),
        'Conv2d_4a_3x3.bn.running_var': (192,),
        'Mixed_5b.branch_pool.conv.weight': (32, 192, 1, 1),
        'Mixed_6b.branch7x7_2.conv.weight': (128, 128, 1, 7),
        'Mixed_7a.branch7x7x3_4.bn.running_mean': (192,),
        'Mixed_7c.branch3x3dbl_3b.conv.weight': (384, 384, 3, 1),
        'fc.weight': (1008, 2048),
        'fc.bias': (1008,),
    }.items():
        assert state[name].shape == shape


def mean_of_neighbours(x, reduce):
    """Reduce over the 3 x 3 pixels around each, without padding."""
    _, height, width, _ = x.shape
    return np.stack([
        np.stack([
            reduce(
                x[:, max(r - 1, 0):r + 2, max(c - 1, 0):c + 2], axis=(1, 2)
            )
            for c in range(width)
        ], 1)
        for r in range(height)
    ], 1)


@pytest.mark.parametrize('pool, reduce', [
    (inception._mean_pool, np.mean), (inception._max_pool, np.max),
])
def test_pooling_excludes_the_padding(pool, reduce):
    # Negative, so that zeros of the padding would be the maxima.
    x = np.random.RandomState(0).uniform(-2, -1, (2, 4, 3, 5))
    x = x.astype(np.float32)
    np.testing.assert_allclose(
        pool(x), mean_of_neighbours(x, reduce), rtol=1e-6
    )


def bilinear(images, side):
    """Resize float64 images by the formula, pixel by pixel."""

    def along(x, axis):
        size = x.shape[axis]
        place = (np.arange(side) + 0.5) * size / side - 0.5
        low = np.floor(place).astype(int)
        part = (place - low).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = (
            np.take(x, np.clip(n, 0, size - 1), axis) for n in (low, low + 1)
        )
        return first * (1 - part) + second * part

    return along(along(images, 1), 2)


@pytest.mark.parametrize('size', [(8, 8), (28, 20), (299, 299), (500, 301)])
def test_resizing_is_linear_between_two_pixels(size):
    images = helpers.random_images(1, (*size, 3))
    expected = bilinear(images / 127.5 - 1, inception.SIDE)
    prepared = jax.jit(inception.prepare)(images)
    assert prepared.dtype == jnp.float32
    # Places among the pixels are float32, there as in PyTorch.
    np.testing.assert_allclose(prepared, expected, atol=3e-7 * max(size))


def test_grey_is_repeated_and_uint8_is_a_float():
    grey = helpers.random_images(2, (9, 7, 1))
    prepared = inception.prepare(grey)
    for same in (grey.repeat(3, -1), (grey / 127.5 - 1).astype(np.float32)):
        np.testing.assert_allclose(prepared, inception.prepare(same), atol=1e-6)


@pytest.mark.parametrize('images, message', [
    (np.zeros((2, 8, 8, 4), np.uint8), 'not .2, 8, 8, 4.; remove the alpha'),
    (np.zeros((2, 8, 8, 2), np.uint8), 'remove the alpha channel'),
    (np.zeros((8, 8, 3), np.uint8), r'1 or 3 channels, not \[8, 8, 3\]$'),
    (np.zeros((0, 8, 8, 3), np.uint8), r'not \[0, 8, 8, 3\]$'),
    (np.zeros((1, 8, 8, 5), np.uint8), r'not \[1, 8, 8, 5\]$'),
    (np.zeros((1, 8, 8, 3), np.int32), 'uint8 or floats, not int32'),
    (np.zeros((1, 8, 8, 3), bool), 'uint8 or floats, not bool'),
    (np.full((1, 8, 8, 3), 255, np.float32), 'not from 255 to 255; clip'),
    (np.full((1, 8, 8, 3), np.nan, np.float32), 'not from nan to nan'),
])
def test_other_images_are_refused(images, message):
    with pytest.raises(errors.DataError, match=message):
        inception.Extractor({}, '', {})(images)


def test_half_precision_images_are_read():
    images = jnp.full((1, 8, 8, 3), 0.5, jnp.bfloat16)
    inception.check_values(images)
    np.testing.assert_allclose(inception.prepare(images), 0.5, rtol=1e-6)


def test_features_do_not_depend_on_the_batch():
    def mean_and_size(images):
        sizes.append(len(images))
        return images.mean((1, 2, 3)), images[:, 0, 0]

    for count in (1, 4, 7):
        sizes = []
        images = helpers.random_images(count)
        means, corners = batches.extract(mean_and_size, images, 4)
        assert set(sizes) == {4}
        np.testing.assert_array_equal(means, images.mean((1, 2, 3)))
        np.testing.assert_array_equal(corners, images[:, 0, 0])


def test_every_block_equals_that_of_the_port(port, variables):
    torch_inception, network = port
    import torch

    expected = {}

    def keep(name):
        return lambda module, inputs, output: expected.update({name: output})

    for name, module in network.named_children():
        module.register_forward_hook(keep(name))
    with torch.no_grad():
        network(torch_inception.nchw(inception_state.images()))

    @jax.jit
    def intermediates(variables, images):
        return inception.Inception().apply(
            variables, images, capture_intermediates=True,
            mutable=['intermediates'],
        )[1]['intermediates']

    found = intermediates(variables, inception_state.images())
    del expected['fc']  # with bias
    assert len(expected) == 16
    for name, output in expected.items():
        assert_near(
            found[name]['__call__'][0], output.permute(0, 2, 3, 1).numpy()
        )


def test_golden_features_equal_those_of_the_port(port):
    torch_inception, network = port
    import torch

    with torch.no_grad():
        features, logits = network(
            torch_inception.nchw(inception_state.images())
        )
    assert_near(features.numpy(), GOLDEN['features'])
    assert_near(logits.numpy(), GOLDEN['logits'])


@pytest.mark.parametrize('size', [(32, 48), (400, 300)])
def test_images_of_uint8_end_in_the_features_of_the_port(
    size, port, extractor, state
):
    torch_inception, network = port
    import torch

    images = helpers.random_images(2, (*size, 3))
    images[0] //= 4
    prepared = torch_inception.prepare(images)
    np.testing.assert_allclose(
        inception.prepare(images), prepared.permute(0, 2, 3, 1), atol=2e-5
    )
    with torch.no_grad():
        features, logits = network(prepared)
    output = extractor(images)
    assert_near(output.features, features.numpy(), 1e-4)
    assert_near(output.logits, logits.numpy() - state['fc.bias'], 1e-4)


def test_file_of_the_ports_names_is_converted_and_loaded(
    port, state, tmp_path
):
    import torch

    buffer = io.BytesIO()
    torch.save(port[1].state_dict(), buffer)
    converted = convert_inception.to_variables(
        'file', convert_inception.load_state('file', buffer.getvalue())
    )
    fingerprint = weights.write(tmp_path / 'w', converted, source='a test')
    loaded = inception.load(tmp_path / 'w')
    assert loaded.fingerprint == fingerprint
    assert loaded.about == {'format': 1, 'source': 'a test'}
    output = jax.jit(inception.Inception().apply)(
        loaded.variables, inception_state.images()
    )
    assert_near(output.features, GOLDEN['features'])
