"""VAE-GAN, KL autoencoder, VQ-GAN, AAE: updates by hand, codebook, start."""

import functools
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import adversarial_autoencoder as autoencoder_lib
from gan_jax.algorithms import autoencoder_updates
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import codebook
from gan_jax.algorithms import codes as codes_lib
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms.game import D
from gan_jax.algorithms.reconstruction import DECODER, ENCODER
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.networks import dcgan
from gan_jax.networks import encoders
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.networks import resnet_autoencoder
from gan_jax.objectives import losses
from gan_jax.runs import sampling
from gan_jax.training import train

SHAPE, CODE, BATCH = (2, 2, 1), (2, 2, 3), 6
RATE, LOSS = 0.1, losses.LOSSES['hinge']


class Encoder(nn.Module):
    """Linear map of each pixel to a code."""

    size: int = CODE[-1]

    @nn.compact
    def __call__(self, images, *, train, keys=None):
        return nn.Dense(self.size)(images)


class Decoder(nn.Module):
    """Linear map of each code to a pixel, without a bias."""

    @nn.compact
    def __call__(self, codes, *, train, keys=None):
        return nn.Dense(SHAPE[-1], use_bias=False)(codes)


class Judge(nn.Module):
    """Two dense layers."""

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        x = nn.tanh(nn.Dense(5)(inputs.reshape(len(inputs), -1)))
        return layers.Output(nn.Dense(1)(x)[:, 0], x)


def build(kind, **changes):
    parts = autoencoder_lib.KINDS[kind]
    encoder = Encoder(CODE[-1] * (2 if parts.code == 'gaussian' else 1))
    if parts.code == 'codebook':
        encoder = encoders.WithCodebook(encoder, 4, CODE[-1])
        changes = {'num_codes': 4, 'latent': 'fitted', **changes}
    return autoencoder_lib.AdversarialAutoencoder(**{
        'kind': kind, 'generator': Decoder(), 'encoder': encoder,
        'discriminator': Judge(), 'g_tx': optax.identity(),
        'd_tx': optax.identity(), 'loss': LOSS, 'code_shape': CODE,
        'last_kernel': ('Dense_0', 'kernel'), 'adaptive': parts.adaptive,
        'features': kind == 'vae_gan', **changes,
    })


def hyperparams(**changes):
    return autoencoder_lib.Hyperparams(
        jnp.float32(RATE), jnp.float32(RATE), jnp.float32(0.5)
    )._replace(**{
        name: jnp.float32(value) for name, value in changes.items()
    })


def start(this):
    return this.init(jax.random.key(0), {'real': SHAPE}, None)


def context(this, state, due=None, **changes):
    return discriminator_inputs.UpdateContext(
        this, hyperparams(**changes), state, jax.random.key(3), due=due
    )


def autoencode(this, state, **changes):
    """Update encoder and decoder; return (state, metrics)."""
    return jax.jit(lambda state: autoencoder_updates.autoencoder_update(
        context(this, state, **changes), REAL, INDEX
    )[:2])(state)


REAL = jnp.asarray(
    np.random.RandomState(0).uniform(-1, 1, (BATCH, *SHAPE)), jnp.float32
)
INDEX = jnp.arange(BATCH, dtype=jnp.int32)


def moved(before, after):
    """Return the names of the players whose parameters differ."""
    return {
        name for name in before.players if not helpers.leaves_equal(
            before.players[name].params, after.players[name].params
        )
    }


@pytest.mark.integration
@pytest.mark.parametrize('kind', autoencoder_lib.KINDS)
def test_each_player_moves_in_its_own_update_alone(kind):
    this = build(kind)
    state = start(this)
    ctx = context(this, state, features=1.0)
    new, metrics, fakes = jax.jit(
        lambda state: autoencoder_updates.autoencoder_update(
            ctx._replace(state=state), REAL, INDEX)
    )(state)
    assert moved(state, new) == {DECODER, ENCODER}
    assert {'g/gan', 'g/reconstruction'} <= metrics.keys()
    codes = this.parts.judges == 'codes'
    real = jnp.ones((BATCH, 12)) if codes else REAL
    last, d_metrics = jax.jit(
        lambda state: autoencoder_updates.discriminator_update(
            ctx._replace(state=state), real, fakes, INDEX)
    )(new)
    assert moved(new, last) == {D}
    # D's step is down its own loss, of what it was shown.
    output = [
        this.discriminator.apply(
            {'params': last.players[D].params}, inputs, train=True
        ).logits for inputs in (real, *fakes)
    ]
    after = np.mean([LOSS.discriminator(output[0], fake)
                     for fake in output[1:]])
    assert len(fakes) == (2 if kind == 'vae_gan' else 1)
    assert after < d_metrics['d/loss']


@pytest.mark.integration
@pytest.mark.parametrize('kind', autoencoder_lib.KINDS)
def test_discriminator_neither_judges_nor_moves_before_its_start(kind):
    this = build(kind, start=3)
    state = start(this)
    batch = helpers.real_batch(helpers.random_images(BATCH, SHAPE)[None])
    step = jax.jit(lambda state, variant: algorithm.checked_step(
        this, hyperparams(features=1.0), state, batch, jax.random.key(0), 0,
        variant=variant,
    ), static_argnames='variant')
    for number in range(5):
        call, = this.plan(number, False, None)
        assert (autoencoder_updates.WAITS in call.variant.due) == (number < 3)
        new, metrics = step(state, variant=call.variant)
        assert (D in moved(state, new)) == (number >= 3)
        assert ('d/loss' in metrics) == ('g/gan' in metrics) == (number >= 3)
        if number < 3 and kind in ('aae', 'kl_autoencoder'):
            np.testing.assert_allclose(  # no adversarial term
                metrics['g/loss'], metrics['g/reconstruction']
                + metrics.get('g/features', 0), rtol=1e-4
            )
        state = new
    # Calls of several steps end where D begins.
    assert [this.is_single_call(k, False) for k in range(5)] == [
        True, True, True, False, True]


@pytest.mark.integration
def test_adaptive_weight_is_the_ratio_of_gradients_in_closed_form():
    this = build('vq_gan', latent='fitted')
    # D(y) = s mean(y) by one layer, so that the hinge loss of G is -s E y.
    slope = 0.7

    class Mean(nn.Module):

        @nn.compact
        def __call__(self, inputs, *, train, keys=None):
            weight = self.param('s', nn.initializers.constant(slope), ())
            return layers.Output(weight * inputs.mean((1, 2, 3)), inputs)

    this = this._replace(discriminator=Mean())
    state = start(this)
    params = state.players[ENCODER].params
    outputs = this.encoder.apply({'params': params}, REAL, train=True)
    vectors = params['codebook']
    codes = vectors[codebook.nearest(outputs, vectors)].reshape(-1, 3)
    kernel = state.players[DECODER].params['Dense_0']['kernel']
    error = codes @ kernel - REAL.reshape(-1, 1)
    count = BATCH * 4
    of_error = codes.T @ (2 * error) / count
    of_loss = codes.T @ np.full((count, 1), -slope / count)
    expected = np.linalg.norm(of_error) / (np.linalg.norm(of_loss) + 1e-4)
    new, metrics = autoencode(this, state, adversarial=0.5, commitment=0.0)
    np.testing.assert_allclose(metrics['g/weight'], 0.5 * expected, rtol=1e-4)
    # The decoder moves by both gradients, the second with this weight.
    np.testing.assert_allclose(
        new.players[DECODER].params['Dense_0']['kernel'],
        kernel - RATE * (of_error + 0.5 * expected * of_loss), rtol=1e-4,
    )


@pytest.mark.integration
def test_adaptive_weight_is_at_most_10_000():
    this = build('kl_autoencoder')
    state = start(this)
    ctx = context(this, state)
    decoder, codes = state.players[DECODER], jnp.ones((BATCH, *CODE))
    _, to_decoder, _ = jax.vjp(
        lambda params: autoencoder_updates._decode(
            ctx, params, decoder.stats, codes, sample_index=INDEX
        ), decoder.params, has_aux=True,
    )
    assert autoencoder_updates._adaptive_weight(
        ctx, to_decoder, 1e3 * REAL, 0 * REAL
    ) == 1e4
    assert autoencoder_updates._adaptive_weight(
        ctx, to_decoder, 0 * REAL, REAL
    ) == 0


@pytest.mark.integration
def test_adversarial_loss_of_vae_gan_does_not_reach_the_encoder():
    this = build('vae_gan', features=False)
    state = start(this)
    (first, _), (second, _), (third, _) = (
        autoencode(this, state, **changes) for changes in (
            {'adversarial': 1.0, 'decoder_error': 1.0},
            {'adversarial': 5.0, 'decoder_error': 1.0},
            {'adversarial': 1.0, 'decoder_error': 3.0},
        )
    )
    for other in (second, third):
        assert helpers.leaves_equal(
            first.players[ENCODER].params, other.players[ENCODER].params)
        assert not np.allclose(*(
            one.players[DECODER].params['Dense_0']['kernel']
            for one in (first, other)))


@pytest.mark.integration
def test_vae_gan_compares_images_by_the_layers_of_d():
    this = build('vae_gan')
    player = start(this).players[D]
    outputs = autoencoder_updates.layer_outputs(Judge(), player, REAL)
    dense = player.params['Dense_0']
    expected = REAL.reshape(BATCH, -1) @ dense['kernel'] + dense['bias']
    assert outputs.keys() == {'Dense_0'}  # not the logit
    np.testing.assert_allclose(outputs['Dense_0'], expected, rtol=1e-5)
    distance = autoencoder_updates.layer_distance(
        {'a': jnp.full((2, 3), 2.0), 'b': jnp.ones((2, 3))},
        {'a': jnp.full((2, 3), 3.0), 'b': jnp.ones((2, 3))},
    )
    np.testing.assert_allclose(distance, 0.125, rtol=1e-6)


def test_layers_of_d_are_compared_without_dropout():
    module = mlp.Discriminator(depth=2, width=8, dropout=0.5)
    player = algorithm.init_player(
        module, optax.identity(), jax.random.key(0), algorithm.Inputs(REAL)
    )
    outputs = autoencoder_updates.layer_outputs(module, player, REAL)
    expected = autoencoder_updates.layer_outputs(
        module.clone(dropout=0.0), player, REAL
    )
    assert outputs and helpers.leaves_equal(outputs, expected)


@pytest.mark.integration
@pytest.mark.parametrize('kind', ['kl_autoencoder', 'vae_gan', 'vq_gan'])
def test_losses_and_gradients_are_those_written_out(kind):
    this = build(
        kind, features=False, adaptive=False,
        latent='fitted' if kind == 'vq_gan' else 'gaussian',
    )
    state = start(this)
    ctx = context(this, state)
    weights = {
        'adversarial': 0.3, 'pixels': 2.0, 'kl': 0.05, 'commitment': 0.4,
        'decoder_error': 0.7,
    }
    new, metrics = autoencode(this, state, **weights)
    params = {name: own.params for name, own in state.players.items()}
    noise = codes_lib.standard_noise(
        jax.random.fold_in(ctx.key, discriminator_inputs.CODE_KEY), CODE, INDEX
    )
    z = discriminator_inputs.draw_latents(ctx, INDEX)

    def judged(images):  # the hinge loss of G
        return -Judge().apply(
            {'params': params[D]}, images, train=True).logits.mean()

    def parts(encoder, decoder):
        decode = functools.partial(
            Decoder().apply, {'params': decoder}, train=True)
        if kind == 'vq_gan':
            outputs = Encoder().apply(
                {'params': encoder['encoder']}, REAL, train=True)
            vectors = params[ENCODER]['codebook']
            distances = jnp.square(
                outputs[..., None, :] - vectors).sum(-1)
            nearest = vectors[distances.argmin(-1)]
            cost = 0.4 * jnp.square(outputs - nearest).mean()
            codes = outputs + jax.lax.stop_gradient(nearest - outputs)
        else:
            outputs = Encoder(6).apply({'params': encoder}, REAL, train=True)
            mean, log_variance = outputs[..., :3], outputs[..., 3:]
            codes = mean + jnp.exp(log_variance / 2) * noise
            cost = 0.05 / 4 * (
                jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance
            ).sum((1, 2, 3)).mean() / 2
        images = decode(codes)
        error = 2.0 * jnp.square(images - REAL).mean()
        if kind == 'vae_gan':
            samples = decode(z.reshape(BATCH, *CODE))
            return error, cost, (judged(images) + judged(samples)) / 2
        return error, cost, judged(images)

    @jax.jit
    def expected(encoder, decoder):
        def both(encoder, decoder):
            error, cost, verdict = parts(encoder, decoder)
            return error + cost + 0.3 * verdict

        def of_encoder(encoder):
            return sum(parts(encoder, decoder)[:2])

        def of_decoder(decoder):
            error, _, verdict = parts(encoder, decoder)
            return 0.7 * error + 0.3 * verdict

        loss, grads = jax.value_and_grad(both, (0, 1))(encoder, decoder)
        if kind == 'vae_gan':
            grads = jax.grad(of_encoder)(encoder), jax.grad(of_decoder)(decoder)
        return loss, grads

    loss, grads = expected(params[ENCODER], params[DECODER])
    np.testing.assert_allclose(metrics['g/loss'], loss, rtol=1e-5)
    for name, own in zip((ENCODER, DECODER), grads):
        before, after = params[name], new.players[name].params
        if kind == 'vq_gan' and name == ENCODER:  # moved by its averages
            before, after, own = (
                tree['encoder'] for tree in (before, after, own))
        jax.tree.map(
            lambda old, grad, moved: np.testing.assert_allclose(
                moved, old - RATE * grad, rtol=1e-5, atol=1e-6),
            before, own, after,
        )


@pytest.mark.integration
def test_encoder_of_an_aae_learns_from_error_and_d_the_decoder_from_error():
    this = build('aae')
    state = start(this)
    new, metrics = autoencode(this, state, adversarial=0.3)
    players = {name: own.params for name, own in state.players.items()}

    def loss(encoder, decoder, adversarial):
        codes = Encoder().apply({'params': encoder}, REAL, train=True)
        images = Decoder().apply({'params': decoder}, codes, train=True)
        judged = Judge().apply({'params': players[D]}, codes, train=True)
        error = jnp.square(images - REAL).mean()
        return error - adversarial * judged.logits.mean()  # hinge

    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(
        players[ENCODER], players[DECODER], 0.3)
    np.testing.assert_allclose(metrics['g/loss'], value, rtol=1e-5)
    for name, own in zip((ENCODER, DECODER), grads):
        jax.tree.map(
            lambda old, grad, moved: np.testing.assert_allclose(
                moved, old - RATE * grad, rtol=1e-5, atol=1e-7),
            players[name], own, new.players[name].params,
        )


def test_gradient_of_a_code_goes_straight_through():
    outputs = jnp.array([[0.2, 0.1], [0.9, 1.2]])
    vectors = jnp.array([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]])
    indices = codebook.nearest(outputs, vectors)
    assert indices.tolist() == [0, 1]

    def loss(outputs, vectors):
        quantised = codebook.straight_through(outputs, vectors[indices])
        return (quantised * jnp.array([[1.0, 2.0], [3.0, 4.0]])).sum()

    np.testing.assert_allclose(loss(outputs, vectors), 7, rtol=1e-6)
    to_outputs, to_vectors = jax.grad(loss, (0, 1))(outputs, vectors)
    assert to_outputs.tolist() == [[1, 2], [3, 4]]
    assert not to_vectors.any()


def test_codebook_is_the_moving_mean_of_outputs_by_hand():
    outputs = jnp.array([[[1.0], [3.0]], [[10.0], [1.0]]])  # 2 of 2 positions
    indices = jnp.array([[0, 0], [1, 0]])
    counts = codebook.count(outputs, indices, 3)
    np.testing.assert_allclose(counts['share'], [0.75, 0.25, 0])
    np.testing.assert_allclose(counts['sums'][:, 0], [5 / 4, 10 / 4, 0])
    np.testing.assert_allclose(counts['use'], [[0.5, 0.5, 0], [1, 0, 0]])
    memory = {'share': jnp.array([0.5, 0.5, 0.0]),
              'sums': jnp.array([[2.0], [4.0], [0.0]]), 'use': counts['use']}
    moved = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, memory, counts)
    vectors = codebook.move(moved, jnp.array([[7.0], [7.0], [7.0]]))
    np.testing.assert_allclose(vectors[:, 0], [
        (1.8 + 0.125) / (0.45 + 0.075), (3.6 + 0.25) / (0.45 + 0.025), 7,
    ], rtol=1e-6)


def test_codebook_of_two_steps_has_the_decay_of_the_config():
    this = build('vq_gan', adaptive=False)
    state = start(this)
    options = {'codebook_decay': 0.12, 'restart': 0.0}
    sums, shares = 0.0, 0.0
    for step in range(2):
        params = state.players[ENCODER].params
        outputs = np.asarray(this.encoder.apply(
            {'params': params}, REAL, train=True)).reshape(-1, CODE[-1])
        distances = np.square(
            outputs[:, None] - np.asarray(params['codebook'])).sum(-1)
        one_hot = np.eye(4)[distances.argmin(1)]
        decay = (0.1, 0.12)[step]  # 1 / 10 of the warm-up, then the config's
        sums = decay * sums + (1 - decay) * one_hot.T @ outputs / len(outputs)
        shares = decay * shares + (1 - decay) * one_hot.mean(0)
        state, _ = autoencode(this, state, **options)
        state = state.replace(step=state.step + 1)
    used = shares > 0
    assert used.sum() > 1
    np.testing.assert_allclose(
        state.players[ENCODER].params['codebook'][used],
        sums[used] / shares[used, None], rtol=1e-5,
    )


def test_dead_vectors_start_again_from_outputs():
    memory = {'share': jnp.array([0.9, 0.001, 0.099, 0.0]),
              'sums': jnp.zeros((4, 2)), 'use': jnp.ones((1, 4))}
    vectors, outputs = jnp.zeros((4, 2)), 1 + jnp.arange(20.0).reshape(10, 2)
    new, moved = codebook.restart(
        memory, vectors, outputs, jax.random.key(0), 0.1
    )
    dead = [False, True, False, True]
    rows = {tuple(row) for row in outputs.tolist()}
    assert [tuple(row) in rows for row in moved.tolist()] == dead
    assert len({*map(tuple, moved[jnp.array([1, 3])].tolist())}) == 2
    np.testing.assert_allclose(new['share'], [0.9, 0.25, 0.099, 0.25])
    np.testing.assert_allclose(new['sums'][1], moved[1] / 4)
    assert codebook.restart(
        memory, vectors, outputs, jax.random.key(0), 0.0
    )[1].sum() == 0


@pytest.mark.parametrize('share, perplexity, usage', [
    ([1.0, 0, 0, 0], 1, 0.25), ([0.25] * 4, 4, 1), ([0.5, 0.5, 0, 0], 2, 0.5),
    ([0.5, 0.25, 0.25, 0], 2**1.5, 0.75),
])
def test_perplexity_of_known_usage(share, perplexity, usage):
    numbers = codebook.statistics(jnp.array(share))
    np.testing.assert_allclose(numbers['codes/perplexity'], perplexity,
                               rtol=1e-6)
    np.testing.assert_allclose(numbers['codes/usage'], usage)


@pytest.mark.integration
@pytest.mark.parametrize('learned', [False, True])
def test_codebook_moves_by_averages_or_by_its_gradient(learned):
    this = build('vq_gan', learned_codebook=learned)
    state = start(this)
    params = state.players[ENCODER].params
    outputs = this.encoder.apply({'params': params}, REAL, train=True)
    rows = outputs.reshape(-1, 3)
    vectors = params['codebook']
    chosen = np.asarray(codebook.nearest(rows, vectors))
    new, metrics = autoencode(this, state, restart=0.0, adversarial=0.0)
    moved = new.players[ENCODER].params['codebook']
    for k in range(4):
        own = np.asarray(rows)[chosen == k]
        expected = vectors[k]
        if learned:  # the gradient of the mean of |sg(z) - e|^2
            total = 2 * (vectors[k] - own).sum(0) / rows.size
            expected = vectors[k] - RATE * total
        elif len(own):  # the first mean
            expected = own.mean(0)
        np.testing.assert_allclose(moved[k], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        metrics['codes/commitment'],
        np.square(rows - vectors[chosen]).mean(), rtol=1e-5,
    )
    assert helpers.leaves_equal(
        new.averages[ENCODER].params['codebook'], moved)


def test_samples_of_a_codebook_cannot_be_truncated():
    with pytest.raises(errors.ConfigError, match='codebook, which have no ord'):
        build('vq_gan').inputs([0], truncation=0.5)


@pytest.mark.parametrize('num_codes, width', [
    (4, 256), (150, 300), (200, 400), (1000, 1000),
])
def test_picture_of_use_has_a_bar_for_each_code(num_codes, width):
    use = np.full((3, num_codes), 1 / num_codes)
    picture = autoencoder_lib.usage_picture(use)
    assert picture.images.shape == (1, 64, width, 1)
    bars = np.asarray(picture.images[0, :, :, 0] > -1).sum(0)
    assert (bars == 16).all()  # a quarter of the height


@pytest.mark.parametrize('channels', [8, 9, 18, 34, 64, 128, 512])
def test_groups_divide_their_channels(channels):
    groups = resnet_autoencoder.num_groups(channels)
    assert channels % groups == 0 and groups <= 32
    assert channels / groups >= 4


def test_samples_of_a_codebook_have_its_use_at_each_position():
    use = jnp.array([[0.1, 0.9, 0], [0.5, 0.25, 0.25]])
    z = jax.random.normal(jax.random.key(0), (40_000, 2))
    drawn = np.asarray(codebook.sample(use, z))
    for position, shares in enumerate(np.asarray(use)):
        counts = np.bincount(drawn[:, position], minlength=3) / len(drawn)
        np.testing.assert_allclose(counts, shares, atol=0.01)


@pytest.mark.integration
def test_long_codes_have_the_covariance_of_their_vectors():
    size, random = codes_lib.LARGEST + 2, np.random.RandomState(0)
    mean = random.randn(size)
    root = np.array([[2.0, 0.0], [1.5, 0.5]])
    draws = mean + (random.randn(500, size // 2, 2) @ root.T).reshape(500, -1)
    memory = codes_lib.moments(jnp.float32(draws), 2)
    assert codes_lib.init(size, 2)['second'].shape == (2, 2)
    z = jax.random.normal(jax.random.key(0), (500, size))
    drawn = np.asarray(codes_lib.transform(codes_lib.fit(memory), z))
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.6)
    np.testing.assert_allclose(
        np.cov((drawn - drawn.mean(0)).reshape(-1, 2).T), root @ root.T,
        rtol=0.02,
    )


@pytest.mark.parametrize('module, shape', [
    (dcgan.Generator(image_shape=(8, 8, 3), width=4), (5,)),
    (dcgan.Generator(image_shape=(8, 8, 3), width=4, spectral_norm=True), (5,)),
    (mlp.Generator(image_shape=(1, 3, 1), width=12), (5,)),
    (resnet_autoencoder.Decoder(image_shape=(16, 16, 3), width=4,
                                num_blocks=1), (8, 8, 2)),
])
def test_last_kernel_makes_the_channels(module, shape):
    path = layers.last_kernel(module, jax.ShapeDtypeStruct(
        (2, *shape), jnp.float32))
    params = jax.eval_shape(
        lambda key: module.init(key, jnp.zeros((2, *shape)), train=False),
        jax.random.key(0),
    )['params']
    assert autoencoder_updates.leaf(params, path).shape[-1] == 3


def shrunk(kind, **changes):
    """Return the config of a recipe with small networks."""
    config = recipes.load(ROOT / 'configs' / f'{kind}.py')
    helpers.tiny(config)
    config.data.image_size, config.reconstruction.start = '16', 2
    if config.discriminator.name == 'patchgan':
        config.discriminator.depth, config.generator.num_blocks = 1, 1
    if kind == 'vq_gan':
        config.reconstruction.num_codes = 16
    config.update_from_flattened_dict(changes)
    unused_keys.leave_out(config, changes)
    return config


@pytest.mark.integration
@pytest.mark.parametrize('kind', autoencoder_lib.KINDS)
def test_run_crosses_the_start_of_d_by_a_resume_to_the_bit(kind, tmp_path):
    config = shrunk(kind, **{
        'penalties.lecam.weight': 0.1, 'penalties.d_orthogonal.weight': 0.1,
        'penalties.d_orthogonal.every': 3, 'num_steps': 5,
        'checkpoint_every': 1,
    })
    whole = train.train(config, tmp_path / 'whole')
    for steps in (1, 2, 3, 5):  # before, at and after the start
        config.num_steps = steps
        parts = train.train(config, tmp_path / 'parts')
    assert helpers.leaves_equal(whole.state, parts.state)
    assert whole.state.memory['lecam']['real'] != 0
    names = {path.stem.partition('-')[0]
             for path in (tmp_path / 'whole' / 'samples').iterdir()}
    assert {'reconstructed', 'interpolated'} <= names
    assert ('codes' in names) == (kind == 'vq_gan')
    gan, state = sampling.load(tmp_path / 'whole')
    images = helpers.random_images(3, (16, 16, 1))
    assert sampling.reconstruct(gan, state, images).shape == images.shape
    samples = sampling.sample(gan, state, [4, 1])
    np.testing.assert_allclose(
        samples[1:], sampling.sample(gan, state, [1]), atol=1e-5)
    assert sampling.interpolate(gan, state, [0, 1], 3).shape[0] == 3


DEVICES = '''
import sys
import numpy as np
import helpers
from gan_jax.training import train
import test_adversarial_autoencoder as tests
config = tests.shrunk(sys.argv[1], **tests.ALIKE)
train.train(config, sys.argv[2], images=helpers.random_images(40, (16, 16, 1)))
'''
# Without norms: BatchNorm has statistics of a device, others enlarge rounding.
ALIKE = {
    'generator.norm': 'none', 'discriminator.norm': 'none', 'num_steps': 6,
    'sample_every': 0, 'g_optimizer.name': 'sgd', 'd_optimizer.name': 'sgd',
    'g_optimizer.learning_rate': 0.01, 'd_optimizer.learning_rate': 0.01,
    'data.image_size': '',
}


@pytest.mark.integration
@pytest.mark.parametrize('kind', autoencoder_lib.KINDS)
def test_four_devices_train_as_one(kind, tmp_path):
    states = []
    for devices in (1, 4):
        folder = tmp_path / str(devices)
        environment = helpers.environment(devices)
        environment['PYTHONPATH'] = ':'.join(
            [str(ROOT / 'tests'), str(ROOT / 'tests' / 'algorithms'),
             environment.get('PYTHONPATH', '')])
        done = subprocess.run(
            [sys.executable, '-c', DEVICES, kind, folder], env=environment,
            capture_output=True, text=True, timeout=500,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        states.append(sampling.load(folder)[1])
    for name in ('players', 'averages', 'memory'):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-3, atol=1e-4
        ), *(getattr(state, name) for state in states))


@pytest.mark.parametrize('kind, changes, words', [
    ('aae', {'discriminator.name': 'dcgan'}, "'dcgan' is not for"),
    ('aae', {'latent': 'fitted'}, "latent='fitted' has no meaning"),
    ('aae', {'reconstruction.features': 1.0}, 'is an option of algorithm='),
    ('aae', {'generator.name': 'resnet'}, r"use one of \['dcgan', 'mlp', 'res"),
    ('vq_gan', {'generator.name': 'dcgan', 'generator.num_blocks': 2},
     r"\['resnet_autoencoder'\]"),
    ('vq_gan', {'latent': 'gaussian'}, r"use one of \['fitted'\]"),
    ('vq_gan', {'reconstruction.kl': 0.1}, 'is an option of algorithm='),
    ('vq_gan', {'reconstruction.num_codes': 1}, 'num_codes=1 is not'),
    ('kl_autoencoder', {'reconstruction.codebook': 'gradient'},
     "is an option of algorithm='vq_gan'"),
    ('kl_autoencoder', {'reconstruction.pixels': 0.0}, 'needs one of them'),
    ('kl_autoencoder', {'loss.name': 'energy_based'}, 'is an autoencoder'),
    ('kl_autoencoder', {'penalties.feature_matching.weight': 1.0},
     'penalties.feature_matching is not for'),
    ('kl_autoencoder', {'penalties.r1.weight': 1.0,
                        'discriminator.norm': 'batch'},
     "discriminator.norm='batch' mixes"),
    ('kl_autoencoder', {'num_microbatches': 2}, 'is not used by'),
    ('kl_autoencoder', {'d_steps': 2}, 'is not used by'),
    ('kl_autoencoder', {'generator.upsampling': 'nearest'}, 'no such option'),
    ('vae_gan', {'discriminator.name': 'dcgan_autoencoder'}, 'returns logits'),
])
def test_bad_settings_are_one_line(kind, changes, words):
    config = recipes.load(ROOT / 'configs' / f'{kind}.py')
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=words) as caught:
        validation.validate(config)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('shape, changes, words', [
    ((30, 30, 1), {'generator.num_downs': 2}, 'multiples of 4'),
    ((32, 32, 1), {'generator.attention': 4}, 'attention'),
    ((8, 8, 1), {'discriminator.depth': 3}, 'at least 24'),
])
def test_images_that_do_not_fit_are_one_line(shape, changes, words):
    config = recipes.load(ROOT / 'configs' / 'kl_autoencoder.py')
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=words) as caught:
        builders.algorithm(config, builders.single_source_specs(shape))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('side, halvings', [
    (7, 0), (8, 0), (16, 1), (28, 2), (32, 2), (64, 3), (256, 3),
])
def test_sides_of_codes_are_8_where_they_can_be(side, halvings):
    assert resnet_autoencoder.num_downs((side, side, 3)) == halvings
