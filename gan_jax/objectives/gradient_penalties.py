"""Penalties on the gradient of D with respect to its input images.

Functions of a `penalties.Context`, of weight 1; `penalties` registers them.
"""

import jax
import jax.numpy as jnp

from gan_jax.objectives import per_sample


def gradient_penalty(context, memory, key):
    """Penalize a gradient norm other than 1 between real and fake (WGAN-GP).

    E (||grad f(x^)||_2 - 1)^2 at x^ = eps x + (1 - eps) G(z), eps ~ U[0, 1].
    One eps is drawn per sample, and the norm is over all axes of a sample. The
    paper's weight is 10. The square root has gradient 0 at 0, where other
    implementations add an epsilon. Real and fake images are augmented if D's
    are, because the critic must be 1-Lipschitz between the images it receives.

    Args:
        context: a `penalties.Context`.
        memory: unused.
        key: PRNG key.

    Returns:
        float32 scalar, >= 0; (||w|| - 1)^2 for a linear critic.

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs,
        https://arxiv.org/abs/1704.00028, 2017, equation 3.
    """
    del memory
    norms = _interpolate_norms(context, key)
    return jnp.mean(jnp.square(norms - 1))


def gradient_penalty_one_sided(context, memory, key):
    """Penalize a gradient norm above 1 between real and fake (WGAN-LP).

    E max(0, ||grad f(x^)||_2 - 1)^2; otherwise as `gradient_penalty`.

    Returns:
        float32 scalar, >= 0; 0 if no norm exceeds 1.

    References:
        Petzka et al., On the Regularization of Wasserstein GANs,
        https://arxiv.org/abs/1709.08894, 2017.
    """
    del memory
    norms = _interpolate_norms(context, key)
    return jnp.mean(jnp.square(jax.nn.relu(norms - 1)))


def zero_centered(context, memory, key):
    """Penalize the gradient norm between real and fake images.

    E ||grad D(x^)||_2^2 at the interpolates of `gradient_penalty`.

    Returns:
        float32 scalar, >= 0; ||w||^2 for a linear D.

    References:
        Thanh-Tung et al., Improving Generalization and Stability of Generative
        Adversarial Networks, https://arxiv.org/abs/1902.03984, 2019.
    """
    del memory
    points = _interpolates(context, key)
    grads = _input_gradients(context.discriminator_fn, points)
    return jnp.mean(per_sample.squared_norms(grads))


def dragan(context, memory, key):
    """Penalize a gradient norm other than 1 around the real images (DRAGAN).

    E (||grad D(x + alpha delta)||_2 - 1)^2, delta = 1/2 std(x) u. u ~ U[0, 1)
    is drawn per value, alpha ~ U[0, 1) per sample; std(x) is over this device's
    batch, and x is the preprocessed image. The noise is that of the authors'
    notebook, as the paper does not specify it. The paper's weight is 10.

    Returns:
        float32 scalar, >= 0; (||w|| - 1)^2 for a linear D.

    References:
        Kodali et al., On Convergence and Stability of GANs,
        https://arxiv.org/abs/1705.07215, 2017;
        https://github.com/kodalinaveen3/DRAGAN, DRAGAN.ipynb.
    """
    del memory
    real = context.real_images

    def displace(key):
        noise_key, share_key = jax.random.split(key)
        noise = jax.random.uniform(noise_key, real.shape[1:], jnp.float32)
        return jax.random.uniform(share_key, (), jnp.float32) * noise

    noise = per_sample.draw(displace, key, context.sample_index)
    points = real + 0.5 * jnp.std(real) * noise
    grads = _input_gradients(context.discriminator_fn, points)
    norms = per_sample.safe_sqrt(per_sample.squared_norms(grads))
    return jnp.mean(jnp.square(norms - 1))


def r1(context, memory, key):
    """Penalize the gradient norm on real images: 1/2 E ||grad D(x)||_2^2.

    The weight is the paper's gamma. The factor 1/2 is the paper's; the authors'
    code omits it. With augmentations T before D, the gradient is that of
    D(T(x)) with respect to x, as in StyleGAN2-ADA and R3GAN.

    Returns:
        float32 scalar, >= 0; 1/2 ||w||^2 for a linear D.

    References:
        Mescheder et al., Which Training Methods for GANs do actually
        Converge?, https://arxiv.org/abs/1801.04406, 2018, equation 9.
        Karras et al., Training Generative Adversarial Networks with Limited
        Data, https://arxiv.org/abs/2006.06676, 2020 (through augmentations).
    """
    del memory, key
    grads = _image_gradients(context, fake=False)
    return 0.5 * jnp.mean(per_sample.squared_norms(grads))


def r2(context, memory, key):
    """Penalize the gradient norm on fakes: 1/2 E ||grad D(G(z))||_2^2.

    With augmentations as `r1`.

    Returns:
        float32 scalar, >= 0; 1/2 ||w||^2 for a linear D.

    References:
        Mescheder et al., Which Training Methods for GANs do actually
        Converge?, https://arxiv.org/abs/1801.04406, 2018, equation 10.
        Huang et al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
        https://arxiv.org/abs/2501.05441, 2025 (through augmentations).
    """
    del memory, key
    grads = _image_gradients(context, fake=True)
    return 0.5 * jnp.mean(per_sample.squared_norms(grads))


def _input_gradients(discriminator_fn, images):
    """Compute the gradient of each logit with respect to its own image."""
    return jax.grad(lambda x: discriminator_fn(x).logits.sum())(images)


def _interpolate_norms(context, key):
    """Compute the gradient norms [B] at points between real and fake."""
    points = _interpolates(context, key)
    grads = _input_gradients(context.discriminator_fn, points)
    return per_sample.safe_sqrt(per_sample.squared_norms(grads))


def _interpolates(context, key):
    """Sample a point between each real and fake: eps x + (1 - eps) x~."""
    shape = (1,) * (context.real_images.ndim - 1)
    share = per_sample.draw(
        lambda key: jax.random.uniform(key, shape, jnp.float32),
        key, context.sample_index,
    )
    real, fake = context.real_images, context.fake_images
    return share * real + (1 - share) * fake


def _image_gradients(context, *, fake):
    """Compute the gradient of each logit with respect to the raw image.

    The gradient passes through the augmentations. Without them it is taken with
    respect to the preprocessed image, since noise and packing do not change its
    norm.

    Returns:
        [B, ...], one row per tuple of images that D judges.
    """
    if not context.augmented:
        images = context.fake_images if fake else context.real_images
        return _input_gradients(context.discriminator_fn, images)
    grads = _input_gradients(
        lambda images: context.discriminator_fn(
            context.preprocess_fn(images, fake)
        ),
        context.raw_fake_images if fake else context.raw_real_images,
    )
    return grads.reshape(len(context.sample_index), -1)
