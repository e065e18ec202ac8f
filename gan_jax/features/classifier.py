"""A small classifier of labelled images, and the score of training it on fakes.

`classifier_cache.py` keeps those that were trained on data.
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

VERSION = 1  # raise it where equal settings and data give another network
BATCH = 128  # images at a time where nothing is learned
WAIT_EVERY = 16  # steps; so that batches do not pile up


class Settings(NamedTuple):
    """How it is trained.

    Attributes:
        steps: updates; 0 is `EPOCHS`, at least and at most `STEPS`.
        batch_size: images of an update.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        width: channels of the first convolution, and half those of the others.
        num_features: units of the last hidden layer.
        held_out: share of the images that is kept for the accuracy, where
            there is no test split.
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
    """What the network gives: features [B, F] and logits [B, K], float32."""

    features: jax.Array
    logits: jax.Array


class Network(nn.Module):
    """Convolutions down to 4 pixels a side, a hidden layer, the classes.

    Attributes:
        num_classes: K.
        width, num_features: as of `Settings`.
    """

    num_classes: int
    width: int = 32
    num_features: int = 128

    @nn.compact
    def __call__(self, images):
        """Map [B, H, W, C] float32 in [-1, 1] to an `Output`."""
        # Full digits on accelerators too, for features that a CPU gives.
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
    """Give the stride of each convolution: 28 -> 2, 2, 2; 8 -> 1, 2."""
    side, halvings = max(sides), 0
    while side > 4:
        side, halvings = -(-side // 2), halvings + 1
    return [1] * (2 - halvings) + [2] * halvings


@functools.partial(jax.jit, static_argnums=0)
def apply(network, variables, images):
    """Apply a `Network` to [B, H, W, C] uint8, or float in [-1, 1]."""
    return network.apply(variables, algorithm.to_unit_range(images))


class Labelled(NamedTuple):
    """Images [N, H, W, C], uint8 or float in [-1, 1], and labels int32 [N]."""

    images: Any
    labels: np.ndarray


def labelled(images, labels, classes=()):
    """Check that images can train a classifier.

    Args:
        images: [N, H, W, C] uint8, or float in [-1, 1]; an array, or what
            gives one when sliced or indexed.
        labels: [N] integers from 0 on.
        classes: names of the classes; () where they have none.

    Returns:
        `Labelled`.

    Raises:
        errors.DataError: where there is nothing to tell apart.
    """
    others = "; 'inception', 'pixels' and 'random' need no labels"
    if images is None or labels is None:
        raise errors.DataError(f'a classifier needs labelled images{others}')
    if np.ndim(images) != 4:
        raise errors.DataError(
            'a classifier reads images [N, H, W, C], not data of shape '
            f"{list(np.shape(images))}; 'pixels' reads any"
        )
    check_inputs.checked(images[:1])
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in 'iu':
        raise errors.DataError(
            f'labels are {labels.dtype} {list(labels.shape)}; integers '
            f'[{len(images)}], one for each image, are asked'
        )
    found = np.unique(labels)
    if len(found) < 2:
        raise errors.DataError(
            f'a classifier needs images of 2 classes or more, and these have '
            f'{len(found)}{others}'
        )
    if found[0] < 0 or (classes and found[-1] >= len(classes)):
        raise errors.DataError(
            f'labels from {found[0]} to {found[-1]} are not numbers of '
            f'{len(classes) or "any"} classes'
        )
    return Labelled(images, labels.astype(np.int32))


def tested(data, images, labels):
    """Check that images can test what these train.

    Args:
        data: `Labelled`.
        images, labels: as of `labelled`, of any number of classes.

    Returns:
        `Labelled`.

    Raises:
        errors.DataError: where they do not fit.
    """
    labels = np.asarray(labels)
    shape = tuple(np.shape(images))
    if not len(images) or shape[1:] != tuple(data.images.shape[1:]):
        raise errors.DataError(
            f'images to test on have shape {list(shape)}, those to train on '
            f'{list(data.images.shape)}'
        )
    if labels.shape != shape[:1] or labels.dtype.kind not in 'iu':
        raise errors.DataError(
            f'labels to test on are {labels.dtype} {list(labels.shape)}; '
            f'integers [{shape[0]}] are asked'
        )
    return Labelled(images, labels.astype(np.int32))


def split(data, share, seed):
    """Keep a part of the images back, chosen by seed.

    Args:
        data: `Labelled`, 2 images or more.
        share: of the images, in (0, 1); at least one is kept, and one is left.
        seed: of the choice.

    Returns:
        (places of the others, places of the part), both int64 and increasing.
    """
    count = len(data.labels)
    kept = min(max(round(share * count), 1), count - 1)
    order = np.random.RandomState(seed).permutation(count)
    return np.sort(order[kept:]), np.sort(order[:kept])


def train(network, data, settings, places=None, progress=None):
    """Train a network; equal arguments give equal bits on one machine.

    Adam on the cross-entropy, each image once an epoch, moved by up to a
    twelfth of its longer side.

    Args:
        network: a `Network`.
        data: `Labelled`.
        settings: `Settings`.
        places: int64 [n], the images to train on; None for all.
        progress: function of (steps done, of how many); None shows a bar, on
            terminals alone.

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
    with _told(progress, steps) as tell:
        for step, chosen in zip(range(steps), order):
            share = (1 + np.cos(np.pi * step / steps)) / 2
            variables, opt_state = _update(
                network, variables, opt_state,
                np.float32(share * settings.learning_rate),
                _shifted(random, check_inputs.checked(data.images[chosen])),
                data.labels[chosen],
            )
            if (step + 1) % WAIT_EVERY == 0 or step + 1 == steps:
                jax.block_until_ready(variables)
                tell(step + 1)
    return variables


def num_steps(count, settings):
    """Give the updates for so many images: `EPOCHS`, within `STEPS`."""
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
    """Yield places [size] without end; each comes once an epoch."""
    ahead = np.empty(0, np.int64)
    while True:
        while len(ahead) < size:
            ahead = np.concatenate([ahead, random.permutation(places)])
        yield ahead[:size]
        ahead = ahead[size:]


def _shifted(random, images):
    """Move each image by whole pixels; what comes in repeats the border."""
    count, height, width, _ = images.shape
    reach = max(1, round(max(height, width) / 12))
    down, right = random.randint(-reach, reach + 1, (2, count, 1))
    rows = (np.arange(height) + down).clip(0, height - 1)
    columns = (np.arange(width) + right).clip(0, width - 1)
    number = np.arange(count)[:, None, None]
    return images[number, rows[:, :, None], columns[:, None]]


@contextlib.contextmanager
def _told(progress, total):
    """Give a function of steps done, that calls `progress` or moves a bar."""
    if progress is not None:
        yield lambda done: progress(done, total)
        return
    with tqdm(
            total=total, desc='Training the classifier', unit='step', delay=1,
            leave=False, disable=None,  # terminals alone
    ) as bar:
        yield lambda done: bar.update(done - bar.n)


def accuracy(network, variables, data, places=None):
    """Give the share of labelled images that a network has right.

    Args:
        network: a `Network`.
        variables: its parameters.
        data: `Labelled`.
        places: int64 [n], the images to count; None for all.

    Returns:
        float in [0, 1].
    """
    if places is None:
        places = np.arange(len(data.labels))
    right = 0
    for start in range(0, len(places), BATCH):
        chosen = places[start:start + BATCH]
        output = batches.extract(
            functools.partial(apply, network, variables), data.images[chosen],
            BATCH,
        )
        right += (output.logits.argmax(1) == data.labels[chosen]).sum()
    return float(right / len(places))


def classifier_accuracy(
    fake_images, fake_labels, real_images, real_labels, seed=0,
    *, settings=Settings(), progress=None,
):
    """Train the classifier on labelled fakes; measure it on real images.

    The classification accuracy score. A generator that knows the data's
    classes and their variety brings it near to that of real images in place
    of fakes, made with as many of them: compare it with that, since it depends
    on the number of images, the network and its training.

    Differs from the paper: the network is this small one, not a ResNet-50;
    nothing is done to the fakes but shifts, and floats are not rounded to 8
    bits.

    Args:
        fake_images: [N, H, W, C] uint8, or float in [-1, 1].
        fake_labels: [N] integers, the classes that were asked for.
        real_images: [M, H, W, C], which no generator was trained on.
        real_labels: [M] integers.
        seed: of the classifier's training.
        settings: `Settings`; its seed is not used.
        progress: as of `train`.

    Returns:
        float in [0, 1], the share of the real images it has right.

    Raises:
        errors.DataError: as `labelled`, or for images of two shapes.

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
