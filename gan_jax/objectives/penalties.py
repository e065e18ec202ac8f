"""Penalties for either player: pure functions of a context, weight 1.

The caller applies the weight. A penalty sees functions and arrays, never a
module, so a test can build its context from a plain lambda.
"""

from typing import Any, Callable, NamedTuple, Optional

import jax
import jax.numpy as jnp

from gan_jax.ops import augment


class Context(NamedTuple):
    """What a penalty may look at; what it does not need may be None.

    Attributes:
        params: pytree, the parameters of the player that is being updated;
            the functions below close over them.
        discriminator_fn: images [B, ...] -> output with `logits` [B] and
            `features` [B, F], in training mode.
        generator_fn: z [B, latent_size] -> images [B, ...]; in D's update as D
            sees them.
        generator_method: (name, *arrays) -> what this method of G's module
            gives by the present weights in training mode, for penalties on
            values inside G; None in D's update.
        real_images: [B, ...] as D sees them.
        fake_images: [B, ...] as D sees them; constant for D, a function of
            the parameters for G.
        raw_real_images, raw_fake_images: [B x packing, ...] in [-1, 1], before
            augmentation, noise and packing; neighbours are packed together.
        view_fn: (raw images, fake) -> images as D sees them, by the draws that
            made `real_images` or, where `fake`, `fake_images`.
        augmented: whether that is by augmentations, and not by noise and
            packing alone.
        real: D's output on real_images.
        fake: D's output on fake_images.
        z: [B, latent_size] of the fakes; as many times more as D packs.
        sample_index: [B] int32, places in the global batch of what D judges.
        z_sample_index: [B] int32, places of the z; `sample_index` where None.
        labels: [B] int32, of the real images and asked of the fakes, or None.
    """

    params: Any = None
    discriminator_fn: Optional[Callable] = None
    generator_fn: Optional[Callable] = None
    generator_method: Optional[Callable] = None
    real_images: Optional[jax.Array] = None
    fake_images: Optional[jax.Array] = None
    raw_real_images: Optional[jax.Array] = None
    raw_fake_images: Optional[jax.Array] = None
    view_fn: Optional[Callable] = None
    augmented: bool = False
    real: Any = None
    fake: Any = None
    z: Optional[jax.Array] = None
    sample_index: Optional[jax.Array] = None
    z_sample_index: Optional[jax.Array] = None
    labels: Optional[jax.Array] = None


class Noted(NamedTuple):
    """A penalty that has seen something which it wants to remember.

    Attributes:
        value: float32 scalar, before the weight.
        notes: pytree of arrays; `Penalty.update` is given its mean over
            microbatches and devices.
    """

    value: jax.Array
    notes: Any


class Penalty(NamedTuple):
    """One penalty.

    Attributes:
        player: 'discriminator' or 'generator', whose loss it joins.
        fn: (context, memory, key) -> float32 scalar, before the weight,
            or `Noted`.
        init: params -> memory, for those that remember.
        update: (memory, the player's new params, metrics) -> memory, once per
            update, from metrics averaged over devices. Where it `notes`:
            (memory, new params, metrics, notes), once per update that it joins.
        notes: whether the penalty gives `Noted`.
        input_gradient: whether it takes the gradient of D with respect to
            single images, which BatchNorm in D would mix.
        classes: whether it needs D's class logits.
        images: whether it changes images as such, which points are not.
        title: name in words; '' is the name itself.
        words: what it does, in words; '' is the first line of `fn`.
        begin: weight to begin with on points of the plane.
    """

    player: str
    fn: Callable
    init: Optional[Callable] = None
    update: Optional[Callable] = None
    notes: bool = False
    input_gradient: bool = False
    classes: bool = False
    images: bool = False
    title: str = ''
    words: str = ''
    begin: float = 1.0


def _squared_norms(values):
    """Sum the squares of each row over all its axes: [B, ...] -> [B]."""
    values = values.astype(jnp.float32)
    return jnp.sum(jnp.square(values), axis=tuple(range(1, values.ndim)))


def _gradient_norms(squared):
    """Take square roots with a finite gradient at 0, where it is 0."""
    positive = squared != 0  # a NaN stays one
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def _input_gradients(discriminator_fn, images):
    """Give the gradient of each logit with respect to its own image."""
    return jax.grad(lambda x: discriminator_fn(x).logits.sum())(images)


def _image_gradients(context, *, fake):
    """Return the gradient of each logit with respect to the image it is of.

    That is the image before it is augmented, so the gradient passes through the
    augmentations. Noise and packing do not change its norm, and without
    augmentations it is taken at what D sees.

    Returns:
        [B, ...], a row for what D judges as one.
    """
    if not context.augmented:
        images = context.fake_images if fake else context.real_images
        return _input_gradients(context.discriminator_fn, images)
    grads = _input_gradients(
        lambda images: context.discriminator_fn(context.view_fn(images, fake)),
        context.raw_fake_images if fake else context.raw_real_images,
    )
    return grads.reshape(len(context.sample_index), -1)


def _per_sample(draw, key, sample_index):
    """Call draw(key of the sample) for every slot."""
    return jax.vmap(
        lambda index: draw(jax.random.fold_in(key, index))
    )(sample_index)


def _interpolates(context, key):
    """Draw one point between each real and its fake: eps x + (1 - eps) x~."""
    shape = (1,) * (context.real_images.ndim - 1)
    share = _per_sample(
        lambda key: jax.random.uniform(key, shape, jnp.float32),
        key, context.sample_index,
    )
    real, fake = context.real_images, context.fake_images
    return share * real + (1 - share) * fake


def gradient_penalty(context, memory, key):
    """Hold the critic's slope between real and fake at 1.

    E (||grad f(x^)||_2 - 1)^2 at x^ = eps x + (1 - eps) G(z), eps ~ U[0, 1].
    One eps for each sample, and the norm over all axes of that sample. The
    paper's weight is 10. The square root has gradient 0 at 0, where others add
    an epsilon. Real and fake are as D sees them: it is between those, augmented
    or not, that the critic has to be 1-Lipschitz.

    Args:
        context: a `Context`.
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
    """Hold the critic's slope between real and fake at 1 or below.

    E max(0, ||grad f(x^)||_2 - 1)^2; else as `gradient_penalty`.

    Returns:
        float32 scalar, >= 0; 0 where no slope exceeds 1.

    References:
        Petzka et al., On the Regularization of Wasserstein GANs,
        https://arxiv.org/abs/1709.08894, 2017.
    """
    del memory
    norms = _interpolate_norms(context, key)
    return jnp.mean(jnp.square(jax.nn.relu(norms - 1)))


def _interpolate_norms(context, key):
    points = _interpolates(context, key)
    grads = _input_gradients(context.discriminator_fn, points)
    return _gradient_norms(_squared_norms(grads))


def zero_centered(context, memory, key):
    """Hold D's slope between real and fake at 0.

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
    return jnp.mean(_squared_norms(grads))


def dragan(context, memory, key):
    """Hold D's slope around the data at 1.

    E (||grad D(x + alpha delta)||_2 - 1)^2, delta = 1/2 std(x) u. u ~ U[0, 1)
    is drawn for each value, alpha ~ U[0, 1) for each sample; std(x) is over
    this device's batch, and x is as D sees it. The noise is that of the
    authors' notebook (their paper does not fix it). The paper's weight is 10.

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

    moves = _per_sample(displace, key, context.sample_index)
    points = real + 0.5 * jnp.std(real) * moves
    grads = _input_gradients(context.discriminator_fn, points)
    return jnp.mean(jnp.square(_gradient_norms(_squared_norms(grads)) - 1))


def r1(context, memory, key):
    """Flatten D on real images: 1/2 E ||grad D(x)||_2^2.

    The weight is the paper's gamma; the factor 1/2 is the paper's, and the
    authors' code leaves it out. Where D sees images by augmentations T, it is
    the gradient of D(T(x)) with respect to x, as in StyleGAN2-ADA and R3GAN.

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
    return 0.5 * jnp.mean(_squared_norms(grads))


def r2(context, memory, key):
    """Flatten D on generated images: 1/2 E ||grad D(G(z))||_2^2.

    Through augmentations as `r1`.

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
    return 0.5 * jnp.mean(_squared_norms(grads))


def pulling_away(context, memory, key):
    """Push D's features of different fakes towards right angles.

    1 / (N (N - 1)) sum_{i != j} cos^2(s_i, s_j), s the features of G(z). The
    paper's weight is 0.1. Over this device's batch.

    Returns:
        float32 scalar in [0, 1]; 1 where all fakes have one direction.

    References:
        Zhao et al., Energy-based Generative Adversarial Network,
        https://arxiv.org/abs/1609.03126, 2016, section 2.4.
    """
    del memory, key
    features = context.fake.features.astype(jnp.float32)
    features = features.reshape(len(features), -1)
    norms = _gradient_norms(_squared_norms(features))[:, None]
    unit = features / jnp.maximum(norms, 1e-12)
    squares = jnp.square(unit @ unit.T)
    count = len(features)
    off_diagonal = jnp.sum(squares * (1 - jnp.eye(count)))
    return off_diagonal / (count * (count - 1))


def consistency(context, memory, key):
    """Make D blind to shifts and flips of real images (CR).

    E (D(x) - D(T(x)))^2, T of `augment.shift_and_flip`. The paper's weight is
    10.

    Returns:
        float32 scalar, >= 0; 0 for a constant D.

    References:
        Zhang et al., Consistency Regularization for Generative Adversarial
        Networks, https://arxiv.org/abs/1910.12027, 2019.
    """
    del memory
    return _inconsistency(context, context.real_images, context.real, key)


def consistency_fake(context, memory, key):
    """Make D blind to shifts and flips of generated images.

    E (D(G(z)) - D(T(G(z))))^2: with `consistency` this is bCR. The paper's
    weights are 10 and 10.

    Returns:
        float32 scalar, >= 0; 0 for a constant D.

    References:
        Zhao et al., Improved Consistency Regularization for GANs,
        https://arxiv.org/abs/2002.04724, 2020.
    """
    del memory
    return _inconsistency(context, context.fake_images, context.fake, key)


def _inconsistency(context, images, output, key):
    changed = augment.shift_and_flip(images, key, context.sample_index)
    logits = context.discriminator_fn(changed).logits
    return jnp.mean(jnp.square(output.logits - logits))


LATENT_NOISE = 0.05  # zCR's sigma; the paper has 0.03 to 0.07


def _nearby(context, key):
    """Draw z' = z + noise for each sample."""
    noise = _per_sample(
        lambda key: jax.random.normal(key, context.z.shape[1:], jnp.float32),
        key,
        context.sample_index if context.z_sample_index is None
        else context.z_sample_index,
    )
    return context.z + LATENT_NOISE * noise


def latent_consistency_discriminator(context, memory, key):
    """Make D blind to small changes of z (the half of zCR that D minimises).

    E (D(G(z)) - D(G(z')))^2, z' = z + 0.05 noise. The paper's weight is 5.

    Returns:
        float32 scalar, >= 0; 0 for a constant D.

    References:
        Zhao et al., Improved Consistency Regularization for GANs,
        https://arxiv.org/abs/2002.04724, 2020.
    """
    del memory
    images = jax.lax.stop_gradient(context.generator_fn(_nearby(context, key)))
    logits = context.discriminator_fn(images).logits
    return jnp.mean(jnp.square(context.fake.logits - logits))


def latent_consistency_generator(context, memory, key):
    """Make G answer small changes of z (the half of zCR that G minimises).

    -E ||G(z) - G(z')||^2, the mean over samples of the sum over pixels. The
    paper's weight is 0.5.

    Returns:
        float32 scalar, <= 0; 0 where G ignores z.

    References:
        Zhao et al., Improved Consistency Regularization for GANs,
        https://arxiv.org/abs/2002.04724, 2020.
    """
    del memory
    near = context.generator_fn(_nearby(context, key))
    far = context.generator_fn(context.z)
    return -jnp.mean(_squared_norms(far - near))


def lecam(context, memory, key):
    """Pull D's outputs to the other side's running mean.

    E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2, a_R and a_F exponential moving
    averages (decay 0.99) of D on real and on fake images. This is the paper's
    form. The authors' code has a ReLU inside each square, which StudioGAN took
    over: max(0, D(x) - a_F)^2 and max(0, a_R - D(G(z)))^2 leave out real images
    that D puts below a_F and fakes that it puts above a_R.

    Args:
        context: a `Context`.
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


def _lecam_init(params):
    del params
    return {'real': jnp.float32(0), 'fake': jnp.float32(0)}


def _lecam_update(memory, params, metrics):
    del params
    return {
        'real': 0.99 * memory['real'] + 0.01 * metrics['d/real_logits'],
        'fake': 0.99 * memory['fake'] + 0.01 * metrics['d/fake_logits'],
    }


def drift(context, memory, key):
    """Keep the critic's output on real images from drifting off: E f(x)^2.

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


def orthogonal(context, memory, key):
    """Push the filters of a player towards right angles.

    sum over kernels of ||W^T W * (1 - I)||_F^2, W the kernel as a matrix
    [inputs, filters]: the relaxed form, which leaves norms free. The paper's
    weight is 1e-4. Biases, scales and embeddings are left out.

    Returns:
        float32 scalar, >= 0; 0 where all filters are orthogonal.

    References:
        Brock et al., Large Scale GAN Training for High Fidelity Natural Image
        Synthesis, https://arxiv.org/abs/1809.11096, 2018, equation 3.
    """
    del memory, key
    total = jnp.float32(0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(context.params):
        if path[-1] == jax.tree_util.DictKey('kernel'):
            matrix = leaf.reshape(-1, leaf.shape[-1])
            gram = matrix.T @ matrix
            total += jnp.sum(jnp.square(gram * (1 - jnp.eye(len(gram)))))
    return total


def feature_matching(context, memory, key):
    """Bring the mean of D's features on fakes to that on real images.

    ||E phi(x) - E phi(G(z))||_2^2, phi the last hidden layer of D, means over
    this device's batch. The paper has it in place of G's loss; here it joins
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


def _cross_entropy(class_logits, labels):
    """Average -log softmax(class_logits)[label]."""
    log_shares = jax.nn.log_softmax(class_logits.astype(jnp.float32))
    return -jnp.mean(jnp.take_along_axis(log_shares, labels[:, None], axis=1))


def d_classification(context, memory, key):
    """Let D tell the classes of real images and of fakes asked for by class.

    -E log P(c | x) - E log P(c | G(z, c)), P the softmax of D's class logits.
    The paper's weight is 1.

    Returns:
        float32 scalar, >= 0; 2 ln n where all n class logits are equal.

    References:
        Odena et al., Conditional Image Synthesis With Auxiliary Classifier
        GANs, https://arxiv.org/abs/1610.09585, 2016, equation 3.
    """
    del memory, key
    real = _cross_entropy(context.real.class_logits, context.labels)
    return real + _cross_entropy(context.fake.class_logits, context.labels)


def g_classification(context, memory, key):
    """Make D tell the class that a fake was asked for.

    -E log P(c | G(z, c)). The paper's weight is 1.

    Returns:
        float32 scalar, >= 0; ln n where all n class logits are equal.

    References:
        Odena et al., Conditional Image Synthesis With Auxiliary Classifier
        GANs, https://arxiv.org/abs/1610.09585, 2016, equation 3.
    """
    del memory, key
    return _cross_entropy(context.fake.class_logits, context.labels)


def historical_averaging(context, memory, key):
    """Pull parameters to the mean of their own past.

    ||theta - 1/t sum_{i <= t} theta_i||^2.

    Args:
        context: a `Context`.
        memory: {'mean': pytree like the parameters, 'count': how many}.
        key: unused.

    Returns:
        float32 scalar, >= 0; 0 at the first update.

    References:
        Salimans et al., Improved Techniques for Training GANs,
        https://arxiv.org/abs/1606.03498, 2016, section 3.3.
    """
    del key
    squares = jax.tree.map(
        lambda p, m: jnp.sum(jnp.square(p - m)), context.params, memory['mean']
    )
    return sum(jax.tree.leaves(squares))


def _history_init(params):
    return {
        'mean': jax.tree.map(jnp.copy, params), 'count': jnp.float32(1),
    }


def _history_update(memory, params, metrics):
    del metrics
    count = memory['count'] + 1
    mean = jax.tree.map(
        lambda m, p: m + (p - m) / count, memory['mean'], params
    )
    return {'mean': mean, 'count': count}


PENALTIES = {
    'consistency': Penalty('discriminator', consistency, images=True),
    'consistency_fake': Penalty(
        'discriminator', consistency_fake, images=True
    ),
    'd_classification': Penalty(
        'discriminator', d_classification, classes=True
    ),
    'd_historical_averaging': Penalty(
        'discriminator', historical_averaging,
        _history_init, _history_update,
        title='Historical averaging of D', begin=0.1,
        words="Pulls D's weights to their past mean.",
    ),
    'd_orthogonal': Penalty(
        'discriminator', orthogonal,
        title='Orthogonal D', begin=0.001,
        words="Keeps the columns of D's weights at right angles.",
    ),
    'dragan': Penalty(
        'discriminator', dragan, input_gradient=True,
        title='DRAGAN', begin=10.0,
        words="Holds D's slope near 1 around the real points.",
    ),
    'drift': Penalty(
        'discriminator', drift,
        title='Drift', begin=0.001,
        words="Keeps D's outputs on real points small.",
    ),
    'feature_matching': Penalty(
        'generator', feature_matching,
        title='Feature matching', begin=1.0,
        words="G matches the means of D's last hidden layer.",
    ),
    'g_classification': Penalty(
        'generator', g_classification, classes=True
    ),
    'g_historical_averaging': Penalty(
        'generator', historical_averaging,
        _history_init, _history_update,
        title='Historical averaging of G', begin=0.1,
        words="Pulls G's weights to their past mean.",
    ),
    'g_orthogonal': Penalty(
        'generator', orthogonal,
        title='Orthogonal G', begin=0.001,
        words="The same for G's weights.",
    ),
    'gradient_penalty': Penalty(
        'discriminator', gradient_penalty, input_gradient=True,
        title='Gradient penalty (WGAN-GP)', begin=10.0,
        words='Holds the slope of D between real and generated points near 1.',
    ),
    'gradient_penalty_one_sided': Penalty(
        'discriminator', gradient_penalty_one_sided, input_gradient=True,
        title='One-sided gradient penalty', begin=10.0,
        words='Holds that slope at 1 or below.',
    ),
    'latent_consistency_discriminator': Penalty(
        'discriminator', latent_consistency_discriminator,
        title='Latent consistency of D', begin=1.0,
        words='D should hardly react to small moves of z.',
    ),
    'latent_consistency_generator': Penalty(
        'generator', latent_consistency_generator,
        title='Latent consistency of G', begin=0.1,
        words='G should react to small moves of z.',
    ),
    'lecam': Penalty(
        'discriminator', lecam, _lecam_init, _lecam_update,
        title='LeCam', begin=0.1,
        words="Ties D's outputs to their running averages.",
    ),
    'pulling_away': Penalty(
        'generator', pulling_away,
        title='Pulling away', begin=0.1,
        words="G keeps D's features of its points apart.",
    ),
    'r1': Penalty(
        'discriminator', r1, input_gradient=True,
        title='R1', begin=0.1,
        words="Flattens D's surface at the real points.",
    ),
    'r2': Penalty(
        'discriminator', r2, input_gradient=True,
        title='R2', begin=0.1,
        words="Flattens D's surface at the generated points.",
    ),
    'zero_centered': Penalty(
        'discriminator', zero_centered, input_gradient=True,
        title='Zero-centred penalty', begin=0.1,
        words="Flattens D's surface between both.",
    ),
}
