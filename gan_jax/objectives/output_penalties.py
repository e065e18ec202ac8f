"""Penalties on the outputs of D and G: consistency, logits, features, classes.

Functions of a `penalties.Context`, of weight 1; `penalties` registers them.
"""

import jax
import jax.numpy as jnp

from gan_jax.objectives import per_sample
from gan_jax.ops import augment


def consistency(context, memory, key):
    """Penalize changes of D under shifts and flips of real images (CR).

    E (D(x) - D(T(x)))^2, T from `augment.shift_and_flip`. The paper's weight is
    10.

    Args:
        context: a `penalties.Context`.
        memory: unused.
        key: PRNG key.

    Returns:
        float32 scalar, >= 0; 0 for a constant D.

    References:
        Zhang et al., Consistency Regularization for Generative Adversarial
        Networks, https://arxiv.org/abs/1910.12027, 2019.
    """
    del memory
    return _inconsistency(context, context.real_images, context.real, key)


def consistency_fake(context, memory, key):
    """Penalize changes of D under shifts and flips of generated images.

    E (D(G(z)) - D(T(G(z))))^2; together with `consistency` this is bCR. The
    paper's weights are 10 and 10.

    Returns:
        float32 scalar, >= 0; 0 for a constant D.

    References:
        Zhao et al., Improved Consistency Regularization for GANs,
        https://arxiv.org/abs/2002.04724, 2020.
    """
    del memory
    return _inconsistency(context, context.fake_images, context.fake, key)


def _inconsistency(context, images, output, key):
    """Compute E (D(x) - D(T(x)))^2; `output` is D's on `images`."""
    transformed = augment.shift_and_flip(images, key, context.sample_index)
    logits = context.discriminator_fn(transformed).logits
    return jnp.mean(jnp.square(output.logits - logits))


LATENT_NOISE = 0.05  # sigma of zCR; the paper uses 0.03 to 0.07


def latent_consistency_discriminator(context, memory, key):
    """Penalize changes of D under small changes of z (D's half of zCR).

    E (D(G(z)) - D(G(z')))^2, z' = z + 0.05 noise. The paper's weight is 5.

    Returns:
        float32 scalar, >= 0; 0 for a constant D.

    References:
        Zhao et al., Improved Consistency Regularization for GANs,
        https://arxiv.org/abs/2002.04724, 2020.
    """
    del memory
    images = jax.lax.stop_gradient(
        context.generator_fn(_perturbed_z(context, key))
    )
    logits = context.discriminator_fn(images).logits
    return jnp.mean(jnp.square(context.fake.logits - logits))


def latent_consistency_generator(context, memory, key):
    """Compute minus the change of G under small changes of z (G's zCR).

    -E ||G(z) - G(z')||^2, the mean over samples of the sum over pixels. The
    paper's weight is 0.5.

    Returns:
        float32 scalar, <= 0; 0 if G ignores z.

    References:
        Zhao et al., Improved Consistency Regularization for GANs,
        https://arxiv.org/abs/2002.04724, 2020.
    """
    del memory
    perturbed = context.generator_fn(_perturbed_z(context, key))
    images = context.generator_fn(context.z)
    return -jnp.mean(per_sample.squared_norms(images - perturbed))


def _perturbed_z(context, key):
    """Sample z' = z + noise for each z."""
    noise = per_sample.draw(
        lambda key: jax.random.normal(key, context.z.shape[1:], jnp.float32),
        key,
        context.sample_index if context.z_sample_index is None
        else context.z_sample_index,
    )
    return context.z + LATENT_NOISE * noise


def lecam(context, memory, key):
    """Penalize the distance of D's outputs to the other side's average (LeCam).

    E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2, a_R and a_F exponential moving
    averages (decay 0.99) of D on real and on fake images. This is the paper's
    form. The authors' code has a ReLU inside each square, which StudioGAN
    copied: max(0, D(x) - a_F)^2 and max(0, a_R - D(G(z)))^2 ignore real images
    with an output below a_F and fakes with an output above a_R.

    Args:
        context: a `penalties.Context`.
        memory: {'real': a_R, 'fake': a_F}.
        key: unused.

    Returns:
        float32 scalar, >= 0.

    References:
        Tseng et al., Regularizing Generative Adversarial Networks under
        Limited Data, https://arxiv.org/abs/2104.03310, 2021;
        https://github.com/google/lecam-gan, biggan_cifar/losses.py.
    """
    del key
    real = jnp.square(context.real.logits - memory['fake'])
    fake = jnp.square(context.fake.logits - memory['real'])
    return jnp.mean(real) + jnp.mean(fake)


def lecam_init(params):
    """Return the initial memory of `lecam`."""
    del params
    return {'real': jnp.float32(0), 'fake': jnp.float32(0)}


def lecam_update(memory, params, metrics):
    """Update the moving averages of `lecam`."""
    del params
    return {
        'real': 0.99 * memory['real'] + 0.01 * metrics['d/real_logits'],
        'fake': 0.99 * memory['fake'] + 0.01 * metrics['d/fake_logits'],
    }


def drift(context, memory, key):
    """Penalize large critic outputs on real images: E f(x)^2.

    The paper's weight is 1e-3.

    Returns:
        float32 scalar, >= 0.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality,
        Stability, and Variation, https://arxiv.org/abs/1710.10196, 2017,
        appendix A.1.
    """
    del memory, key
    return jnp.mean(jnp.square(context.real.logits))


def pulling_away(context, memory, key):
    """Penalize similar features of different fakes (pulling-away term).

    1 / (N (N - 1)) sum_{i != j} cos^2(s_i, s_j), s the features of G(z), over
    this device's batch. The paper's weight is 0.1.

    Returns:
        float32 scalar in [0, 1]; 1 if all features have the same direction.

    References:
        Zhao et al., Energy-based Generative Adversarial Network,
        https://arxiv.org/abs/1609.03126, 2016, section 2.4.
    """
    del memory, key
    features = context.fake.features.astype(jnp.float32)
    features = features.reshape(len(features), -1)
    norms = per_sample.safe_sqrt(per_sample.squared_norms(features))[:, None]
    unit = features / jnp.maximum(norms, 1e-12)
    squares = jnp.square(unit @ unit.T)
    count = len(features)
    off_diagonal = jnp.sum(squares * (1 - jnp.eye(count)))
    return off_diagonal / (count * (count - 1))


def feature_matching(context, memory, key):
    """Penalize the distance of D's mean features on real and fake images.

    ||E phi(x) - E phi(G(z))||_2^2, phi the last hidden layer of D, means over
    this device's batch. The paper replaces G's loss by it; here it is added to
    that loss.

    Returns:
        float32 scalar, >= 0.

    References:
        Salimans et al., Improved Techniques for Training GANs,
        https://arxiv.org/abs/1606.03498, 2016, section 3.1.
    """
    del memory, key
    real = jnp.mean(context.real.features.astype(jnp.float32), 0)
    fake = jnp.mean(context.fake.features.astype(jnp.float32), 0)
    return jnp.sum(jnp.square(real - fake))


def d_classification(context, memory, key):
    """Compute AC-GAN's classification loss of D, on real and fake images.

    -E log P(c | x) - E log P(c | G(z, c)), P the softmax of D's class logits.
    The paper's weight is 1.

    Returns:
        float32 scalar, >= 0; 2 ln n if all n class logits are equal.

    References:
        Odena et al., Conditional Image Synthesis With Auxiliary Classifier
        GANs, https://arxiv.org/abs/1610.09585, 2016, equation 3.
    """
    del memory, key
    real = _cross_entropy(context.real.class_logits, context.labels)
    return real + _cross_entropy(context.fake.class_logits, context.labels)


def g_classification(context, memory, key):
    """Compute AC-GAN's classification loss of G, on fake images.

    -E log P(c | G(z, c)). The paper's weight is 1.

    Returns:
        float32 scalar, >= 0; ln n if all n class logits are equal.

    References:
        Odena et al., Conditional Image Synthesis With Auxiliary Classifier
        GANs, https://arxiv.org/abs/1610.09585, 2016, equation 3.
    """
    del memory, key
    return _cross_entropy(context.fake.class_logits, context.labels)


def _cross_entropy(class_logits, labels):
    """Compute the mean of -log softmax(class_logits)[label]."""
    log_probs = jax.nn.log_softmax(class_logits.astype(jnp.float32))
    return -jnp.mean(jnp.take_along_axis(log_probs, labels[:, None], axis=1))
