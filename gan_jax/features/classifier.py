"""A small image classifier, and the classification accuracy score (CAS).

Its features know the classes of the data, and it trains in seconds. This
module knows no files; `classifier_cache.py` keeps trained classifiers.
"""

import contextlib
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from gan_jax.algorithms import algorithm
from gan_jax.core import errors
from gan_jax.features import batches
from gan_jax.features import check_inputs

VERSION = 1  # increase it if equal settings and data give another network
BATCH = 128  # images in a batch of inference
WAIT_EVERY = 16  # steps between waits for the device; bounds queued batches


class Settings(NamedTuple):
    """Settings of the network and its training.

    Attributes:
        steps: updates; 0 for `EPOCHS` epochs, clipped to the range `STEPS`.
        batch_size: images per update.
        learning_rate: of Adam at the start; cosine decay to 0.
        width: channels of the first convolution; the others have twice as many.
        num_features: units of the last hidden layer.
        held_out: share of the images that is held out to measure the accuracy
            if there is no test split.
        seed: of the weights, the order, the shifts and the held-out part.
    """

    steps: int = 0
    batch_size: int = 128
    learning_rate: float = 2e-3
    width: int = 32
    num_features: int = 128
    held_out: float = 0.1
    seed: int = 0


EPOCHS = 60
STEPS = (600, 2400)
ADAM = optax.scale_by_adam()


class Output(NamedTuple):
    """Output of the network: features [B, F] and logits [B, K], float32."""

    features: jax.Array
    logits: jax.Array


class Network(nn.Module):
    """Convolutions down to 4 x 4 pixels, a hidden layer and class logits.

    Attributes:
        num_classes: K.
        width, num_features: as in `Settings`.
    """

    num_classes: int
    width: int = 32
    num_features: int = 128

    @nn.compact
    def __call__(self, images):
        """Map [B, H, W, C] float32 in [-1, 1] to an `Output`."""
        # Full float32 on accelerators too, for the same features as on a CPU.
        exact = {'precision': lax.Precision.HIGHEST}
        x = images
        for number, stride in enumerate(_strides(images.shape[1:3])):
            size = 3 if number else 5
            x = nn.relu(nn.Conv(
                self.width * (2 if number else 1), (size, size), stride,
                kernel_init=nn.initializers.he_normal(), **exact,
            )(x))
        x = nn.Dense(
            self.num_features, kernel_init=nn.initializers.he_normal(), **exact
        )(x.reshape(len(x), -1))
        features = nn.relu(x)
        return Output(features, nn.Dense(self.num_classes, **exact)(features))


def _strides(sides):
    """List the stride of each convolution: 28 -> 2, 2, 2; 8 -> 1, 2."""
    side, halvings = max(sides), 0
    while side > 4:
        side, halvings = -(-side // 2), halvings + 1
    return [1] * (2 - halvings) + [2] * halvings


@functools.partial(jax.jit, static_argnums=0)
def apply(network, variables, images):
    """Apply a `Network` to images [B, H, W, C], uint8 or float in [-1, 1]."""
    return network.apply(variables, algorithm.to_unit_range(images))


class Labelled(NamedTuple):
    """Images [N, H, W, C], uint8 or float in [-1, 1], and labels int32 [N]."""

    images: Any
    labels: np.ndarray


def labelled(images, labels, classes=()):
    """Check that a classifier can be trained on images with labels.

    Args:
        images: [N, H, W, C] uint8, or float in [-1, 1]; an array, or an object
            that returns arrays when sliced or indexed.
        labels: [N] integers from 0.
        classes: names of the classes; () if they have none.

    Returns:
        `Labelled`.

    Raises:
        errors.DataError: if not, in particular for fewer than two classes.
    """
    others = (
        "; 'efficientnet_lite0', 'inception', 'pixels' and 'random' need no "
        'labels'
    )
    if images is None or labels is None:
        raise errors.DataError(f'a classifier needs labelled images{others}')
    if np.ndim(images) != 4:
        raise errors.DataError(
            'a classifier needs images [N, H, W, C], not data of shape '
            f"{list(np.shape(images))}; 'pixels' takes any"
        )
    check_inputs.checked(images[:1])
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in 'iu':
        raise errors.DataError(
            f'labels are {labels.dtype} {list(labels.shape)}; they must be '
            f'integers [{len(images)}], one for each image'
        )
    present = np.unique(labels)
    if len(present) < 2:
        raise errors.DataError(
            f'a classifier needs images of 2 classes or more, and these have '
            f'{len(present)}{others}'
        )
    if present[0] < 0 or (classes and present[-1] >= len(classes)):
        raise errors.DataError(
            f'labels from {present[0]} to {present[-1]} are not indices of '
            f'{len(classes) or "any"} classes'
        )
    return Labelled(images, labels.astype(np.int32))


def tested(data, images, labels):
    """Check that images with labels can test a classifier.

    Args:
        data: `Labelled`, the training data.
        images, labels: as in `labelled`, of any number of classes.

    Returns:
        `Labelled`.

    Raises:
        errors.DataError: if shapes or types do not fit.
    """
    labels = np.asarray(labels)
    shape = tuple(np.shape(images))
    if not len(images) or shape[1:] != tuple(data.images.shape[1:]):
        raise errors.DataError(
            f'test images have shape {list(shape)}, training images '
            f'{list(data.images.shape)}'
        )
    if labels.shape != shape[:1] or labels.dtype.kind not in 'iu':
        raise errors.DataError(
            f'test labels are {labels.dtype} {list(labels.shape)}; they must '
            f'be integers [{shape[0]}]'
        )
    return Labelled(images, labels.astype(np.int32))


def split(data, share, seed):
    """Split images at random into a training and a held-out part.

    Args:
        data: `Labelled`, 2 images or more.
        share: of the held-out part, in (0, 1); no part is empty.
        seed: of the split.

    Returns:
        (indices to train on, indices held out), both int64 and increasing.
    """
    count = len(data.labels)
    held_out = min(max(round(share * count), 1), count - 1)
    order = np.random.RandomState(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def train(network, data, settings, places=None, progress=None):
    """Train a network; equal arguments give equal bits on one machine.

    Adam on the cross-entropy; each image once per epoch, shifted by up to a
    twelfth of its longer side.

    Args:
        network: a `Network`.
        data: `Labelled`.
        settings: `Settings`.
        places: int64 [n], indices of the images to train on; None for all.
        progress: function of (steps done, number of steps); None shows a
            progress bar on terminals.

    Returns:
        The variables, on the device.
    """
    if places is None:
        places = np.arange(len(data.labels))
    steps = num_steps(len(places), settings)
    shape = (1, *data.images.shape[1:])
    variables = network.init(jax.random.key(settings.seed), jnp.zeros(shape))
    opt_state = ADAM.init(variables)
    random = np.random.RandomState(settings.seed)
    order = _order(random, places, settings.batch_size)
    with _progress(progress, steps) as report:
        for step, indices in zip(range(steps), order):
            decay = (1 + np.cos(np.pi * step / steps)) / 2
            variables, opt_state = _update(
                network, variables, opt_state,
                np.float32(decay * settings.learning_rate),
                _shift(random, check_inputs.checked(data.images[indices])),
                data.labels[indices],
            )
            if (step + 1) % WAIT_EVERY == 0 or step + 1 == steps:
                jax.block_until_ready(variables)
                report(step + 1)
    return variables


def num_steps(count, settings):
    """Compute the number of updates: `EPOCHS` epochs, clipped to `STEPS`."""
    epochs = EPOCHS * count // settings.batch_size
    return settings.steps or min(max(epochs, STEPS[0]), STEPS[1])


@functools.partial(jax.jit, static_argnums=0)
def _update(network, variables, opt_state, learning_rate, images, labels):
    def loss_fn(variables):
        inputs = algorithm.to_unit_range(images)
        logits = network.apply(variables, inputs).logits
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, labels
        ).mean()

    grads = jax.grad(loss_fn)(variables)
    updates, opt_state = ADAM.update(grads, opt_state)
    return jax.tree.map(
        lambda value, update: value - learning_rate * update, variables, updates
    ), opt_state


def _order(random, places, size):
    """Yield indices [size] without end; each occurs once per epoch."""
    queue = np.empty(0, np.int64)
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, random.permutation(places)])
        yield queue[:size]
        queue = queue[size:]


def _shift(random, images):
    """Shift each image at random by whole pixels; the border is repeated."""
    count, height, width, _ = images.shape
    reach = max(1, round(max(height, width) / 12))
    down, right = random.randint(-reach, reach + 1, (2, count, 1))
    rows = (np.arange(height) + down).clip(0, height - 1)
    columns = (np.arange(width) + right).clip(0, width - 1)
    number = np.arange(count)[:, None, None]
    return images[number, rows[:, :, None], columns[:, None]]


@contextlib.contextmanager
def _progress(progress, total):
    """Yield a function of steps done that calls `progress` or moves a bar."""
    if progress is not None:
        yield lambda done: progress(done, total)
        return
    with tqdm(
            total=total, desc='Training the classifier', unit='step', delay=1,
            leave=False, disable=None,  # off if there is no terminal
    ) as bar:
        yield lambda done: bar.update(done - bar.n)


def accuracy(network, variables, data, places=None):
    """Compute the accuracy of a network on labelled images.

    Args:
        network: a `Network`.
        variables: its parameters.
        data: `Labelled`.
        places: int64 [n], indices of the images; None for all.

    Returns:
        float in [0, 1].
    """
    if places is None:
        places = np.arange(len(data.labels))
    correct = 0
    for start in range(0, len(places), BATCH):
        indices = places[start:start + BATCH]
        output = batches.extract(
            functools.partial(apply, network, variables), data.images[indices],
            BATCH,
        )
        correct += (output.logits.argmax(1) == data.labels[indices]).sum()
    return float(correct / len(places))


def classifier_accuracy(
    fake_images, fake_labels, real_images, real_labels, seed=0,
    *, settings=Settings(), progress=None,
):
    """Compute the classification accuracy score (CAS) of labelled fakes.

    Trains the classifier on the fakes and measures its accuracy on real images.
    The score depends on the number of images, the network and its training:
    compare it with the accuracy after training on as many real images, which a
    generator reaches if it knows the classes and their variety.

    Differs from the paper: this small network replaces a ResNet-50, shifts are
    the only augmentation, and floats are not rounded to 8 bits.

    Args:
        fake_images: [N, H, W, C] uint8, or float in [-1, 1].
        fake_labels: [N] integers, the classes that were requested.
        real_images: [M, H, W, C], held out from the generator's training.
        real_labels: [M] integers.
        seed: of the classifier's training.
        settings: `Settings`; its seed is not used.
        progress: as in `train`.

    Returns:
        float in [0, 1], the accuracy on the real images.

    Raises:
        errors.DataError: as in `labelled`, or for images of two shapes.

    References:
        Ravuri and Vinyals, Classification Accuracy Score for Conditional
        Generative Models, https://arxiv.org/abs/1905.10887, 2019.
    """
    fakes = labelled(fake_images, fake_labels)
    real = tested(fakes, real_images, real_labels)
    num_classes = 1 + int(max(fakes.labels.max(), real.labels.max()))
    network = Network(num_classes, settings.width, settings.num_features)
    settings = settings._replace(seed=seed)
    variables = train(network, fakes, settings, progress=progress)
    return accuracy(network, variables, real)
