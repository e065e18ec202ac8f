"""Class conditioning of generators and discriminators.

Networks call these functions in their compact methods. Each function reads the
fields of the network and adds layers to it only if the network's `condition` is
the one that it implements. The functions know no specific network.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers

GENERATOR_CONDITIONS = ('none', 'concat', 'batch_norm')
DISCRIMINATOR_CONDITIONS = ('none', 'concat', 'projection', 'auxiliary')
# Without 'projection', which would make energies negative.
AUTOENCODER_CONDITIONS = ('none', 'concat', 'auxiliary')
NEED_LABELS = ('concat', 'batch_norm', 'projection')

# An embedding has one number per class, up to this length.
MAX_EMBEDDING = 128


def check(network, inputs, labels, conditions):
    """Check that a network's condition is supported and has what it needs.

    Args:
        network: module with the fields condition, num_classes and norm.
        inputs: [B, ...].
        labels: [B] int32, or None.
        conditions: the conditions that the network supports.

    Raises:
        ValueError: if the condition is unknown, or lacks the classes, labels or
            norm that it needs.
    """
    condition = network.condition
    name = f'condition={condition!r} of the {type(network).__name__}'
    if condition not in conditions:
        raise ValueError(f'{name} is not one of {list(conditions)}')
    if condition != 'none' and network.num_classes < 1:
        raise ValueError(
            f'{name} needs num_classes >= 1, not {network.num_classes}'
        )
    if condition == 'batch_norm' and network.norm != 'batch':
        raise ValueError(f"{name} needs norm='batch', not {network.norm!r}")
    shape = None if labels is None else labels.shape
    if condition in NEED_LABELS and shape != inputs.shape[:1]:
        raise ValueError(f'{name} needs labels, one for each sample')


def _normal_embedding(network, size):
    """Return an embedding of the labels, initialised from N(0, 1).

    Its values are as large as those of z and of images in [-1, 1]. It has no
    spectral norm, which is meant to bound D's slope in the images and would
    make the values of an embedding with many rows very small.
    """
    return nn.Embed(
        network.num_classes, size,
        embedding_init=nn.initializers.normal(1.0),
    )


def concat(network, x, labels):
    """Concatenate an embedding of the label to each sample, for 'concat'.

    For dense layers. The embedding is trained, starts from N(0, 1), and has one
    number per class, up to `MAX_EMBEDDING`.

    Args:
        network: module with the fields condition and num_classes.
        x: [B, ...] float32.
        labels: [B] int32.

    Returns:
        [B, F + embedding] float32; x itself for other conditions.

    References:
        Mirza and Osindero, Conditional Generative Adversarial Nets,
        https://arxiv.org/abs/1411.1784, 2014.
    """
    if network.condition != 'concat':
        return x
    size = min(network.num_classes, MAX_EMBEDDING)
    embedded = _normal_embedding(network, size)(labels)
    return jnp.concatenate([x.reshape(x.shape[0], -1), embedded], axis=1)


def concat_map(network, images, labels):
    """Concatenate a map of the label as an additional channel, for 'concat'.

    For convolutions. Each class has a trained map of the images' height and
    width, starting from N(0, 1): a linear layer of the one-hot label.

    Args:
        network: module with the fields condition and num_classes.
        images: [B, H, W, C] float32.
        labels: [B] int32.

    Returns:
        [B, H, W, C + 1] float32; the images for other conditions.

    References:
        Mirza and Osindero, Conditional Generative Adversarial Nets,
        https://arxiv.org/abs/1411.1784, 2014; Denton et al., Deep Generative
        Image Models using a Laplacian Pyramid of Adversarial Networks,
        https://arxiv.org/abs/1506.05751, 2015, for the map.
    """
    if network.condition != 'concat':
        return images
    _, height, width, _ = images.shape
    maps = _normal_embedding(network, height * width)(labels)
    maps = maps.reshape(-1, height, width, 1)
    return jnp.concatenate([images, maps], axis=3)


class ConditionalBatchNorm(nn.Module):
    """BatchNorm with a scale and a bias for each class.

    gamma_y (x - mean) / sqrt(var + epsilon) + beta_y. The statistics are those
    of the whole batch, over all classes, as in BatchNorm. Scales start at 1 and
    biases at 0.

    Attributes:
        num_classes: rows of the scale and of the bias.
        dtype: dtype of the result; parameters and statistics are float32.
        momentum: decay of the running averages.

    References:
        Dumoulin et al., A Learned Representation For Artistic Style,
        https://arxiv.org/abs/1610.07629, 2016; in GANs, Miyato and Koyama,
        cGANs with Projection Discriminator, https://arxiv.org/abs/1802.05637,
        2018.
    """

    num_classes: int
    dtype: Any = jnp.float32
    momentum: float = layers.MOMENTUM

    @nn.compact
    def __call__(self, x, labels, *, train):
        """Normalize x: [B, ..., C]; `train` selects the batch's statistics."""
        shape = (self.num_classes, x.shape[-1])
        scale = self.param('scale', nn.initializers.ones, shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, shape, jnp.float32)
        x = layers.batch_norm(
            train=train, momentum=self.momentum, use_scale=False,
            use_bias=False, dtype=jnp.float32,
        )(x)
        rows = (-1, *[1] * (x.ndim - 2), x.shape[-1])  # [B, 1, ..., C]
        # `take` returns NaN for an invalid label; indexing, another row.
        scale = jnp.take(scale, labels, axis=0).reshape(rows)
        bias = jnp.take(bias, labels, axis=0).reshape(rows)
        return (x * scale + bias).astype(self.dtype)


def norm(network, labels, *, train, momentum=layers.MOMENTUM):
    """Return the norm of a network's hidden layers; by class for 'batch_norm'.

    Args:
        network: module with the fields condition, num_classes, norm and dtype.
        labels: [B] int32, or None for other conditions.
        train: whether norms use the statistics of the batch.
        momentum: decay of BatchNorm's running averages.

    Returns:
        Function of x: [B, ..., C] to the same shape; each call creates a new
        layer.
    """
    if network.condition != 'batch_norm':
        return lambda x: layers.Norm(
            network.norm, dtype=network.dtype, momentum=momentum
        )(x, train=train)
    return lambda x: ConditionalBatchNorm(
        network.num_classes, dtype=network.dtype, momentum=momentum
    )(x, labels, train=train)


def classify(network, features, *, train, **dense):
    """Compute class logits, for 'auxiliary'.

    A linear layer of D's features, with spectral norm 1 if the network's other
    layers have it. The label itself is used by the loss only.

    Args:
        network: module with the fields condition, num_classes, spectral_norm
            and dtype.
        features: [B, F].
        train: whether the forward pass is one of training.
        **dense: further fields of the layer.

    Returns:
        [B, num_classes] float32; None for other conditions.

    References:
        Odena et al., Conditional Image Synthesis With Auxiliary Classifier
        GANs, https://arxiv.org/abs/1610.09585, 2016.
    """
    if network.condition != 'auxiliary':
        return None
    wrap = layers.wrapper(network.spectral_norm, train=train)
    class_logits = wrap(nn.Dense(
        network.num_classes, dtype=network.dtype, **dense
    ))(features)
    return class_logits.astype(jnp.float32)


def project(network, features, labels, *, train):
    """Compute <embedding(label), features>, for 'projection'.

    The embedding has spectral norm 1 if the network's kernels have it. If the
    features are not pooled, it has an entry per pixel and channel; the authors
    sum over pixels first.

    Args:
        network: module with the fields condition, num_classes and
            spectral_norm.
        features: [B, F].
        labels: [B] int32.
        train: whether the forward pass is one of training.

    Returns:
        [B] float32, to be added to the logits; None for other conditions.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator,
        https://arxiv.org/abs/1802.05637, 2018, equation 3.
    """
    if network.condition != 'projection':
        return None
    wrap = layers.wrapper(network.spectral_norm, train=train)
    embedded = wrap(nn.Embed(network.num_classes, features.shape[1]))(labels)
    return jnp.sum(embedded * features.astype(jnp.float32), axis=1)


def head(network, features, labels, *, train, **dense):
    """Compute a discriminator's `Output` from its last hidden layer.

    Args:
        network: module with the fields condition, num_classes, spectral_norm
            and dtype.
        features: [B, F].
        labels: [B] int32, or None if the condition needs none.
        train: whether the forward pass is one of training.
        **dense: further fields of its linear layers.

    Returns:
        `layers.Output`.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    logits = wrap(nn.Dense(1, dtype=network.dtype, **dense))(features)
    logits = logits[:, 0].astype(jnp.float32)
    projection = project(network, features, labels, train=train)
    if projection is not None:
        logits = logits + projection
    return layers.Output(
        logits=logits,
        features=features,
        class_logits=classify(network, features, train=train, **dense),
    )
