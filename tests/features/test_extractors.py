"""Extractors behind one interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.features import classifier
from gan_jax.features import discriminators
from gan_jax.features import efficientnet
from gan_jax.features import extractors
from gan_jax.features import inception
from gan_jax.features import random_cnn
from gan_jax.networks import dcgan
from gan_jax.networks import layers
from gan_jax.networks import mlp

SHAPE = (8, 8, 1)
IMAGES = helpers.random_images(40, SHAPE)
LABELS = (np.arange(40) % 3).astype(np.int32)
TINY = classifier.Settings(steps=2, batch_size=8, width=4, num_features=6)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def gan_of(network=mlp.Discriminator, packing=1, **fields):
    """Return a GAN with a small D that has BatchNorm, and its state."""
    num_classes = fields.get('num_classes', 0)
    gan = helpers.linear_gan(
        generator=mlp.Generator(
            image_shape=SHAPE, width=4, depth=1, norm='none',
            num_classes=num_classes,
            condition='concat' if num_classes else 'none',
        ),
        discriminator=network(width=4, **fields),
        packing=packing, num_classes=num_classes,
    )
    state = game.init(gan, jax.random.key(3), SHAPE)
    stats = jax.tree.map(lambda x: x + 0.5, state.players[D].stats)
    assert not fields.get('norm') or stats['batch_stats']
    player = state.players[D].replace(stats=stats)
    return gan, algorithm.replace_player(state, D, player)


def make(name):
    if name == 'discriminator':
        return discriminators.of_discriminator(*gan_of(norm='batch'))
    if name == 'classifier':
        dataset = sources.Dataset('noise', IMAGES, LABELS, ('a', 'b', 'c'))
        return extractors.make(name, dataset, settings=TINY)
    return extractors.make(name)


# The pretrained networks have tests of their own.
WIDTHS = {
    'classifier': 6, 'discriminator': 4, 'pixels': 64,
    'random': random_cnn.NUM_FEATURES,
}


@pytest.mark.parametrize('name, width', WIDTHS.items())
def test_features_are_rows_and_do_not_depend_on_the_batch(name, width):
    extract = make(name)._replace(batch_size=16)
    found = extract(IMAGES)
    assert extract.name == name and len(extract.fingerprint) == 12
    assert int(extract.fingerprint, 16) >= 0 and extract.note
    assert isinstance(found.features, np.ndarray)
    assert found.features.shape == (40, width)
    assert found.features.dtype == np.float32
    if extract.num_classes:
        assert found.logits.shape == (40, extract.num_classes)
        assert found.logits.dtype == np.float32
    else:
        assert found.logits is None
    assert found.features.std(0).max() > 0
    alone = extract(IMAGES[17:18])
    np.testing.assert_allclose(
        alone.features[0], found.features[17], rtol=1e-6, atol=1e-6
    )
    smaller = extract._replace(batch_size=3)(IMAGES[10:20])
    np.testing.assert_allclose(
        smaller.features, found.features[10:20], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize('name', WIDTHS)
def test_uint8_is_scaled_like_floats(name):
    extract = make(name)
    np.testing.assert_allclose(
        extract(IMAGES[:3]).features,
        extract(np.float64(IMAGES[:3]) / 127.5 - 1).features,
        rtol=1e-5, atol=1e-5,
    )


def test_every_extractor_is_tested_above_or_elsewhere():
    assert set(WIDTHS) - {'discriminator'} == (
        set(extractors.EXTRACTORS) - set(extractors.PRETRAINED)
    )


def test_an_unknown_name_is_refused():
    with pytest.raises(errors.ConfigError, match="mean 'pixels'"):
        extractors.make('pixel')


def test_all_batches_have_one_size_and_are_counted():
    seen, told = [], []

    def apply(images):
        seen.append(len(images))
        return images.reshape(len(images), -1), None

    extract = extractors.Extractor('x', '0' * 12, 'x', 0, apply, 16)
    extract(IMAGES, lambda done, total: told.append((done, total)))
    assert seen == [16, 16, 16]
    assert told == [(16, 40), (32, 40), (40, 40)]


class Sliced:
    """Images that can be sliced but not read as a whole."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, places):
        part = IMAGES[places]
        assert len(part) <= 16
        return part


def test_images_are_read_batch_by_batch():
    extract = make('pixels')._replace(batch_size=16)
    np.testing.assert_array_equal(
        extract(Sliced()).features, extract(IMAGES).features
    )


@pytest.mark.parametrize('images, kind, reason', [
    (IMAGES[:0], errors.DataError, 'there are no images'),
    (IMAGES[0], errors.DataError, r'shape \[8, 1\]'),
    (IMAGES.astype(int), errors.DataError, 'int64'),
    (IMAGES.astype(np.float32), errors.DataError, 'to 255; floats'),
    (np.full((2, *SHAPE), np.nan), errors.NonFiniteError, 'NaN'),
    (np.zeros((2, 0, 8, 1)), errors.DataError, r'\[0, 8, 1\]'),
    (np.full((2, 3), np.inf), errors.NonFiniteError, 'NaN'),
])
def test_invalid_images_are_refused(images, kind, reason):
    with pytest.raises(kind, match=reason):
        make('pixels')(images)


@pytest.mark.parametrize('name, shape', [
    ('classifier', (2, 9, 8, 1)), ('classifier', (2, 3)),
    ('discriminator', (2, 8, 8, 3)), ('discriminator', (2, 64)),
    ('random', (2, 3, 8, 1)), ('random', (2, 64)),
])
def test_data_of_another_shape_are_refused(name, shape):
    with pytest.raises(errors.DataError, match=str(shape[-1])):
        make(name)(np.zeros(shape))


def test_pixels_are_scaled_and_points_are_unchanged():
    images = np.array([[[[0], [255]]], [[[51], [204]]]], np.uint8)
    np.testing.assert_allclose(
        make('pixels')(images).features, [[-1, 1], [-0.6, 0.6]], atol=1e-7
    )
    points = np.array([[3, -4], [50, 6]])
    np.testing.assert_array_equal(make('pixels')(points).features, points)


def slow_convolution(x, kernel, stride):
    """Convolve [H, W, C] pixel by pixel, with SAME padding."""
    height, width, _ = x.shape
    out = (-(-height // stride), -(-width // stride))
    total = [(n - 1) * stride + 3 - m for n, m in zip(out, (height, width))]
    x = np.pad(x, [(t // 2, t - t // 2) for t in total] + [(0, 0)])
    return np.array([
        [
            np.tensordot(
                x[i * stride:i * stride + 3, j * stride:j * stride + 3],
                kernel, 3,
            ) for j in range(out[1])
        ] for i in range(out[0])
    ])


def test_random_features_equal_their_definition():
    image = helpers.random_images(1, (5, 4, 2))
    x = image[0] / 127.5 - 1
    for kernel, stride in zip(random_cnn.weights(7, 2), (1, 2, 2)):
        x = np.maximum(slow_convolution(x, kernel, stride), 0)
    expected = np.concatenate([x.mean((0, 1)), x.max((0, 1))])
    found = extractors.make('random', seed=7)(image).features[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_same_everywhere():
    first, second, _ = random_cnn.weights(0, 1)
    assert first[0, 0, 0, 0] == np.float32(1.764052345967664 * np.sqrt(2 / 9))
    assert second.std() == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.02)
    one, other = (extractors.make('random', seed=seed) for seed in (0, 1))
    assert one.fingerprint == extractors.make('random').fingerprint
    assert one.fingerprint != other.fingerprint
    assert abs(one(IMAGES).features - other(IMAGES).features).max() > 0.01


def test_random_takes_the_smallest_images_and_any_channels():
    found = make('random')(helpers.random_images(3, (4, 6, 4)))
    assert found.features.shape == (3, random_cnn.NUM_FEATURES)


def test_inception_is_wrapped(monkeypatch):
    def output(images):
        means = images.mean((1, 2, 3))[:, None]
        return inception.Output(jnp.asarray(means), jnp.asarray(-means))

    loaded = inception.Extractor(None, 'abcdefabcdef', {})
    monkeypatch.setattr(inception, 'load', lambda path: loaded)
    extract = extractors.make('inception')
    assert (extract.fingerprint, extract.num_classes) == ('abcdefabcdef', 1008)
    found = extract._replace(apply=output)(IMAGES)
    np.testing.assert_allclose(
        found.features[:, 0], IMAGES.mean((1, 2, 3)), rtol=1e-6
    )
    np.testing.assert_array_equal(found.logits, -found.features)


def test_inception_without_weights_names_the_conversion():
    with pytest.raises(errors.CheckpointError, match='convert_inception'):
        extractors.make('inception')


def test_efficientnet_is_wrapped(monkeypatch):
    def output(images):
        means = images.mean((1, 2, 3))[:, None]
        return efficientnet.Output(jnp.asarray(means), jnp.asarray(-means))

    monkeypatch.setattr(
        efficientnet, 'load', lambda path: efficientnet.Extractor(None)
    )
    extract = extractors.make('efficientnet_lite0')
    assert (extract.name, extract.num_classes) == ('efficientnet_lite0', 1000)
    assert '224x224, bilinear' in extract.note
    found = extract._replace(apply=output)(IMAGES)
    np.testing.assert_array_equal(found.logits, -found.features)
    monkeypatch.setattr(efficientnet, 'VERSION', 'other')
    other = extractors.make('efficientnet_lite0').fingerprint
    assert other != extract.fingerprint


def apply_all(gan, state, images, labels=None):
    """Apply D as a whole batch, with the running statistics."""
    player = state.players[D]
    given = {} if labels is None else {'labels': labels}
    return gan.discriminator.apply(
        {'params': player.params, **player.stats},
        algorithm.to_unit_range(jnp.asarray(images)), train=False, **given,
    )


def test_discriminator_features_use_running_statistics():
    gan, state = gan_of(norm='batch')
    found = discriminators.of_discriminator(gan, state)(IMAGES)
    np.testing.assert_allclose(
        found.features, apply_all(gan, state, IMAGES).features,
        rtol=1e-5, atol=1e-6,
    )


def test_discriminator_fingerprint_is_that_of_its_weights():
    gan, state = gan_of(norm='batch')
    make_one = discriminators.of_discriminator
    one = make_one(gan, state)
    moved = state.replace(step=jnp.int32(5), averages=None)
    same = make_one(gan, moved)
    assert same.fingerprint == one.fingerprint
    assert same.note == 'discriminator of step 5'
    player = state.players[D]
    other = player.replace(stats=jax.tree.map(jnp.zeros_like, player.stats))
    other = algorithm.replace_player(state, D, other)
    assert make_one(gan, other).fingerprint != one.fingerprint
    untrained = discriminators.of_random_discriminator(gan, state, seed=1)
    again = discriminators.of_random_discriminator(gan, state, seed=1)
    assert untrained.fingerprint == again.fingerprint != one.fingerprint


def test_a_packed_discriminator_is_shown_copies():
    gan, state = gan_of(packing=2)
    found = discriminators.of_discriminator(gan, state)(IMAGES)
    copies = game.pack(jnp.asarray(IMAGES.repeat(2, 0)), 2)
    np.testing.assert_allclose(
        found.features, apply_all(gan, state, copies).features,
        rtol=1e-5, atol=1e-6,
    )


@pytest.mark.integration
def test_features_that_depend_on_the_label_are_averaged_over_classes():
    gan, state = gan_of(num_classes=3, condition='concat')
    found = discriminators.of_discriminator(gan, state)(IMAGES)
    each = [
        apply_all(gan, state, IMAGES, jnp.full(40, label)).features
        for label in range(3)
    ]
    assert abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(
        found.features, np.mean(each, 0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('count, given', [
    (3, [0, 1, 2]), (1000, list(range(0, 1000, 100))),
])
def test_at_most_ten_classes_are_averaged(count, given):
    gan = helpers.linear_gan(num_classes=count, discriminator=mlp.Discriminator(
        num_classes=count, condition='concat'
    ))
    assert [int(label) for label in gan.monitors._labels()] == given


@pytest.mark.parametrize('condition', ['projection', 'auxiliary'])
def test_a_label_that_does_not_reach_the_features_does_not_matter(condition):
    gan, state = gan_of(num_classes=3, condition=condition)
    extract = discriminators.of_discriminator(gan, state)
    found = extract(IMAGES)
    expected = apply_all(gan, state, IMAGES, jnp.full(40, 2))
    np.testing.assert_allclose(
        found.features, expected.features, rtol=1e-5, atol=1e-6
    )
    if condition == 'auxiliary':
        assert extract.num_classes == 3
        np.testing.assert_allclose(
            found.logits, expected.class_logits, rtol=1e-5, atol=1e-6
        )
    else:
        assert extract.num_classes == 0 and found.logits is None


@pytest.mark.integration
def test_minibatch_layers_compare_no_samples():
    gan, state = gan_of(
        dcgan.Discriminator, minibatch_features=2, minibatch_stddev=True
    )
    extract = discriminators.of_discriminator(gan, state)
    found = extract(IMAGES).features
    np.testing.assert_allclose(
        extract(IMAGES[4:5]).features[0], found[4], rtol=1e-6, atol=1e-6
    )
    assert (found[:, -2:] == found[0, -2:]).all()


@pytest.mark.integration
def test_a_discriminator_of_points_takes_points():
    gan = helpers.linear_gan(
        generator=mlp.Generator(image_shape=(2,), width=4, depth=1),
        discriminator=mlp.Discriminator(width=4, depth=1, dtype=jnp.bfloat16),
    )
    state = game.init(gan, jax.random.key(0), (2,))
    points = np.random.RandomState(0).normal(size=(5, 2)) * 9
    found = discriminators.of_discriminator(gan, state)(points)
    assert found.features.shape == (5, 4)
    assert found.features.dtype == np.float32
    assert isinstance(apply_all(gan, state, points), layers.Output)
