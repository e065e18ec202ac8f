"""Layers that the networks share."""

import functools
import math
from typing import Any, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks import convolutions

# The initialisation of Radford et al., https://arxiv.org/abs/1511.06434, 2015,
# section 4: every weight from N(0, 0.02^2).
dcgan_init = nn.initializers.normal(0.02)

NORMS = ('batch', 'group', 'instance', 'layer', 'none')
NARROW = 4  # longest short side that is taken apart
EPSILON = 1e-12  # a vector shorter than this has no direction


class Output(NamedTuple):
    """What every discriminator returns.

    Attributes:
        logits: [B] float32, never probabilities; or a map of them [B, ...],
            each about a part of the sample, whose mean over the batch and the
            map is what losses take. For people a sample's logit is the mean of
            its map.
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
        use_bias: whether a bias is added.
        dtype: dtype of the computation; parameters are float32.
        kernel_init: initialiser of the kernel.
    """

    features: int
    kernel_size: Tuple[int, int]
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Any = dcgan_init

    @nn.compact
    def __call__(self, images):
        """Map [B, H, W, C] to [B, 2H, 2W, features]."""
        shape = (*self.kernel_size, images.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, shape, jnp.float32)
        images = convolutions.conv_transpose(
            images.astype(self.dtype), kernel.astype(self.dtype)
        )
        if self.use_bias:
            bias = self.param(
                'bias', nn.initializers.zeros, (self.features,), jnp.float32
            )
            images = images + bias.astype(self.dtype)
        return images


def narrow_dot(x, kernel, *args, **kwargs):
    """Multiply by a matrix with a short side, piece by piece along that side.

    A `dot_general` for `flax.linen.Dense`. On CPU the gradients of a product
    with a side of 2 miss XLA's fast path: in a step on points, that of
    [1024, 2] by [2, 128] takes a tenth of the time.

    Args:
        x: [B, F].
        kernel: [F, n]; F or n is small.
        args, kwargs: of `jax.lax.dot_general`, as `Dense` gives them; not used.

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
    """Give the options of a dense layer of these sizes on this backend."""
    narrow = min(inputs, features) <= NARROW
    if narrow and jax.default_backend() == 'cpu':
        return {'dot_general': narrow_dot}
    return {}


def batch_norm(*, train, momentum=0.9, **fields):
    """Make the BatchNorm of all networks: momentum 0.9, epsilon 1e-5."""
    return nn.BatchNorm(
        use_running_average=not train, momentum=momentum, epsilon=1e-5,
        **fields,
    )


class Norm(nn.Module):
    """Normalise by name, so that a config can choose.

    Batch statistics are those of one device's part of the batch.

    Attributes:
        kind: one of `NORMS`; 'none' returns the input.
        dtype: dtype of the result; statistics are float32.
        momentum: share of the past in the running averages of 'batch'.
    """

    kind: str
    dtype: Any = jnp.float32
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train):
        """Normalise x: [B, ..., C]; `train` selects the batch's statistics."""
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


def _unit(x, otherwise):
    """Give x / ||x||_2, or `otherwise` where x is as good as 0."""
    norm = jnp.linalg.norm(x)
    return jnp.where(norm > EPSILON, x / jnp.maximum(norm, EPSILON), otherwise)


def _power_iteration(matrix, u, v):
    """Turn u and v towards the first singular pair of matrix: [n, m].

    v <- W u / ||W u||_2, u <- W^T v / ||W^T v||_2; a vector whose product is 0
    stays as it was, so that a kernel of zeros leaves both usable.

    Returns:
        u: [m] and v: [n], float32 and of length 1.
    """
    v = _unit(jnp.matmul(matrix, u, precision='highest'), v)
    u = _unit(jnp.matmul(v, matrix, precision='highest'), u)
    return u, v


class SpectralNorm(nn.Module):
    """Wrap a layer so that its kernels have spectral norm 1.

    W / sigma(W), sigma(W) = v^T W u, for every parameter of the layer that has
    two or more axes, as a matrix [-1, features]. One power iteration for each
    training forward; none at evaluation, where the stored u and v serve. They
    are in the collection 'spectral', in float32, and are constants to the
    gradient, which goes through W alone, in both of its places. Where the
    collection is not mutable a training forward iterates and forgets.

    Parameters have the names and, for equal keys, the values that they have
    without the wrapper. Differs from flax's `nn.SpectralNorm`, which iterates
    at evaluation too.

    Attributes:
        layer: a module of one argument with no collection but 'params'.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, algorithm 1.
    """

    layer: nn.Module

    @nn.compact
    def __call__(self, x, *, train):
        """Apply the layer to x: [B, ...]; `train` selects the iteration."""
        if self.is_initializing():
            self.layer(x)  # draws the parameters
        params = jax.tree_util.tree_map_with_path(
            functools.partial(self._normalise, train=train),
            self.layer.variables['params'],
        )
        # A copy without a parent takes the quotients; the layer itself keeps
        # the parameters that are trained.
        return self.layer.clone(parent=None).apply({'params': params}, x)

    def _normalise(self, path, kernel, *, train):
        """Divide one parameter by its norm, if it is a matrix or more."""
        if kernel.ndim < 2:
            return kernel
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
        constant = jax.lax.stop_gradient(matrix)  # so u and v are constants too
        name = jax.tree_util.keystr(path, simple=True, separator='.')
        pair = self.variable('spectral', name, self._draw, constant)
        u, v = pair.value['u'], pair.value['v']
        if train and not self.is_initializing():
            u, v = _power_iteration(constant, u, v)
            if self.is_mutable_collection('spectral'):
                pair.value = {'u': u, 'v': v}
        sigma = jnp.dot(v, jnp.matmul(matrix, u, precision='highest'))
        return kernel / jnp.where(sigma > 0, sigma, 1)  # zeros stay zeros

    def _draw(self, matrix):
        """Draw u as a direction; v is what the matrix makes of it."""
        rows, columns = matrix.shape
        u = jax.random.normal(self.make_rng('params'), (columns,))
        u = u / jnp.linalg.norm(u)
        v = jnp.matmul(matrix, u, precision='highest')
        return {'u': u, 'v': _unit(v, jnp.full((rows,), rows**-0.5))}


def wrapper(spectral_norm, *, train):
    """Give what a network puts around each of its layers that has a kernel.

    Args:
        spectral_norm: whether the layers have spectral norm 1.
        train: whether a forward is one of training.

    Returns:
        Function of a module to a function of x; the module itself where
        `spectral_norm` is False.
    """
    if not spectral_norm:
        return lambda layer: layer
    return lambda layer: functools.partial(SpectralNorm(layer), train=train)
