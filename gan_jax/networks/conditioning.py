"""Class labels in networks: where they enter G and D.

The functions read the fields of the network that calls them in its compact
method, and add nothing to it where its `condition` is another one than theirs.
They must not know of any one network.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers

GENERATOR_CONDITIONS = ('none', 'concat', 'batch_norm')
DISCRIMINATOR_CONDITIONS = ('none', 'concat', 'projection', 'auxiliary')
# A projection would make energies negative.
AUTOENCODER_CONDITIONS = ('none', 'concat', 'auxiliary')
NEED_LABELS = ('concat', 'batch_norm', 'projection')

# An embedding as long as there are classes says all; more is too long.
MAX_EMBEDDING = 128


def check(network, inputs, labels, conditions):
    """Refuse a condition that cannot be met, in one line.

    Args:
        network: module with the fields condition, num_classes and norm.
        inputs: [B, ...].
        labels: [B] int32, or None.
        conditions: those that the network has.

    Raises:
        ValueError: where the condition is unknown, or without classes, labels
            or the norm that it needs.
    """
    condition = network.condition
    where = f'condition={condition!r} of the {type(network).__name__}'
    if condition not in conditions:
        raise ValueError(f'{where} is not one of {list(conditions)}')
    if condition != 'none' and network.num_classes < 1:
        raise ValueError(
            f'{where} needs num_classes >= 1, not {network.num_classes}'
        )
    if condition == 'batch_norm' and network.norm != 'batch':
        raise ValueError(f"{where} needs norm='batch', not {network.norm!r}")
    given = None if labels is None else labels.shape
    if condition in NEED_LABELS and given != inputs.shape[:1]:
        raise ValueError(f'{where} needs labels, one for each sample')


def _normal_embedding(network, size):
    # As large as z and as images in [-1, 1]. Never under spectral norm, which
    # bounds D's slope in the images: n unit rows would all but vanish.
    return nn.Embed(
        network.num_classes, size,
        embedding_init=nn.initializers.normal(1.0),
    )


def concat(network, x, labels):
    """Append an embedding of the label to each sample, for 'concat'.

    For dense layers. The embedding is learned from N(0, 1) and has one number
    for each class, up to `MAX_EMBEDDING`.

    Args:
        network: module with the fields condition and num_classes.
        x: [B, ...] float32.
        labels: [B] int32.

    Returns:
        [B, F + embedding] float32; x itself for another condition.

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
    """Append a map of the label as one more channel, for 'concat'.

    For convolutions. Each class has a learned map of the images' height and
    width, from N(0, 1): a linear layer on the one-hot label.

    Args:
        network: module with the fields condition and num_classes.
        images: [B, H, W, C] float32.
        labels: [B] int32.

    Returns:
        [B, H, W, C + 1] float32; the images for another condition.

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

    gamma_y (x - mean) / sqrt(var + epsilon) + beta_y; statistics are those of
    the whole batch, of all classes, as in plain BatchNorm. Scales start at 1
    and biases at 0.

    Attributes:
        num_classes: rows of the scale and of the bias.
        dtype: dtype of the result; parameters and statistics are float32.
        momentum: share of the past in the running averages.

    References:
        Dumoulin et al., A Learned Representation For Artistic Style,
        https://arxiv.org/abs/1610.07629, 2016; in GANs, Miyato and Koyama,
        cGANs with Projection Discriminator, https://arxiv.org/abs/1802.05637,
        2018.
    """

    num_classes: int
    dtype: Any = jnp.float32
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, labels, *, train):
        """Normalise x: [B, ..., C]; `train` selects the batch's statistics."""
        shape = (self.num_classes, x.shape[-1])
        scale = self.param('scale', nn.initializers.ones, shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, shape, jnp.float32)
        x = layers.batch_norm(
            train=train, momentum=self.momentum, use_scale=False,
            use_bias=False, dtype=jnp.float32,
        )(x)
        rows = (-1, *[1] * (x.ndim - 2), x.shape[-1])  # [B, 1, ..., C]
        # `take` gives NaN for a label that is none, where [] takes another's.
        scale = jnp.take(scale, labels, axis=0).reshape(rows)
        bias = jnp.take(bias, labels, axis=0).reshape(rows)
        return (x * scale + bias).astype(self.dtype)


def norm(network, labels, *, train, momentum=0.9):
    """Give the norm of a network's hidden layers, for 'batch_norm' by class.

    Args:
        network: module with the fields condition, num_classes, norm and dtype.
        labels: [B] int32, or None for another condition.
        train: whether norms take the batch's statistics.
        momentum: share of the past in BatchNorm's running averages.

    Returns:
        Function of x: [B, ..., C] to the same shape; each call is a layer of
        its own.
    """
    if network.condition != 'batch_norm':
        return lambda x: layers.Norm(
            network.norm, dtype=network.dtype, momentum=momentum
        )(x, train=train)
    return lambda x: ConditionalBatchNorm(
        network.num_classes, dtype=network.dtype, momentum=momentum
    )(x, labels, train=train)


def classify(network, features, *, train, **dense):
    """Give logits of the classes, for 'auxiliary'.

    A linear layer on D's features, of spectral norm 1 where the network's
    others are. The label itself is for the loss alone.

    Args:
        network: module with the fields condition, num_classes, spectral_norm
            and dtype.
        features: [B, F].
        train: whether a forward is one of training.
        **dense: further fields of the layer.

    Returns:
        [B, num_classes] float32; None for another condition.

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
    """Give <embedding(label), features>, for 'projection'.

    The embedding has spectral norm 1 where the network's kernels have. Where
    features are not pooled there is an entry for each place and channel; the
    authors sum over places first.

    Args:
        network: module with the fields condition, num_classes and
            spectral_norm.
        features: [B, F].
        labels: [B] int32.
        train: whether a forward is one of training.

    Returns:
        [B] float32, to be added to the logits; None for another condition.

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
    """Give a discriminator's `Output` from its last hidden layer.

    Args:
        network: module with the fields condition, num_classes, spectral_norm
            and dtype.
        features: [B, F].
        labels: [B] int32, or None where the condition needs none.
        train: whether a forward is one of training.
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
