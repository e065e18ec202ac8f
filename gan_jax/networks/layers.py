"""Layers shared by the networks: normalisation, spectral norm, transposes.

This module knows no specific network.
"""

import functools
import math
from typing import Any, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks import convolutions

# DCGAN's initialisation: N(0, 0.02^2). Radford et al.,
# https://arxiv.org/abs/1511.06434, 2015, section 4.
dcgan_init = nn.initializers.normal(0.02)

NORMS = ('batch', 'group', 'instance', 'layer', 'none')
MOMENTUM = 0.9  # decay of BatchNorm's running statistics
NARROW = 4  # largest short side of a matrix for `narrow_dot`
EPSILON = 1e-12  # shorter vectors are treated as 0


class Output(NamedTuple):
    """The output of a discriminator.

    Attributes:
        logits: [B] float32, never probabilities; or a map of logits [B, ...],
            each of a part of the sample. Losses average over the batch and the
            map. The logit of a sample is the mean of its map.
        features: [B, F], the last hidden layer.
        class_logits: [B, num_classes] float32, or None.
    """

    logits: jax.Array
    features: jax.Array
    class_logits: Optional[jax.Array] = None


class ConvTranspose(nn.Module):
    """`flax.linen.ConvTranspose` of stride 2: same parameters, faster on CPU.

    Attributes:
        features: channels of the output.
        kernel_size: (kh, kw), each at least 2.
        use_bias: whether to add a bias.
        dtype: dtype of the computation; parameters are float32.
        kernel_init: initialiser of the kernel.
        conv_transpose: function of (images, kernel).
    """

    features: int
    kernel_size: Tuple[int, int]
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Any = dcgan_init
    conv_transpose: Any = convolutions.conv_transpose

    @nn.compact
    def __call__(self, images):
        """Upsample [B, H, W, C] to [B, 2H, 2W, features]."""
        shape = (*self.kernel_size, images.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, shape, jnp.float32)
        images = self.conv_transpose(
            images.astype(self.dtype), kernel.astype(self.dtype)
        )
        if self.use_bias:
            bias = self.param(
                'bias', nn.initializers.zeros, (self.features,), jnp.float32
            )
            images = images + bias.astype(self.dtype)
        return images


def narrow_dot(x, kernel, *args, **kwargs):
    """Compute x @ kernel for a narrow matrix, one column or row at a time.

    A `dot_general` for `flax.linen.Dense`. On CPU, the gradients of a product
    with a side of 2 miss XLA's fast path. In a step on points, this form of
    [1024, 2] by [2, 128] takes a tenth of the time.

    Args:
        x: [B, F].
        kernel: [F, n]; F or n is small.
        args, kwargs: further arguments of `jax.lax.dot_general`; unused.

    Returns:
        [B, n].
    """
    del args, kwargs
    inputs, features = kernel.shape
    if features <= inputs:
        columns = [x @ kernel[:, column] for column in range(features)]
        return jnp.stack(columns, -1)
    return sum(
        x[:, row:row + 1] @ kernel[row:row + 1] for row in range(inputs)
    )


def dense_options(inputs, features):
    """Return the fields of a `Dense` of these sizes that is fast here."""
    narrow = min(inputs, features) <= NARROW
    if narrow and jax.default_backend() == 'cpu':
        return {'dot_general': narrow_dot}
    return {}


def batch_norm(*, train, momentum=MOMENTUM, **fields):
    """Return the BatchNorm of all networks: epsilon 1e-5."""
    return nn.BatchNorm(
        use_running_average=not train, momentum=momentum, epsilon=1e-5,
        **fields,
    )


class Norm(nn.Module):
    """A normalisation layer that is selected by name.

    Batch statistics are computed on each device's share of the batch.

    Attributes:
        kind: one of `NORMS`; 'none' is the identity.
        dtype: dtype of the result; statistics are float32.
        momentum: decay of the running averages of 'batch'.
    """

    kind: str
    dtype: Any = jnp.float32
    momentum: float = MOMENTUM

    @nn.compact
    def __call__(self, x, *, train):
        """Normalize x: [B, ..., C]; `train` selects the batch's statistics."""
        if self.kind == 'none':
            return x
        if self.kind == 'batch':
            return batch_norm(
                train=train, momentum=self.momentum, dtype=self.dtype
            )(x)
        if self.kind == 'layer':  # over height, width and channels
            axes = tuple(range(1, x.ndim))
            return nn.LayerNorm(reduction_axes=axes, dtype=self.dtype)(x)
        channels = x.shape[-1]
        groups = channels if self.kind == 'instance' else math.gcd(32, channels)
        return nn.GroupNorm(num_groups=groups, dtype=self.dtype)(x)


def instance_norm(x, *, epsilon=1e-5):
    """Normalize each channel of each sample, without a scale or a bias.

    (x - mean) / sqrt(var + epsilon), mean and variance over height and width,
    in training as in evaluation.

    Args:
        x: [B, H, W, C].
        epsilon: Python float.

    Returns:
        Array of the shape and dtype of x, computed in float32.

    References:
        Ulyanov et al., Instance Normalization: The Missing Ingredient for Fast
        Stylization, https://arxiv.org/abs/1607.08022, 2016.
    """
    centred = x.astype(jnp.float32)
    centred = centred - centred.mean((1, 2), keepdims=True)
    variance = jnp.square(centred).mean((1, 2), keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon)).astype(x.dtype)


def _unit(x, default):
    """Return x / ||x||_2, or `default` if x is nearly 0."""
    norm = jnp.linalg.norm(x)
    return jnp.where(norm > EPSILON, x / jnp.maximum(norm, EPSILON), default)


def _power_iteration(matrix, u, v):
    """Apply one power iteration for the first singular pair of matrix: [n, m].

    v <- W u / ||W u||_2, u <- W^T v / ||W^T v||_2. A vector whose product is 0
    is unchanged, so that both stay unit vectors for a kernel of zeros.

    Returns:
        u: [m] and v: [n], float32 and of length 1.
    """
    v = _unit(jnp.matmul(matrix, u, precision='highest'), v)
    u = _unit(jnp.matmul(v, matrix, precision='highest'), u)
    return u, v


class SpectralNorm(nn.Module):
    """A layer whose kernels are divided by their spectral norm.

    W / sigma(W), sigma(W) = v^T W u, for every parameter of the layer with two
    or more axes, as a matrix [-1, features]. Each forward pass in training does
    one power iteration; evaluation uses the stored u and v. They are in the
    collection 'spectral', in float32, and constant under differentiation: the
    gradient passes through both occurrences of W only. If the collection is not
    mutable, a forward pass in training does not store the new u and v.

    Parameters have the same names and, for equal keys, the same initial values
    as without the wrapper. Differs from flax's `nn.SpectralNorm`, which
    iterates in evaluation too.

    The vectors of a kernel are named after layer and parameter, as in
    'SpectralNorm_0/Conv_0.kernel/u'.

    Attributes:
        layer: a module of one argument with no collection but 'params'.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, algorithm 1.
    """

    layer: nn.Module

    @nn.compact
    def __call__(self, x, *, train):
        """Apply the layer to x: [B, ...]; `train` enables the iteration."""
        if self.is_initializing():
            self.layer(x)  # initialises the parameters
        params = jax.tree_util.tree_map_with_path(
            functools.partial(self._normalise, train=train),
            self.layer.variables['params'],
        )
        # The quotients are passed to a copy without a parent; the layer itself
        # keeps the trained parameters.
        return self.layer.clone(parent=None).apply({'params': params}, x)

    def _normalise(self, path, kernel, *, train):
        """Normalize one parameter, if it has two or more axes."""
        if kernel.ndim < 2:
            return kernel
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
        constant = jax.lax.stop_gradient(matrix)  # so are u and v
        name = jax.tree_util.keystr(path, simple=True, separator='.')
        name = f'{self.layer.name}.{name}'
        pair = self.variable('spectral', name, self._draw, constant)
        u, v = pair.value['u'], pair.value['v']
        if train and not self.is_initializing():
            u, v = _power_iteration(constant, u, v)
            if self.is_mutable_collection('spectral'):
                pair.value = {'u': u, 'v': v}
        sigma = jnp.dot(v, jnp.matmul(matrix, u, precision='highest'))
        return kernel / jnp.where(sigma > 0, sigma, 1)  # 0 for a zero kernel

    def _draw(self, matrix):
        """Sample a unit vector u; v is the normalised product with it."""
        rows, columns = matrix.shape
        u = jax.random.normal(self.make_rng('params'), (columns,))
        u = u / jnp.linalg.norm(u)
        v = jnp.matmul(matrix, u, precision='highest')
        return {'u': u, 'v': _unit(v, jnp.full((rows,), rows**-0.5))}


def conv(
    network, x, features, size, *, kernel_init, train,
    convolve=convolutions.conv_general_dilated,
):
    """Apply a convolution of size x size, with spectral norm if enabled.

    Args:
        network: module with the fields `spectral_norm` and `dtype`.
        x: [B, H, W, C].
        features: number of output channels.
        size: side of the kernel.
        kernel_init: initialiser of the kernel.
        train: whether the network is trained.
        convolve: function of the form of `jax.lax.conv_general_dilated`.
    """
    wrap = wrapper(network.spectral_norm, train=train)
    return wrap(nn.Conv(
        features,
        (size, size),
        dtype=network.dtype,
        kernel_init=kernel_init,
        conv_general_dilated=convolve,
    ))(x)


def wrapper(spectral_norm, *, train):
    """Return the function that adds spectral norm to a layer, if enabled.

    Args:
        spectral_norm: whether the layers have spectral norm 1.
        train: whether the forward pass is one of training.

    Returns:
        Function of a module to a function of x; to the module itself if
        `spectral_norm` is False.
    """
    if not spectral_norm:
        return lambda layer: layer
    return lambda layer: functools.partial(SpectralNorm(layer), train=train)


def last_kernel(module, inputs):
    """Find the kernel of the last layer of a network.

    Args:
        module: flax module, (inputs, train) -> outputs.
        inputs: array or `jax.ShapeDtypeStruct`.

    Returns:
        Path of the parameter in `params`, a tuple of names: of those with two
        axes or more, the one that is created last. () if there is none.
    """
    paths = []

    def init(key, inputs):
        params = module.init(key, inputs, train=False).get('params', {})
        # Here the order is that of creation; outside it is alphabetical.
        paths.extend(_kernels(params, ()))

    jax.eval_shape(init, jax.random.key(0), inputs)
    return paths[-1] if paths else ()


def _kernels(params, path):
    """Yield the paths of parameters with two axes or more, in their order."""
    for name, value in params.items():
        if isinstance(value, dict):
            yield from _kernels(value, (*path, name))
        elif value.ndim > 1:
            yield (*path, name)
