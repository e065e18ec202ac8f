"""Autoencoder, VAE, GLO and pose decoder, from update to run folder."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms.reconstruction import DECODER, ENCODER
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.networks import encoders
from gan_jax.objectives import reconstructions
from gan_jax.ops import augment
from gan_jax.runs import sampling
from gan_jax.training import loop
from gan_jax.training import train


def configure(name, **changes):
    """Return a config of dense networks for an algorithm without D."""
    config = helpers.tiny_mlp()
    config.algorithm = name
    config.generator.width = config.discriminator.width = 16
    config.update_from_flattened_dict(changes)
    unused_keys.leave_out(config, changes)
    validation.validate(config)
    return config


def start(config, count=8, shape=(4, 4, 1)):
    """Return (gan, state, batch, step) of a config."""
    specs = builders.single_source_specs(shape, num_classes=5, count=40)
    gan = builders.algorithm(config, specs)
    hyperparams = builders.hyperparams(config)
    state = gan.init(jax.random.key(0), builders.shapes(specs), hyperparams)
    batch = helpers.real_batch(
        helpers.random_images(count, shape)[None],
        numbers=jnp.arange(3, 3 + count)[None],
    )
    step = jax.jit(functools.partial(gan.train_step, hyperparams))
    return gan, state, batch, step


@pytest.mark.parametrize('name, options', [
    ('l1', {}), ('l2', {}), ('huber', {'delta': 0.02}),
])
def test_autoencoder_minimises_the_reconstruction_error(name, options):
    config = configure('autoencoder', **{
        'reconstruction.error': name,
        **{f'reconstruction.{k}': v for k, v in options.items()},
    })
    gan, state, batch, step = start(config)
    images = algorithm.to_unit_range(batch.sources['real'].images[0])

    def loss(g_params, d_params):
        codes = gan.encoder.apply(
            {'params': d_params}, images, train=True
        )
        outputs = gan.generator.apply({'params': g_params}, codes, train=True)
        return reconstructions.RECONSTRUCTIONS[name](
            images, outputs, **options
        ).mean()

    value, grads = jax.value_and_grad(loss, (0, 1))(
        state.players[DECODER].params, state.players[ENCODER].params
    )
    new, metrics = step(state, batch, jax.random.key(1))
    np.testing.assert_allclose(metrics['g/loss'], value, rtol=1e-5)
    decay = 0.1  # of the EMA at the first step
    chex.assert_trees_all_close(new.averages[DECODER].params, jax.tree.map(
        lambda old, moved: decay * old + (1 - decay) * moved,
        state.averages[DECODER].params, new.players[DECODER].params,
    ), atol=1e-7)
    for player, tx, grad in (
            (new.players[DECODER], gan.g_tx, grads[0]),
            (new.players[ENCODER], gan.d_tx, grads[1])):
        before = (state.players[DECODER] if player is new.players[DECODER]
                  else state.players[ENCODER])
        direction, _ = tx.update(grad, before.opt_state, before.params)
        expected = jax.tree.map(
            lambda p, d: p - 2e-4 * d, before.params, direction
        )
        chex.assert_trees_all_close(player.params, expected, atol=1e-6)


def test_vae_minimises_minus_the_evidence_lower_bound():
    config = configure('vae', **{
        'reconstruction.beta': 3.0, 'reconstruction.std': 0.7,
    })
    gan, state, batch, step = start(config)
    _, metrics = step(state, batch, jax.random.key(1))
    expected = (
        16 / (2 * 0.7**2) * metrics['g/reconstruction'] + 3 * metrics['d/kl']
    )
    np.testing.assert_allclose(metrics['g/loss'], expected, rtol=1e-6)
    outputs = gan.encoder.apply(
        {'params': state.players[ENCODER].params},
        algorithm.to_unit_range(batch.sources['real'].images[0]), train=True,
    )
    kl = reconstructions.kl_from_standard_normal(
        outputs[:, :3], outputs[:, 3:]
    )
    np.testing.assert_allclose(metrics['d/kl'], kl.mean(), rtol=1e-5)


def test_codes_of_a_vae_have_its_mean_and_deviation():
    config = configure('vae')
    gan, state, batch, _ = start(config)
    mean, deviation = jnp.array([1.0, -2.0, 0.0]), jnp.array([0.5, 1.0, 3.0])
    outputs = jnp.tile(
        jnp.concatenate([mean, 2 * jnp.log(deviation)]), (20_000, 1)
    )
    ctx = discriminator_inputs.UpdateContext(
        gan, builders.hyperparams(config), state, jax.random.key(0)
    )
    codes, kl = reconstruction.vae(ctx, outputs, jnp.arange(20_000))
    np.testing.assert_allclose(codes.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(codes.std(0), deviation, rtol=0.03)
    assert kl.shape == (20_000,)
    images = batch.sources['real'].images[0]
    whole = gan.encoder.apply(
        {'params': state.players[ENCODER].params},
        algorithm.to_unit_range(images), train=False,
    )
    np.testing.assert_array_equal(
        gan.encode(state, images), whole[:, :3]
    )


def test_large_beta_moves_codes_towards_the_prior():
    kl = {}
    for beta in (0.01, 10.0):
        config = configure('vae', **{'reconstruction.beta': beta})
        config.g_optimizer.learning_rate = 5e-3
        config.d_optimizer.learning_rate = 5e-3
        _, state, batch, step = start(config)
        for _ in range(150):
            state, metrics = step(state, batch, jax.random.key(1))
        kl[beta] = float(metrics['d/kl'])
    assert kl[10.0] < 0.5 < 2 < kl[0.01]


def test_only_codes_of_the_batch_change_and_stay_in_the_unit_ball():
    config = configure('glo', **{
        'd_optimizer.name': 'sgd', 'd_optimizer.learning_rate': 50.0,
    })
    _, state, batch, step = start(config)
    before = np.asarray(state.players[ENCODER].params['codes'])
    np.testing.assert_allclose(np.linalg.norm(before, axis=1), 1, rtol=1e-5)
    for _ in range(20):
        state, metrics = step(state, batch, jax.random.key(1))
    after = np.asarray(state.players[ENCODER].params['codes'])
    moved = np.abs(after - before).max(1) > 1e-6
    assert moved.tolist() == [3 <= n < 11 for n in range(40)]
    assert (np.linalg.norm(after, axis=1) <= 1 + 1e-6).all()
    first = step(start(config)[1], batch, jax.random.key(1))[1]
    assert metrics['g/loss'] < first['g/loss']


def test_into_unit_ball_does_not_change_points_inside():
    codes = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(
        encoders.into_unit_ball(codes), [[0.6, 0.8], [0.3, 0.4], [0, 0]],
        rtol=1e-6,
    )


@pytest.mark.parametrize('name', ['autoencoder', 'vae', 'glo'])
def test_microbatches_change_only_rounding(name):
    states = []
    for parts in (1, 4):
        config = configure(name, num_microbatches=parts)
        _, state, batch, step = start(config)
        states.append(step(state, batch, jax.random.key(1))[0])
    chex.assert_trees_all_close(states[0].memory, states[1].memory, atol=1e-5)
    chex.assert_trees_all_close(
        states[0].players[DECODER].params, states[1].players[DECODER].params,
        atol=1e-4,
    )


def test_fitted_latents_have_the_moments_of_codes():
    config = configure('autoencoder', latent='fitted')
    gan, state, _, _ = start(config)
    random = np.random.RandomState(0)
    mean, root = random.randn(3), random.randn(3, 3)
    root[:, 2] = 0  # codes that lie in a plane
    covariance = root @ root.T
    state.memory['codes'] = {
        'mean': jnp.float32(mean),
        'second': jnp.float32(covariance + np.outer(mean, mean)),
    }
    z = jax.random.normal(jax.random.key(0), (100_000, 3))
    codes = np.asarray(gan.codes(gan.weights(state, 'raw'), z))
    np.testing.assert_allclose(codes.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(
        np.cov(codes.T), covariance, atol=0.02, rtol=0.02
    )
    plain = gan._replace(latent='gaussian')
    assert (plain.codes(plain.weights(state, 'raw'), z) == z).all()


def test_moments_are_those_of_the_codes_of_the_batches():
    config = configure('autoencoder')
    gan, state, batch, step = start(config)
    images = algorithm.to_unit_range(batch.sources['real'].images[0])
    codes = np.asarray(gan.encoder.apply(
        {'params': state.players[ENCODER].params}, images, train=True
    ))
    new, _ = step(state, batch, jax.random.key(1))
    share = 0.9  # of the new, at the first step
    np.testing.assert_allclose(
        new.memory['codes']['mean'], share * codes.mean(0), rtol=1e-4,
        atol=1e-6,
    )
    second = share * codes.T @ codes / 8 + (1 - share) * np.eye(3)
    np.testing.assert_allclose(
        new.memory['codes']['second'], second, rtol=1e-4, atol=1e-6
    )


@pytest.mark.integration
def test_autoencoder_of_points_learns_a_plane(tmp_path):
    config = configure('autoencoder', latent_size=2, num_steps=400, **{
        'data.name': 'manifold', 'data.ambient': 6, 'data.dimension': 2,
        'generator.depth': 1, 'g_optimizer.learning_rate': 1e-2,
        'd_optimizer.learning_rate': 1e-2,
        'sample_every': 0, 'checkpoint_every': 0,
    })
    config.batch_size = 64
    run = train.train(config, tmp_path)
    points = builders.dataset(config).images
    outputs = sampling.reconstruct(run.algorithm, run.state, points[:500])
    assert np.square(outputs - points[:500]).mean() < 0.05 * points.var()


def test_pictures_show_held_out_images():
    config = configure('vae', **{'data.test_share': 0.2})
    datasets = builders.datasets(config)
    algorithm = builders.algorithm(config, builders.data_specs(datasets))
    shown = loop._examples(loop.RunComponents(
        config, datasets, {}, algorithm, *[None] * 3
    ))['held_out']
    held_out = sources.load(builders.request(config)._replace(split='test'))
    rows = {image.tobytes() for image in held_out.images}
    assert len(shown) == 100
    assert all(image.tobytes() in rows for image in shown)


@pytest.mark.integration
def test_run_writes_reconstructions_and_can_be_sampled(tmp_path):
    config = configure('vae')
    images = helpers.random_images(32)
    run = train.train(config, tmp_path, images=images)
    assert (tmp_path / 'samples' / 'reconstructed-000004.png').exists()
    gan, state = sampling.load(tmp_path)
    assert (sampling.sample(gan, state, range(3)) == run.sample(range(3))).all()
    outputs = sampling.reconstruct(gan, state, images[:70])
    assert outputs.shape == (32, 8, 8, 1)
    np.testing.assert_allclose(
        outputs[5], sampling.reconstruct(gan, state, images[5:6])[0], atol=1e-6
    )


@pytest.mark.integration
def test_codes_of_a_run_are_restored(tmp_path):
    config = configure('glo', latent='fitted')
    run = train.train(config, tmp_path, images=helpers.random_images(32))
    gan, state = sampling.load(tmp_path)
    assert state.players[ENCODER].params['codes'].shape == (32, 3)
    assert (sampling.sample(gan, state, range(3)) == run.sample(range(3))).all()
    with pytest.raises(errors.ConfigError, match='has no encoder'):
        sampling.reconstruct(gan, state, helpers.random_images(2))


def test_pose_codes_hold_class_angle_and_scale():
    config = configure('pose_decoder', **{'reconstruction.angle': 1.0})
    gan, state, batch, _ = start(config)
    ctx = discriminator_inputs.UpdateContext(
        gan, builders.hyperparams(config), state, jax.random.key(0)
    )
    images = algorithm.to_unit_range(batch.sources['real'].images[0])
    labels = jnp.arange(8) % 5
    posed, codes = reconstruction.pose(ctx, images, batch.sample_index, labels)
    assert codes.shape == (8, 7)
    assert (codes[:, :5].argmax(1) == labels).all()
    np.testing.assert_allclose(codes[:, :5].sum(1), 1)
    expected = augment.pose(images, codes[:, 5], 1 + 0.25 * codes[:, 6])
    np.testing.assert_allclose(posed, expected, atol=1e-6)
    assert np.ptp(codes[:, 5:], axis=0).min() > 0.5
    reverse = jnp.arange(8)[::-1]  # whatever the place in the batch
    again, _ = reconstruction.pose(
        ctx, images[reverse], batch.sample_index[reverse], labels[reverse]
    )
    np.testing.assert_allclose(again[reverse], posed, atol=1e-6)


def test_seeds_sample_pose_codes_uniformly():
    gan, state, _, _ = start(configure('pose_decoder'))
    z = jax.random.normal(jax.random.key(0), (20_000, 7))
    codes = np.asarray(gan.codes(gan.weights(state, 'raw'), z))
    np.testing.assert_allclose(codes[:, :5].mean(0), 0.2, atol=0.02)
    for pose in codes[:, 5:].T:
        np.testing.assert_allclose(
            np.quantile(pose, [0.25, 0.5, 0.75]), [-0.5, 0, 0.5], atol=0.03
        )


def test_pose_decoder_needs_labels(tmp_path):
    with pytest.raises(errors.ConfigError, match='the data have none'):
        train.train(
            configure('pose_decoder'), tmp_path,
            images=helpers.random_images(32),
        )


@pytest.mark.parametrize('changes, message', [
    ({'algorithm': 'pose_decoder', 'latent': 'fitted'},
     "use one of ['gaussian']"),
    ({'algorithm': 'pose_decoder', 'data.name': 'ring'}, "'ring' has points"),
    ({'algorithm': 'vae', 'reconstruction.angle': 1.0},
     "is an option of algorithm='pose_decoder'"),
    ({'reconstruction.beta': 2.0},
     "is an option of algorithm='vae', not of 'adversarial'"),
    ({'latent': 'fitted'}, "algorithm='adversarial' has none"),
    ({'algorithm': 'vae', 'packing': 2}, 'packing=2 is for adversarial'),
    ({'algorithm': 'vae', 'penalties.r1.weight': 1.0},
     'penalties.r1.weight=1.0 is for adversarial'),
    ({'algorithm': 'vae', 'latent': 'sphere'}, "latent='sphere' has no"),
    ({'algorithm': 'autoencoder', 'reconstruction.beta': 2.0},
     "reconstruction.beta=2.0 is an option of algorithm='vae'"),
    ({'algorithm': 'autoencoder', 'reconstruction.delta': 2.0},
     "is an option of reconstruction.error='huber', not of 'l2'"),
    ({'algorithm': 'vae', 'reconstruction.error': 'l1'},
     "'pose_decoder' or 'vae_gan' or 'vq_gan', not of 'vae'"),
    ({'algorithm': 'vae', 'reconstruction.std': 0.0},
     'reconstruction.std=0.0 is not positive'),
    ({'algorithm': 'glo', 'data.name': 'ring'}, 'a code for each image'),
    ({'algorithm': 'glo', 'data.feed': 'streaming'}, 'code for each image'),
    ({'algorithm': 'glo', 'data.flip': True}, 'one code'),
    ({'algorithm': 'vae', 'discriminator.name': 'resnet'},
     "discriminator.name='resnet' has no encoder"),
    ({'algorithm': 'vae', 'discriminator.attention': 8},
     "discriminator.attention=8 is not for discriminator.name='dcgan'"),
])
def test_unsupported_keys_are_rejected(changes, message):
    config = defaults.default_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError) as error:
        validation.validate(config)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize('name', ['autoencoder', 'pose_decoder', 'glo', 'vae'])
def test_decoder_is_the_generator_of_dcgan(name):
    outputs = [
        builders.algorithm(
            recipes.load(ROOT / 'configs' / f'{stem}.py'),
            builders.single_source_specs((32, 32, 1), num_classes=10, count=2),
        ).generator for stem in (name, 'dcgan')
    ]
    assert outputs[0] == outputs[1]
