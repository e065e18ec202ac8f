"""Probes of a training state, by hand and on known failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import algorithm
from gan_jax.algorithms.game import D, G
from gan_jax.algorithms import latents
from gan_jax.config import builders
from gan_jax.data import sources
from gan_jax.monitoring import probes

RANDOM = np.random.RandomState(0)


def test_ties_count_half_in_the_area_under_the_curve():
    assert probes.area_under_curve([3, 1], [2, 1]) == (1 + 1 + 0 + 0.5) / 4


def test_projection_keeps_distances():
    images = RANDOM.standard_normal((40, 16, 16, 1))
    points = probes.Features(images).project(images)
    assert points.shape == (40, probes.DIMENSIONS)
    before = np.linalg.norm((images[:20] - images[20:]).reshape(20, -1), axis=1)
    after = np.linalg.norm(points[:20] - points[20:], axis=1)
    np.testing.assert_allclose((after / before).mean(), 1, atol=0.1)


@pytest.mark.parametrize('shift, low, high', [(0, 0.35, 0.65), (2, 0.9, 1)])
def test_fresh_classifier_separates_only_what_differs(shift, low, high):
    real, fake = RANDOM.standard_normal((2, 256, 8, 8, 1))
    features = probes.Features(real)
    pair = [
        features.fourier(features.project(x)) for x in (real, fake + shift)
    ]
    assert low < probes.two_sample_accuracy(*pair) <= high


def test_fresh_classifier_separates_a_ring_from_its_disc():
    angles = RANDOM.uniform(0, 2 * np.pi, 512)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    disc = ring * np.sqrt(RANDOM.uniform(0, 1, (512, 1)))
    features = probes.Features(ring)
    pair = [features.fourier(features.project(x)) for x in (ring, disc)]
    assert probes.two_sample_accuracy(*pair) > 0.8


def test_dead_units_and_norms_of_layers_by_hand():
    kernel = jnp.array([[3.0, 0], [4, 0]])
    grads = {'a': {'kernel': kernel, 'bias': jnp.ones(2)}}
    assert probes.layers(grads) == {'a': (5.0, 2, 1)}


def test_share_of_clipped_weights_by_hand():
    gan = helpers.linear_gan()
    params = {'w': np.array([0.01, -0.01, 0.005]), 'b': np.array([0.00999999])}
    state = helpers.start(gan)
    judge = state.players[D].replace(params=params)
    state = algorithm.replace_player(state, D, judge)
    assert gan.monitors.clipped_share(state, 0.01) == 0.75


def blobs(count=400, seed=0):
    """Return images of two classes, dark and bright."""
    random = np.random.RandomState(seed)
    labels = np.arange(count) % 2
    images = random.randint(0, 60, (count, 8, 8, 1)) + 180 * labels[
        :, None, None, None
    ]
    return sources.Dataset(
        'blobs', images.astype(np.uint8), labels, ('dark', 'bright')
    )


def start(config, dataset):
    specs = builders.data_specs({'real': dataset})
    gan = builders.algorithm(config, specs)
    state = gan.init(
        jax.random.key(0), builders.shapes(specs), builders.hyperparams(config)
    )
    return gan, jax.tree.map(np.asarray, state)


def numbers(monkeypatch, samples, dataset=None, held_out=None, config=None):
    """Return the probes of a G with these samples."""
    config, dataset = config or helpers.tiny_mlp(), dataset or blobs()
    gan, state = start(config, dataset)
    monkeypatch.setattr(
        probes.sampling, 'sample', lambda *_, **__: samples
    )
    return probes.Probe(config, dataset, held_out).numbers(gan, state)


def test_perfect_samples_have_perfect_numbers(monkeypatch):
    others = probes.in_range(blobs(256, seed=1).images)
    found = numbers(monkeypatch, others)
    assert found['probe/missing'] == found['probe/duplicates'] == 0
    assert 0.4 < found['probe/judge'] < 0.65
    for name in ('distance', 'nearest_real'):
        np.testing.assert_allclose(found[f'probe/{name}'], 1, atol=0.05)
    for name in ('low_gap', 'high_gap'):
        np.testing.assert_allclose(found[f'probe/{name}'], 0, atol=0.05)


def test_collapse_to_one_image_is_detected(monkeypatch):
    one = probes.in_range(blobs().images[:1]).repeat(256, 0)
    found = numbers(monkeypatch, one)
    assert found['probe/distance'] < 1e-3
    assert found['probe/duplicates'] == 1
    assert found['probe/missing'] == 0.5


def test_copies_are_detected_against_held_out_images(monkeypatch):
    dataset = blobs()
    copies = probes.in_range(dataset.images[:256])
    found = numbers(
        monkeypatch, copies, dataset, held_out=blobs(100, seed=3)
    )
    # A part of the images is set apart, and copies of these are not seen.
    assert found['probe/nearest_real'] < 0.8
    assert {'probe/held_out', 'probe/d_memory'} <= set(found)


def test_half_of_the_range_is_detected(monkeypatch):
    upper = np.abs(probes.in_range(blobs(256).images))
    found = numbers(monkeypatch, upper)
    assert found['probe/low_gap'] > 0.25 and abs(found['probe/high_gap']) < 0.1


def test_missing_modes_of_points_are_counted(monkeypatch):
    config = helpers.tiny_mlp()
    config.data.name = 'ring'
    dataset = builders.dataset(config)
    right = dataset.images[dataset.images[:, 0] > 0.1][:256]
    found = numbers(monkeypatch, right, dataset, config=config)
    assert found['probe/missing'] == 5 / 8  # three lie to the right
    assert 'probe/nearest_real' not in found


@pytest.mark.parametrize('changes', [
    {}, {'packing': 2}, {'loss.name': 'energy_based'}, {
        'generator.condition': 'concat', 'discriminator.condition': 'concat'
    }, {'discriminator.dropout': 0.5}, {'algorithm': 'autoencoder'},
    {'loss.name': 'wasserstein', 'clip_weights': 0.01},
])
def test_every_kind_of_algorithm_is_probed(changes):
    config, dataset = helpers.tiny_mlp(), blobs(64)
    config.update_from_flattened_dict(changes)
    gan, state = start(config, dataset)
    found = probes.Probe(config, dataset, blobs(32)).numbers(gan, state)
    assert all(np.isfinite(list(found.values())))
    game_has = {'probe/d_auc', 'probe/g_dead', 'probe/judge'}
    assert game_has <= set(found) or gan.monitors is None
    assert ('probe/slope' in found) == (changes.get('clip_weights', 0) > 0)
    assert ('probe/clipped' in found) == (changes.get('clip_weights', 0) > 0)


@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_few_images_have_no_numbers_of_pairs(count, monkeypatch):
    samples = probes.in_range(helpers.random_images(256))
    monkeypatch.setattr(
        probes.Probe, 'of_players', lambda *_: {'d_auc': 0.5}
    )
    found = numbers(monkeypatch, samples, blobs(count), blobs(count))
    assert all(np.isfinite(list(found.values())))
    assert {'probe/low_gap', 'probe/high_gap', 'probe/d_auc'} <= set(found)
    paired = {'distance', 'duplicates', 'judge', 'nearest_real'}
    assert {f'probe/{name}' in found for name in paired} == {count > 3}


def test_every_layer_has_a_gradient():
    config, dataset = helpers.tiny_mlp(), blobs(64)
    config.generator.condition = 'concat'
    config.discriminator.condition = 'auxiliary'
    gan, state = start(config, dataset)
    found = probes.Probe(config, dataset).numbers(gan, state)
    norms = {k: v for k, v in found.items() if '_grad/' in k}
    kernels = [
        leaf for player in (state.players[G], state.players[D])
        for path, leaf in jax.tree_util.tree_leaves_with_path(player.params)
        if 'kernel' in str(path[-1])
    ]
    assert len(norms) == len(kernels) and min(norms.values()) > 0


def test_gradients_of_layers_equal_those_of_jax():
    config, dataset = helpers.tiny_mlp(), blobs(64)
    gan, state = start(config, dataset)
    probe = probes.Probe(config, dataset)
    found = probe.numbers(gan, state)
    (real, _), _ = probe._batches
    player = state.players[D]

    def mean(params, images):
        return gan.discriminator.apply(
            {'params': params, **player.stats}, images, train=True
        ).logits.mean()

    z = latents.draw(
        jax.random.key(0), jnp.arange(64), gan.latent_size
    )
    fakes = gan.apply(gan.weights(state, 'raw'), algorithm.Inputs(z))
    grads = jax.grad(
        lambda params: mean(params, real) - mean(params, fakes)
    )(player.params)
    np.testing.assert_allclose(
        found['probe/d_grad/Dense_0'],
        np.linalg.norm(grads['Dense_0']['kernel']), rtol=1e-4,
    )
