"""Linear probes: how well features separate the classes of images.

`compare` probes a discriminator beside its untrained copy and the pixels;
`fine_tune` trains it with labels. The fit is scikit-learn's.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.core import errors
from gan_jax.features import check_inputs
from gan_jax.features import discriminators
from gan_jax.features import extractors
from gan_jax.metrics import features as features_lib

WEIGHT = 1e-3  # of the penalty of `probe`
MAX_STEPS = 1000  # of L-BFGS
TEST_SHARE = 0.3
BATCH = 64


def probe(features, labels, test_features, test_labels, *, weight=WEIGHT):
    """Compute the test accuracy of a linear classifier of features.

    Multinomial logistic regression. Features are standardised by the mean and
    variance of the training features:

    min_{w, b} mean_i -log p(y_i | x_i; w, b) + weight / 2 ||w||^2

    by scikit-learn's L-BFGS. Differs from Radford et al., who fit a linear SVM
    to the max-pooled feature maps of all layers of D.

    Args:
        features: [N, ...], N >= 2.
        labels: [N] integers.
        test_features: [M, ...].
        test_labels: [M] integers.
        weight: of the penalty, > 0.

    Returns:
        float in [0, 1], the accuracy on the test features.

    Raises:
        errors.DataError: if shapes do not match, or for a single class.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Radford et al., Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks,
        https://arxiv.org/abs/1511.06434, 2015, section 5.1.
    """
    names = ('features', 'test features')
    rows, test_rows = features_lib.pair(features, test_features, names)
    labels = _labels(labels, len(rows))
    test_labels = _labels(test_labels, len(test_rows))
    if len(np.unique(labels)) < 2:
        raise errors.DataError('a probe needs labels of 2 classes or more')
    rows, test_rows = rows.astype(np.float64), test_rows.astype(np.float64)
    mean, std = _scale(rows)
    model = _fit((rows - mean) / std, labels, weight)
    predictions = model.predict((test_rows - mean) / std)
    return float((predictions == test_labels).mean())


def _fit(rows, labels, weight):
    """Fit scikit-learn's model to standardised rows."""
    from sklearn.linear_model import LogisticRegression  # slow to import

    # C weights the sum of the losses, not the penalty.
    model = LogisticRegression(C=1 / (weight * len(rows)), max_iter=MAX_STEPS)
    return model.fit(rows, labels)


def _scale(rows):
    """Compute mean and standard deviation of columns; 1 for constant ones."""
    std = rows.std(0)
    return rows.mean(0), np.where(std > 1e-8 * abs(rows).max(0), std, 1)


def _labels(labels, count):
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in 'iu':
        raise errors.DataError(
            f'labels are {labels.dtype} {list(labels.shape)}; they must be '
            f'integers [{count}]'
        )
    return labels


def split(labels, *, seed=0, test_share=TEST_SHARE):
    """Split labelled data with the same shares of each class.

    Args:
        labels: [N] integers, two or more of each class.
        seed: of the split.
        test_share: share of the test part.

    Returns:
        (indices to fit on, indices to test on), both int64.

    Raises:
        errors.DataError: if a class has only one image.
    """
    labels = np.asarray(labels)
    random = np.random.RandomState(seed)
    fit, test = [], []
    for label in np.unique(labels):
        indices = random.permutation(np.flatnonzero(labels == label))
        if len(indices) < 2:
            raise errors.DataError(
                f'class {label} has only one image; a probe needs one to fit '
                'on and one to test on'
            )
        count = min(max(round(test_share * len(indices)), 1), len(indices) - 1)
        test.append(indices[:count])
        fit.append(indices[count:])
    return np.sort(np.concatenate(fit)), np.sort(np.concatenate(test))


class Comparison(NamedTuple):
    """Accuracies of linear probes on the same images.

    Attributes:
        discriminator: on the features of a trained D.
        random: on those of the same D with initial weights.
        pixels: on the pixels.
    """

    discriminator: float
    random: float
    pixels: float


def compare(algorithm, state, images, labels, *, test=None, seed=0):
    """Compare linear probes of a discriminator with two baselines.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: its `algorithm.TrainState`.
        images: [N, H, W, C] uint8, or float in [-1, 1]; or points [N, D].
        labels: [N] integers.
        test: (images, labels) to test on; by default a random `TEST_SHARE` of
            each class. D may have been trained on these, without labels.
        seed: of that split and of the untrained D.

    Returns:
        `Comparison`.

    Raises:
        errors.DataError: as in `probe` and `split`.
    """
    if test is None:
        labels = _labels(labels, len(images))
        fit_on, test_on = split(labels, seed=seed)
        test = images[test_on], labels[test_on]
        images, labels = images[fit_on], labels[fit_on]
    return Comparison(*(
        probe(extract(images).features, labels,
              extract(test[0]).features, test[1])
        for extract in (
            discriminators.of_discriminator(algorithm, state),
            discriminators.of_random_discriminator(algorithm, state, seed=seed),
            extractors.pixels(),
        )
    ))


class Tuned(NamedTuple):
    """Parameters of a discriminator and of the linear layer on its features."""

    params: Any
    kernel: Any
    bias: Any


def fine_tune(
    algorithm, state, images, labels, test_images, test_labels, *, steps=200,
    learning_rate=3e-4, seed=0,
):
    """Train a discriminator and a linear layer on labelled images.

    The features are standardised by their initial mean and variance on these
    images; the linear layer starts at 0. Adam on the cross-entropy with a
    constant learning rate; running statistics do not change.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: its `algorithm.TrainState`.
        images: [N, H, W, C] uint8, or float in [-1, 1]; or points [N, D].
        labels: [N] integers from 0.
        test_images, test_labels: to test on.
        steps: number of updates, of `BATCH` images each.
        learning_rate: of Adam.
        seed: of the order of the images.

    Returns:
        float in [0, 1], the accuracy on the test images.

    Raises:
        errors.DataError: if shapes do not match.
    """
    labels = _labels(labels, len(images))
    test_labels = _labels(test_labels, len(test_images))
    extract = discriminators.of_discriminator(algorithm, state)
    mean, std = _scale(extract(images).features)
    num_classes = 1 + int(max(labels.max(), test_labels.max()))
    judge = algorithm.monitors.discriminator_weights(state)
    tuned = jax.tree.map(jnp.asarray, Tuned(
        judge.params,
        jnp.zeros((len(mean), num_classes)), jnp.zeros(num_classes),
    ))
    scale = jnp.asarray(mean), jnp.asarray(std)
    adam = optax.adam(learning_rate)

    def logits_fn(tuned, images):
        features, _ = discriminators.outputs(
            algorithm, judge._replace(params=tuned.params), images
        )
        return (features - scale[0]) / scale[1] @ tuned.kernel + tuned.bias

    @jax.jit
    def update(tuned, opt_state, images, labels):
        grads = jax.grad(lambda tuned: (
            optax.softmax_cross_entropy_with_integer_labels(
                logits_fn(tuned, images), labels
            ).mean()
        ))(tuned)
        updates, opt_state = adam.update(grads, opt_state)
        return optax.apply_updates(tuned, updates), opt_state

    random = np.random.RandomState(seed)
    opt_state = adam.init(tuned)
    for _ in range(steps):
        indices = random.randint(0, len(images), BATCH)
        tuned, opt_state = update(
            tuned, opt_state, check_inputs.checked(images[indices]),
            labels[indices],
        )
    predictions = extract._replace(apply=functools.partial(
        jax.jit(lambda tuned, images: (logits_fn(tuned, images), None)), tuned
    ))(test_images).features.argmax(1)
    return float((predictions == test_labels).mean())
