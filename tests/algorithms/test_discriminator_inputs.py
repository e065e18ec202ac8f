"""Inputs of D: augmentation, packing, joint batches, past fakes."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from helpers import batch, leaves_equal, linear_gan, start, step
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import history as history_lib
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.ops import augment
from gan_jax.training import train

KEY = jax.random.key(3)


def ctx(gan, state, **changes):
    hyperparams = helpers.hyperparams(**changes)
    return discriminator_inputs.UpdateContext(gan, hyperparams, state, KEY)


class FirstPixel(nn.Module):
    """A discriminator whose logit is a weight times its first input value."""

    @nn.compact
    def __call__(self, images, *, train):
        weight = self.param('weight', nn.initializers.ones, ())
        features = images.reshape(len(images), -1)
        return layers.Output(weight * features[:, 0], features)


def test_packed_d_gets_tuples_of_generated_samples():
    gan = linear_gan(packing=2)
    state = start(gan)
    assert state.players[D].params['Dense_0']['kernel'].shape == (8, 1)
    data = batch(size=6)
    d_inputs = discriminator_inputs.make_discriminator_inputs(
        ctx(gan, state), state.players[G].params, {},
        helpers.images_of(data), data.sample_index, None,
        *(2 * [discriminator_inputs.draw_latents(
            ctx(gan, state), data.sample_index
        )])
    )
    assert d_inputs.real_images.shape == (3, 2, 2, 2)
    np.testing.assert_array_equal(d_inputs.sample_index, [0, 1, 2])
    np.testing.assert_array_equal(d_inputs.z_sample_index, np.arange(6))
    after, metrics = step(gan, state, data)
    assert np.isfinite(list(metrics.values())).all()
    assert not leaves_equal(after.players[G], state.players[G])


@pytest.mark.integration
def test_packing_works_with_penalties_on_z_and_on_images():
    gan = helpers.linear_gan(
        generator=mlp.Generator(image_shape=helpers.SHAPE, width=4, depth=1),
        discriminator=mlp.Discriminator(width=4, depth=1), packing=3,
        penalties=('gradient_penalty', 'latent_consistency_discriminator',
                   'latent_consistency_generator'),
    )
    weights = {name: jnp.float32(1) for name in gan.penalties}
    _, metrics = step(gan, start(gan), batch(), penalty_weights=weights)
    assert np.isfinite(list(metrics.values())).all()


@pytest.mark.integration
def test_packing_multiplies_the_images_drawn(tmp_path):
    config = helpers.tiny_mlp()
    config.packing = 2
    run = train.train(config, tmp_path, images=helpers.random_images())
    kernel = run.state.players[D].params['Dense_0']['kernel']
    assert kernel.shape[0] == 2 * 64
    assert run.sample(range(3)).shape == (3, 8, 8, 1)
    gan = builders.algorithm(config, builders.single_source_specs((8, 8, 1)))
    feed = builders.feed(config, builders.sources.from_arrays(
        helpers.random_images(), None
    ))
    assert feed.read(0, 1).shape == (1, 2 * config.batch_size)
    assert gan.packing == 2


def test_joint_batch_normalises_both_sides_by_the_same_statistics():
    class Centred(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            x = images.reshape(len(images), -1)
            x = layers.Norm('batch')(x, train=train)
            return layers.Output(x.sum(-1), x)

    apart = linear_gan(discriminator=Centred())
    joint = apart._replace(joint_batch=True)
    state = start(apart)
    _, metrics = step(apart, state, batch())
    # Each side has mean 0 after a norm of its own.
    np.testing.assert_allclose(metrics['d/real_logits'], 0, atol=1e-5)
    np.testing.assert_allclose(metrics['d/fake_logits'], 0, atol=1e-5)
    _, metrics = step(joint, state, batch())
    assert abs(metrics['d/real_logits']) > 0.01
    np.testing.assert_allclose(
        metrics['d/real_logits'], -metrics['d/fake_logits'], rtol=1e-3
    )


def test_joint_batch_changes_nothing_without_batch_statistics():
    gan = linear_gan()
    state = start(gan)
    apart, _ = step(gan, state, batch())
    joint, _ = step(gan._replace(joint_batch=True), state, batch())
    chex.assert_trees_all_close(apart, joint, rtol=1e-5, atol=1e-6)


def replayed(gan, state, fakes, **changes):
    sample_index = jnp.arange(len(fakes))
    return discriminator_inputs.replay_fakes(
        ctx(gan, state, **changes), fakes, sample_index
    )


def history_gan(size=8, **changes):
    return linear_gan(history=size, **changes)


def test_history_is_filled_before_it_replays():
    gan = history_gan()
    state = start(gan)
    fakes = jnp.arange(6, dtype=jnp.float32).reshape(6, 1, 1, 1) + 1
    fakes = jnp.broadcast_to(fakes, (6, *helpers.SHAPE))
    shown, history = replayed(gan, state, fakes)
    np.testing.assert_array_equal(shown, fakes)
    assert int(history['filled'].sum()) == 6
    kept = set(np.asarray(history['images'][:, 0, 0, 0]))
    assert kept == {0, 1, 2, 3, 4, 5, 6}


def test_history_shows_new_fakes_until_it_is_full():
    def query(memory, number):
        fake, memory = history_lib.replay(
            memory, jnp.full((1, 1), number, jnp.float32),
            jax.random.fold_in(jax.random.key(0), number),
            jnp.zeros(1, jnp.int32), 0.5, lambda values: values,
        )
        return memory, fake[0, 0]

    memory, shown = jax.lax.scan(
        query, history_lib.init(50, (1,)), jnp.arange(2050)
    )
    shown = np.asarray(shown)
    np.testing.assert_array_equal(shown[:50], np.arange(50))
    # Then, with 1/2, a stored one, which the new one replaces: an entry stays
    # for 100 fakes on average, as in CycleGAN.
    late = np.arange(1050, 2050) - shown[1050:]
    assert 0.45 < (late > 0).mean() < 0.55
    assert 80 < late[late > 0].mean() < 120
    assert len(set(np.asarray(memory['images']).ravel())) == 50


def test_batch_beyond_the_end_of_a_history_goes_on_at_its_start():
    memory = history_lib.init(5, (1,))
    for number in range(2):
        fakes = jnp.arange(3.0).reshape(3, 1) + 3 * number
        _, memory = history_lib.replay(
            memory, fakes, jax.random.key(0), jnp.arange(3), 1.0, lambda x: x
        )
    np.testing.assert_array_equal(memory['images'].ravel(), [5, 1, 2, 3, 4])
    assert memory['filled'].all()


@pytest.mark.parametrize('share, swapped', [(0.0, 0), (1.0, 6)])
def test_history_replaces_the_configured_share(share, swapped):
    gan = history_gan(6)
    state = start(gan)
    old = -jnp.ones((6, *helpers.SHAPE))
    _, history = replayed(gan, state, old)
    state = state.replace(memory={**state.memory, 'history': history})
    new = jnp.ones((6, *helpers.SHAPE))
    shown, history = replayed(
        gan, state, new, history_share=jnp.float32(share)
    )
    assert int((shown[:, 0, 0, 0] == -1).sum()) == swapped
    assert int((history['images'][:, 0, 0, 0] == 1).sum()) == swapped


def test_history_is_in_the_state_and_changes_training():
    gan = history_gan(8)
    state = start(gan)
    with_past, without = state, start(linear_gan())
    for _ in range(3):
        with_past, _ = step(gan, with_past, batch())
        without, _ = step(linear_gan(), without, batch())
    assert bool(with_past.memory['history']['filled'].all())
    assert not leaves_equal(
        with_past.players[D].params, without.players[D].params
    )


def test_augmentation_changes_both_sides_in_both_updates():
    gan = linear_gan(
        discriminator=FirstPixel(), augmentations=('color',)
    )
    plain = gan._replace(augmentations=())
    state = start(gan)
    _, within = step(gan, state, batch())
    _, without = step(plain, state, batch())
    for name in ('d/real_logits', 'd/fake_logits', 'g/loss'):
        assert within[name] != without[name]
    _, never = step(
        gan, state, batch(), augment_probability=jnp.float32(0)
    )
    for name in never:
        np.testing.assert_allclose(never[name], without[name], rtol=1e-5)


@pytest.mark.parametrize('packing', [1, 2])
@pytest.mark.parametrize('name', ['r1', 'r2'])
def test_gradient_penalties_use_the_images_before_augmentation(name, packing):
    # StyleGAN2-ADA and R3GAN: 1/2 ||d D(T(x)) / dx||^2. DiffAugment's contrast
    # multiplies what is left of grey images without their mean by c ~ U[0.5,
    # 1.5), and so the gradient of a D with sum(w) = 0: E c^2 = 13 / 12.
    weights = np.repeat([1.0, -1, 2, -2], packing)[:, None]
    gan = linear_gan(packing=packing, penalties=(name,))
    state = start(gan)
    params = {'Dense_0': {
        **state.players[D].params['Dense_0'],
        'kernel': jnp.asarray(weights, jnp.float32),
    }}
    state = algorithm.replace_player(
        state, D, state.players[D].replace(params=params)
    )
    flat = (weights**2).sum() / 2
    for augmentations, slope in ((), flat), (('color',), flat * 13 / 12):
        _, metrics = step(
            gan._replace(augmentations=augmentations, instance_noise=True),
            state, batch(size=4096), noise_std=jnp.float32(0.5),
            penalty_weights={name: jnp.float32(1)},
        )
        np.testing.assert_allclose(metrics[f'd/{name}'], slope, rtol=0.03)


def test_penalty_has_a_gradient_through_every_augmentation():
    gan = helpers.mlp_gan(
        augmentations=tuple(augment.AUGMENTATIONS), penalties=('r1', 'r2')
    )
    state = start(gan)
    weights = {name: jnp.float32(1) for name in gan.penalties}
    after, metrics = step(gan, state, batch(), penalty_weights=weights)
    assert np.isfinite(list(metrics.values())).all()
    without, _ = step(gan._replace(penalties=()), state, batch())
    assert not leaves_equal(after.players[D], without.players[D])


def test_adaptive_probability_is_stored_and_used():
    gan = linear_gan(
        discriminator=FirstPixel(), augmentations=('color',),
        adaptive_augmentation=True,
    )
    images = jnp.full((1, 6, *helpers.SHAPE), 255, jnp.uint8)
    white, black = helpers.real_batch(images), helpers.real_batch(0 * images)
    speed = {'augment_speed': jnp.float32(0.25)}
    state, metrics = step(gan, start(gan), white, **speed)
    assert metrics['d/real_signs'] == 1  # above the target of 0.6
    assert state.memory['augment'] == 0.25
    assert metrics['d/augment_probability'] == 0.25
    state, metrics = step(gan, state, black, **speed)
    assert state.memory['augment'] == 0


def tricky():
    config = helpers.tiny_mlp()
    config.history.size, config.packing = 20, 2
    config.augment.adaptive, config.augment.adaptive_images = True, 100
    config.augment.target = -1.0  # so that the probability rises
    config.penalties.lecam.weight = 0.1
    return config


@pytest.mark.integration
def test_tricks_resume_bit_for_bit(tmp_path):
    images = helpers.random_images()
    config = tricky()
    whole = train.train(config, tmp_path / 'whole', images=images).state
    config.num_steps = 2
    train.train(config, tmp_path / 'parts', images=images)
    config.num_steps = 4
    parts = train.train(config, tmp_path / 'parts', images=images).state
    assert leaves_equal(whole, parts)
    assert whole.memory['history']['images'].shape == (20, 8, 8, 1)
    assert whole.memory['augment'] > 0.1


def test_half_life_is_in_images():
    config = helpers.tiny_mlp()
    config.ema_half_life = 4 * config.batch_size
    decay = builders.hyperparams(config).ema_decay
    np.testing.assert_allclose(decay, 0.5**0.25)


def test_history_on_several_devices_equals_that_on_one():
    gan = history_gan(12)
    state = start(gan)
    fakes = jnp.asarray(
        np.random.RandomState(0).randn(6, *helpers.SHAPE), jnp.float32
    )
    sample_index = jnp.arange(6)
    shown, history = discriminator_inputs.replay_fakes(
        ctx(gan, state), fakes, sample_index
    )

    def device(fakes, sample_index):
        here = ctx(gan, state)._replace(collectives=algorithm.Collectives(
            gather=lambda a: jax.lax.all_gather(a, 'devices', tiled=True)
        ))
        return discriminator_inputs.replay_fakes(here, fakes, sample_index)

    halves = jax.vmap(device, axis_name='devices')(
        fakes.reshape(2, 3, *helpers.SHAPE), sample_index.reshape(2, 3)
    )
    np.testing.assert_array_equal(halves[0].reshape(shown.shape), shown)
    for half in (0, 1):
        for name in history:
            np.testing.assert_array_equal(halves[1][name][half], history[name])


@pytest.mark.parametrize('option', ['flip', 'dequantize'])
def test_only_real_images_are_mirrored_or_dequantised(option):
    plain, changed = linear_gan(), linear_gan(**{option: True})
    state, data = start(plain), batch(size=64)

    def d_inputs(gan):
        here = ctx(gan, state)
        z = discriminator_inputs.draw_latents(here, data.sample_index)
        fakes = gan.generator.apply(
            {'params': state.players[G].params}, z, train=True
        )
        return discriminator_inputs.make_discriminator_inputs(
            here, state.players[G].params, {}, helpers.images_of(data),
            data.sample_index, None, z, fakes,
        )

    before, after = d_inputs(plain), d_inputs(changed)
    np.testing.assert_array_equal(before.fake_images, after.fake_images)
    real = before.real_images
    if option == 'flip':
        turned = (after.real_images == real[:, :, ::-1]).all((1, 2, 3))
        assert 16 < turned.sum() < 48
        same = (after.real_images == real).all((1, 2, 3))
        assert (turned | same).all()
    else:
        distance = abs(after.real_images - real)
        assert 0 < distance.min() and distance.max() <= 0.5001 / 127.5


class NoisyGenerator(nn.Module):
    """Adds noise of its own to what it makes; drops nothing."""

    draws_noise = True

    @nn.compact
    def __call__(self, z, *, train, keys=None):
        images = nn.Dense(4)(z).reshape(-1, 2, 2, 1)
        if not train:
            return images
        return images + jax.vmap(
            lambda key: jax.random.normal(key, (2, 2, 1))
        )(keys)


def test_a_generator_with_noise_gets_one_key_per_sample():
    gan = helpers.linear_gan(generator=NoisyGenerator())
    state = helpers.start(gan)
    player, z = state.players[G], jnp.zeros((6, 3))

    def samples(sample_index):
        sample_index = jnp.asarray(sample_index)
        return discriminator_inputs.generate(
            ctx(gan, state), player.params, player.stats, z[:len(sample_index)],
            sample_index, None,
        )[0]

    whole = samples(range(6))
    assert np.ptp(whole, axis=0).min() > 0  # each sample has its own
    np.testing.assert_allclose(
        samples([4, 2]), whole[np.array([4, 2])], atol=1e-6
    )
