"""One update of a baseline: a decoder and its codes move together.

The decoder is a GAN's generator and stands in its place in the state; what
gives it codes stands in the discriminator's. Loop, sampler and metrics are
those of a GAN.
"""

import functools
import math

import jax
import jax.numpy as jnp

from gan_jax import augment
from gan_jax import options as options_lib
from gan_jax import reconstructions
from gan_jax import transforms
from gan_jax.networks import encoders
from gan_jax.steps import game
from gan_jax.steps import sights
from gan_jax.steps import updates

CODE_DECAY = 0.99  # of the moments of codes, in the long run


def autoencoder(turn, outputs, slots):
    """Take the encoder's outputs as codes.

    Args:
        turn: a `sights.Turn`.
        outputs: [b, F], of what stands in the discriminator's place.
        slots: [b] int32.

    Returns:
        (codes [b, latent_size], KL [b] from the prior or None).
    """
    del turn, slots
    return outputs, None


def vae(turn, outputs, slots):
    """Draw codes from N(m, s^2), outputs being m and log s^2.

    Kingma and Welling, Auto-Encoding Variational Bayes,
    https://arxiv.org/abs/1312.6114, 2013. Args, returns: as `autoencoder`.
    """
    mean, log_variance = jnp.split(outputs, 2, axis=-1)
    key = jax.random.fold_in(turn.key, sights.CODE_KEY)
    noise = jax.vmap(lambda slot: jax.random.normal(
        jax.random.fold_in(key, slot), mean.shape[1:]
    ))(slots)
    codes = mean + jnp.exp(log_variance / 2) * noise
    return codes, reconstructions.kl_from_standard_normal(mean, log_variance)


# 'given' and 'glo' come with their codes and have nothing to add to them.
BASELINES = {
    'autoencoder': autoencoder, 'given': autoencoder, 'glo': autoencoder,
    'vae': vae,
}
_Option = options_lib.Option
_ERROR = (
    _Option('reconstruction', 'l2', 'one of reconstructions.RECONSTRUCTIONS',
            reconstructions.RECONSTRUCTIONS),
    *reconstructions.OPTIONS['huber'],
)
# The keys of a config that each has, beside its name.
OPTIONS = {
    'autoencoder': _ERROR,
    'given': (
        *_ERROR,
        _Option(
            'angle', 0.5, 'most radians that images are turned by',
            options_lib.Bounds(lambda v: 0 <= v <= math.pi, 'in [0, pi]'),
        ),
        _Option('scale', 0.25, 'most that their scale differs from 1',
                options_lib.BELOW_1),
    ),
    'glo': _ERROR,
    'vae': (  # its reconstruction is 'l2', of a Gaussian
        _Option('beta', 1.0, 'weight of the KL divergence',
                options_lib.NOT_NEGATIVE),
        _Option('std', 0.5, "deviation of the decoder's Gaussian",
                options_lib.POSITIVE),
    ),
}
# What none has a use for: there is no judge, and one update a step.
OF_A_GAME = (
    'augment.', 'clip_weights', 'd_steps', 'discriminator.condition', 'g_steps',
    'generator.condition', 'history.size', 'instance_noise.std', 'labels.',
    'loss.', 'packing', 'regularizers.', 'schedule.name', 'share_fakes',
    'together',
)
# Nor, beside those, has each: of these the codes come from no network.
WITHOUT = {
    'given': ('d_optimizer.', 'discriminator.', 'latent_size'),
    'glo': ('discriminator.',),
}
LATENTS = {  # what z of each may be drawn from
    'autoencoder': ('gaussian', 'fitted'), 'given': ('gaussian',),
    'glo': ('gaussian', 'fitted'), 'vae': ('gaussian', 'fitted'),
}


def pose(turn, images, slots, labels):
    """Turn and scale images at random, and give the codes that say how.

    Dosovitskiy et al., Learning to Generate Chairs with Convolutional Neural
    Networks, https://arxiv.org/abs/1411.5928, 2014, whose codes are the kind of
    chair, the view and such changes of the image.

    Args:
        turn: a `sights.Turn`.
        images: [b, H, W, C] float32 in [-1, 1].
        slots: [b] int32.
        labels: [b] int32.

    Returns:
        (images [b, H, W, C], codes [b, latent_size], as of `game.given_codes`).
    """
    key = jax.random.fold_in(turn.key, sights.POSE_KEY)
    turned, scaled = jax.vmap(lambda slot: jax.random.uniform(
        jax.random.fold_in(key, slot), (2,), minval=-1
    ))(slots).T
    codes = game.given_codes(turn.gan, labels, turned, scaled)
    return augment.pose(
        images, turned * turn.hyperparams.most_turned,
        1 + scaled * turn.hyperparams.most_scaled,
    ), codes


def update(turn, images, slots, labels=None, numbers=None):
    """Move decoder and encoder once, down one loss.

    The loss is the mean reconstruction error; for a VAE D / (2 std^2) times the
    mean square error plus beta times the KL divergence, which is minus the
    evidence lower bound of a Gaussian decoder, less a constant, where beta is 1
    (another: Higgins et al., beta-VAE, ICLR 2017).

    Args:
        turn: a `sights.Turn`.
        images: [b, H, W, C] uint8, or points [b, D].
        slots: [b] int32.
        labels: [b] int32, where codes are given.
        numbers: [b] int32, of the images in their data set, where codes are a
            table.

    Returns:
        (`game.GANState` with both players and the EMA moved, metrics).
    """
    gan, state, hyperparams = turn.gan, turn.state, turn.hyperparams
    decoder, encoder = state.generator, state.discriminator

    def gradients(stats, images, slots, labels, numbers):
        targets = sights.real_images(turn, images, slots)
        inputs = targets if numbers is None else numbers
        if gan.baseline == 'given':
            targets, inputs = pose(turn, targets, slots, labels)
        objective = functools.partial(
            _objective, turn, stats, targets, inputs, slots
        )
        return jax.grad(objective, has_aux=True)(
            (decoder.params, encoder.params)
        )

    grads, (stats, metrics) = turn.mean(updates.over_microbatches(
        turn, gradients, (decoder.stats, encoder.stats),
        (images, slots, labels, numbers),
    ))
    moments = metrics.pop('moments')
    metrics['g/grad_norm'] = updates.norm(grads[0])
    metrics['d/grad_norm'] = updates.norm(grads[1])
    decoder = updates.descend(
        decoder, gan.g_tx, grads[0],
        updates.rate(hyperparams.g_learning_rate, gan.g_schedule, state),
        stats[0],
    )
    encoder = updates.descend(
        encoder, gan.d_tx, grads[1],
        updates.rate(hyperparams.d_learning_rate, gan.d_schedule, state),
        stats[1],
    )
    if gan.baseline == 'glo':
        encoder = encoder.replace(
            params=jax.tree.map(encoders.into_unit_ball, encoder.params)
        )
    decay = transforms.ema_decay_at(state.step, CODE_DECAY)
    codes = transforms.ema(state.memory['codes'], moments, decay)
    state = updates.average_generator(turn, state.replace(generator=decoder))
    return state.replace(
        discriminator=encoder, memory={**state.memory, 'codes': codes}
    ), metrics


def _objective(turn, stats, targets, inputs, slots, params):
    """Give (loss, (new stats, metrics)); the moments of the codes are there."""
    gan, hyperparams = turn.gan, turn.hyperparams
    keys = sights.sample_keys(turn, 1, slots) if gan.d_dropout else None
    outputs, encoder_stats = sights.forward(
        gan.discriminator, params[1], stats[1], inputs, None, keys
    )
    codes, kl = BASELINES[gan.baseline](turn, outputs, slots)
    made, decoder_stats = sights.generate(
        turn, params[0], stats[0], codes, slots, None
    )
    options = {'delta': hyperparams.huber_delta} if (
        gan.reconstruction == 'huber') else {}
    error = reconstructions.RECONSTRUCTIONS[gan.reconstruction](
        targets, made, **options
    ).mean()
    metrics = {'g/loss': error, 'g/reconstruction': error}
    if kl is not None:
        kl = kl.mean()
        size = targets[0].size / (2 * jnp.square(hyperparams.decoder_std))
        metrics['g/loss'] = size * error + hyperparams.beta * kl
        metrics['d/kl'] = kl
    return metrics['g/loss'], ((decoder_stats, encoder_stats), {
        **metrics, 'moments': _moments(jax.lax.stop_gradient(codes)),
    })


def _moments(codes):
    return {'mean': codes.mean(0), 'second': codes.T @ codes / len(codes)}


def reconstruct(gan, state, images):
    """Decode the codes of images, with the running statistics.

    A VAE's code is its mean. Encoder and decoder are as they are, not averaged.

    Args:
        gan: a `game.GAN` with a baseline that has an encoder.
        state: a `game.GANState`.
        images: [B, H, W, C] uint8, or points [B, D].

    Returns:
        [B, H, W, C] float32 in [-1, 1], or [B, D].
    """
    return game.generate(gan, *game.raw(state), encode(gan, state, images))


def encode(gan, state, images):
    """Give the codes [B, latent_size] of images, as of `reconstruct`."""
    encoder = state.discriminator
    outputs = gan.discriminator.apply(
        {'params': encoder.params, **encoder.stats},
        game.to_unit_range(images), train=False,
    )
    return outputs[:, :gan.latent_size]
