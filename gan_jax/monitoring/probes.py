"""Probes: cheap measurements of both players at a training state.

They give the rules of gan_jax/diagnosis what the metrics of a step do not
contain. They read a copy of the state and use their own seeds, so training does
not depend on them.
"""

import math

import jax
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import builders
from gan_jax.data import on_demand
from gan_jax.metrics import distances
from gan_jax.objectives import losses
from gan_jax.runs import sampling

NUM_SAMPLES = 256
BATCH = 64  # images on which D is evaluated
NUM_REAL = 16_384  # most real images that samples are compared with
NUM_READ = 1_024  # the same, if they are read from files
MOST_BYTES = 2**28  # of these images as float32
DIMENSIONS = 64  # of the random projection of images
WAVES = 128  # additional features of the fresh classifiers
DUPLICATE = 0.1  # share of the median distance between real neighbours
MOST_CLASSES = 32  # so that `NUM_SAMPLES` would contain each
ACCURACY = 0.8  # least accuracy of a classifier that counts classes
RIDGE = 1.0


class Features:
    """Random features that preserve distances and separate classes.

    A random projection preserves distances (Johnson and Lindenstrauss,
    Extensions of Lipschitz mappings into a Hilbert space, 1984); random Fourier
    features make linear classifiers nonlinear (Rahimi, Recht, Random Features
    for Large-Scale Kernel Machines, NIPS 2007).
    """

    def __init__(self, images):
        """Draw the features, scaled for images [N, ...] in [-1, 1]."""
        random = np.random.RandomState(0)
        size = math.prod(images.shape[1:])
        self._projection = np.eye(size, dtype=np.float32)
        if size > DIMENSIONS:
            self._projection = random.standard_normal(
                (size, DIMENSIONS)
            ).astype(np.float32) / np.float32(math.sqrt(DIMENSIONS))
        points = self.project(images)
        self._center, self._scale = points.mean(0), points.std() or 1.0
        size = points.shape[1]
        self._waves = random.standard_normal((size, WAVES)) / math.sqrt(size)
        self._shift = random.uniform(0, 2 * math.pi, WAVES)

    def project(self, images):
        """Project images [N, ...] to float32 [N, `DIMENSIONS`] or fewer."""
        images = np.asarray(images).reshape(len(images), -1)
        return images.astype(np.float32) @ self._projection

    def fourier(self, points):
        """Add random Fourier features and a constant to points [N, D]."""
        points = (points - self._center) / self._scale
        waves = math.sqrt(2) * np.cos(2 * points @ self._waves + self._shift)
        return np.concatenate([points, waves, np.ones((len(points), 1))], 1)


def fit(features, targets):
    """Fit a ridge regression of targets [N, K]; return weights [F, K]."""
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    return np.linalg.solve(gram, features.T @ targets)


def area_under_curve(first, second):
    """Compute the probability that a value of `first` exceeds one of `second`.

    Ties count half, so it is the area under the ROC curve.

    Args:
        first: [N].
        second: [M].

    Returns:
        float in [0, 1]; 1/2 for equal distributions.
    """
    first, second = np.asarray(first)[:, None], np.asarray(second)
    return float(np.mean((first > second) + 0.5 * (first == second)))


def two_sample_accuracy(real, fake):
    """Train a classifier on the first halves; compute its accuracy on the rest.

    Args:
        real, fake: [N, F] of `Features.fourier`.

    Returns:
        float, about 1/2 for equal distributions.
    """
    real, other_real = np.array_split(real, 2)
    fake, other_fake = np.array_split(fake, 2)
    signs = np.repeat([1.0, -1.0], [len(real), len(fake)])
    weights = fit(np.concatenate([real, fake]), signs)
    return float(np.mean([
        (other_real @ weights > 0).mean(), (other_fake @ weights < 0).mean()
    ]))


def layers(grads):
    """Compute the norm of each kernel's gradient and count its dead units.

    A unit whose gradient is 0 over a whole batch is dead: its output does not
    reach the loss, so it does not learn.

    Args:
        grads: gradients, a pytree like a network's parameters.

    Returns:
        {name of the layer: (norm, number of units, number of dead units)}.
    """
    result = {}
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        *layer, name = (str(getattr(part, 'key', part)) for part in path)
        if name == 'kernel':
            units = np.abs(np.asarray(grad)).reshape(-1, grad.shape[-1])
            result['.'.join(layer)] = (
                float(np.linalg.norm(units)), units.shape[1],
                int((units.max(0) == 0).sum()),
            )
    return result


class Probe:
    """Probes of the states of one run."""

    def __init__(self, config, dataset, held_out=None):
        """Create it; real images are only read when they are first needed.

        Args:
            config: of the run.
            dataset: `sources.Dataset` of the training images.
            held_out: `sources.Dataset` of other images, or None.
        """
        self._config, self._dataset = config, dataset
        self._held_out = held_out
        self._real = self._batches = None

    def numbers(self, algorithm, state):
        """Measure the generator without averaging, and the discriminator.

        Args:
            algorithm: `algorithm.Algorithm` of the run.
            state: `algorithm.TrainState` of NumPy arrays.

        Returns:
            {'probe/name': float}; for fewer than 4 real images without the
            numbers that need pairs of them.
        """
        self._prepare()
        samples = sampling.sample(
            algorithm, state, range(NUM_SAMPLES), weights='raw'
        )
        points = self._features.project(samples)
        values = self._of_ranges(samples)
        if self._paired:
            values |= self._of_points(points)
        monitors = algorithm.monitors
        if monitors is not None:
            values |= self.of_players(algorithm, state)
        if self._paired and monitors is not None:
            features = self._features.fourier(points)
            values['judge'] = two_sample_accuracy(self._real_features, features)
        if self._config.clip_weights and monitors is not None:
            values['clipped'] = monitors.clipped_share(
                state, self._config.clip_weights
            )
        return {f'probe/{name}': float(v) for name, v in values.items()}

    def _prepare(self):
        if self._real is not None:
            return
        images, labels = self._dataset.images, self._dataset.labels
        most = NUM_REAL if on_demand.in_memory(images) else NUM_READ
        size = 4 * math.prod(images.shape[1:])
        most = max(2 * NUM_SAMPLES, min(most, MOST_BYTES // size))
        order = np.random.RandomState(0).permutation(len(images))
        indices = np.sort(order[:most])
        real = in_range(images[indices])
        self._features = features = Features(real)
        points = features.project(real)
        # Images that stand for samples, and those that both are compared with.
        order = np.random.RandomState(1).permutation(len(points))
        count = min(NUM_SAMPLES, len(points) // 2)
        chosen, rest = order[:count], order[count:]
        self._real, self._reference = points[chosen], points[rest]
        self._paired = count > 1
        self._ends = np.quantile(
            real[chosen] if self._paired else real, (0.01, 0.99)
        )
        if not self._paired:  # distances need two images
            return
        self._real_features = features.fourier(self._real)
        self._mean_distance = max(distances.mean_pairwise(self._real), 1e-12)
        self._neighbour = np.median(distances.nearest_other(self._real))
        self._nearest = None
        if images.ndim > 2:
            others = self._real
            if self._held_out is not None:
                unseen = _draw(self._held_out, NUM_SAMPLES)[0]
                others = features.project(unseen)
            nearest = distances.nearest(others, self._reference).mean()
            self._nearest = max(nearest, 1e-12)
        self._classify = self._classifier(
            points, None if labels is None else labels[indices], chosen, rest
        )

    def _classifier(self, points, labels, chosen, rest):
        """Build (number of classes, function of points to classes), or None."""
        mixture = builders.mixture(self._config)
        if mixture is not None and mixture.means is not None:
            means = np.asarray(mixture.means)
            if len(means) > MOST_CLASSES or means.shape[1] > DIMENSIONS:
                return None
            return len(means), lambda points: np.concatenate([
                squared.argmin(1)
                for _, squared in distances.squared_blocks(points, means)
            ])
        count = len(self._dataset.classes)
        if labels is None or not 1 < count <= MOST_CLASSES:
            return None
        features = self._features.fourier(points[rest])
        weights = fit(features, np.eye(count)[labels[rest]])

        def classify(points):
            return (self._features.fourier(points) @ weights).argmax(1)

        accuracy = (classify(points[chosen]) == labels[chosen]).mean()
        return (count, classify) if accuracy > ACCURACY else None

    def _of_ranges(self, samples):
        low, high = self._ends
        ends = np.quantile(samples, (0.01, 0.99))
        span = max(high - low, 1e-12)
        return {
            'low_gap': (ends[0] - low) / span,
            'high_gap': (ends[1] - high) / span,
        }

    def _of_points(self, points):
        nearest = distances.nearest_other(points)
        duplicates = nearest <= DUPLICATE * self._neighbour
        values = {
            'distance': distances.mean_pairwise(points) / self._mean_distance,
            'duplicates': duplicates.mean(),
        }
        if self._nearest is not None:
            nearest = distances.nearest(points, self._reference).mean()
            values['nearest_real'] = nearest / self._nearest
        if self._classify is not None:
            count, classify = self._classify
            values['missing'] = 1 - len(set(classify(points))) / count
        return values

    def of_players(self, algorithm, state):
        """Measure the numbers of `numbers` that need one batch of D and G."""
        labels = None
        if algorithm.num_classes:
            labels = np.arange(BATCH, dtype=np.int32) % algorithm.num_classes
        conditional = bool(algorithm.num_classes)
        if self._batches is None:
            self._batches = [
                (None, None) if dataset is None
                else _draw(dataset, BATCH * self._config.packing, conditional)
                for dataset in (self._dataset, self._held_out)
            ]
        kind = losses.LOSSES[self._config.loss.name].kind
        outputs = algorithm.monitors.look(
            state, labels, *self._batches,
            slope=kind == 'critic',
        )
        sign = algorithm.monitors.sign  # energies of real images are low
        real, fake = sign * outputs['real'], sign * outputs['fake']
        values = {
            'real': outputs['real'].mean(), 'fake': outputs['fake'].mean(),
            'd_auc': area_under_curve(real, fake),
        }
        if 'unseen' in outputs:
            unseen = sign * outputs['unseen']
            values['held_out'] = outputs['unseen'].mean()
            values['d_memory'] = area_under_curve(real, unseen)
        if 'slope' in outputs:
            values['slope'] = outputs['slope']
        shape = self._dataset.images.shape[1:]
        last = {'g': (math.prod(shape), shape[-1]), 'd': (1,)}
        for player in 'gd':
            gradients = layers(outputs[f'{player}_grads'])
            for name, (norm, _, _) in gradients.items():
                values[f'{player}_grad/{name}'] = norm
            # Units of the last layer are pixel values and may be constant.
            hidden = [
                (units, dead) for _, units, dead in gradients.values()
                if units not in last[player]
            ]
            if hidden:
                units, dead = np.sum(hidden, 0)
                values[f'{player}_dead'] = dead / units
        return values


def in_range(images):
    """Scale uint8 images to [-1, 1]; points are not changed."""
    return np.asarray(algorithm_lib.to_unit_range(np.asarray(images)))


def _draw(dataset, count, conditional=False):
    """Draw images by a fixed seed; a small data set is repeated.

    Returns:
        (images in [-1, 1], labels or None).
    """
    order = np.random.RandomState(2).permutation(len(dataset.images))
    indices = np.resize(order[:count], count)
    labels = dataset.labels[indices].astype(np.int32) if conditional else None
    return in_range(dataset.images[indices]), labels
