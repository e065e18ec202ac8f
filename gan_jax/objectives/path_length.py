"""Path length regularisation of a generator with styles.

A penalty of `penalties.Context`, of weight 1; `penalties` registers it.
"""

import jax
import jax.numpy as jnp

from gan_jax.objectives import penalty_output
from gan_jax.objectives import per_sample

RATE = 0.01  # share of a step in the running mean of lengths
SHARE = 2  # every second sample of a batch is used


def path_length(context, memory, key):
    """Penalize lengths of G's gradients that differ from their running mean.

    E (||J_w^T y||_2 - a)^2, y ~ N(0, I) / sqrt(H W) an image of noise and
    J_w^T y the gradient of <G(w), y> in the styles: the root of the mean over
    layers of the sum of squares over w. a <- a + 0.01 (mean length - a), from
    0; the gradient passes through it too. A step in w then changes the image
    equally much everywhere. The authors' weight is 2, at every 4th step.

    Differs from the authors' code: the z are every second one of the batch, in
    place of half as many new ones; a step uses the mean length on its own
    device, and a is kept with the mean over devices. Noise is drawn anew.

    Args:
        context: a `penalties.Context`, of a generator with the methods `map`
            and `synthesize`.
        memory: a, float32 scalar.
        key: PRNG key.

    Returns:
        `penalty_output.PenaltyOutput`: a value >= 0, and the mean length.

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN,
        https://arxiv.org/abs/1912.04958, 2019, section 3.2.
    """
    index = context.sample_index
    if context.z_sample_index is not None:
        index = context.z_sample_index
    index, labels = index[::SHARE], context.labels
    labels = None if labels is None else labels[::SHARE]
    noise_key, image_key = jax.random.split(key)
    keys = per_sample.draw(lambda key: key, noise_key, index)
    styles = context.generator_method(
        'map', context.z[::SHARE], labels, keys
    )

    def project(styles):
        images = context.generator_method('synthesize', styles, keys)
        directions = per_sample.draw(
            lambda key: jax.random.normal(key, images.shape[1:], jnp.float32),
            image_key, index,
        )
        pixels = images.shape[1] * images.shape[2]
        return jnp.sum(images * directions) * pixels**-0.5

    grads = jax.grad(project)(styles)
    lengths = per_sample.safe_sqrt(
        per_sample.squared_norms(grads) / grads.shape[1]
    )
    mean = path_length_update(memory, None, None, lengths.mean())
    return penalty_output.PenaltyOutput(
        jnp.mean(jnp.square(lengths - mean)), lengths.mean()
    )


def path_length_init(params):
    """Return the initial running mean of lengths."""
    del params
    return jnp.float32(0)


def path_length_update(memory, params, metrics, mean_length):
    """Update the running mean by the mean length of a step."""
    del params, metrics
    return memory + RATE * (mean_length - memory)
