"""What a look at a state tells that the metrics of a step do not.

Cheap numbers about both players, for the rules of `rules.py`. They are taken
from a copy of the state, by seeds of their own: training knows nothing of them.
"""

import math

import jax
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import builders
from gan_jax.data import on_demand
from gan_jax.metrics import distances
from gan_jax.metrics import manifolds
from gan_jax.objectives import losses
from gan_jax.runs import sampling

NUM_SAMPLES = 256
BATCH = 64  # that D judges
NUM_REAL = 16_384  # most that samples are compared with
NUM_READ = 1_024  # ... where they are read from files
MOST_BYTES = 2**28  # ... of them as float32
DIMENSIONS = 64  # to which images are projected
WAVES = 128  # features of the fresh classifiers beside those
TWIN = 0.1  # of the distance between real neighbours: nearer is a twin
MOST_CLASSES = 32  # so that samples would show each
ACCURACY = 0.8  # of a classifier that is trusted
RIDGE = 1.0


class Features:
    """Random features in which distances hold and classes can be parted.

    A projection by random directions keeps distances (Johnson and
    Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space, 1984);
    cosines of random waves make linear classifiers bend (Rahimi, Recht, Random
    Features for Large-Scale Kernel Machines, NIPS 2007).
    """

    def __init__(self, images):
        """Draw the features, fit to images [N, ...] as D sees them."""
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
        """Bring images [N, ...] to float32 [N, `DIMENSIONS`] or fewer."""
        images = np.asarray(images).reshape(len(images), -1)
        return images.astype(np.float32) @ self._projection

    def bend(self, points):
        """Add waves, and a one, to projected images [N, D]."""
        points = (points - self._center) / self._scale
        waves = math.sqrt(2) * np.cos(2 * points @ self._waves + self._shift)
        return np.concatenate([points, waves, np.ones((len(points), 1))], 1)


def fit(features, targets):
    """Fit a ridge regression, weights [F, K], of targets [N, K]."""
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    return np.linalg.solve(gram, features.T @ targets)


def above(first, second):
    """Estimate the chance that one of `first` is above one of `second`.

    Ties count half: it is the area under the ROC curve.

    Args:
        first: [N].
        second: [M].

    Returns:
        float in [0, 1]; 1/2 where both come from one law.
    """
    first, second = np.asarray(first)[:, None], np.asarray(second)
    return float(np.mean((first > second) + 0.5 * (first == second)))


def told_apart(bent_real, bent_fake):
    """Train a small classifier on first halves; give its accuracy on second.

    Args:
        bent_real, bent_fake: [N, F], as of `Features.bend`.

    Returns:
        float, about 1/2 where nothing parts them.
    """
    real, other_real = np.array_split(bent_real, 2)
    fake, other_fake = np.array_split(bent_fake, 2)
    signs = np.repeat([1.0, -1.0], [len(real), len(fake)])
    weights = fit(np.concatenate([real, fake]), signs)
    return float(np.mean([
        (other_real @ weights > 0).mean(), (other_fake @ weights < 0).mean()
    ]))


def layers(grads):
    """Give the norm and the share of dead units of each kernel's gradient.

    A unit without gradient over a whole batch is dead: nothing that it gives
    reaches the output, so that it learns nothing.

    Args:
        grads: pytree of a network's parameters.

    Returns:
        {name of the layer: (norm, number of units, dead ones)}.
    """
    found = {}
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        *layer, name = (str(getattr(part, 'key', part)) for part in path)
        if name == 'kernel':
            units = np.abs(np.asarray(grad)).reshape(-1, grad.shape[-1])
            found['.'.join(layer)] = (
                float(np.linalg.norm(units)), units.shape[1],
                int((units.max(0) == 0).sum()),
            )
    return found


class Probe:
    """Numbers about the states of one run."""

    def __init__(self, config, dataset, held_out=None):
        """Prepare; what is real is looked at when it is first asked.

        Args:
            config: of the run.
            dataset: `sources.Dataset` that is trained on.
            held_out: `sources.Dataset` that is not, or None.
        """
        self._config, self._dataset = config, dataset
        self._held_out = held_out
        self._real = self._shown = None

    def numbers(self, algorithm, state):
        """Look at the generator as it is, and at the discriminator.

        Args:
            algorithm: the value that trained.
            state: `algorithm.TrainState` of NumPy arrays.

        Returns:
            {'probe/name': float}; without what takes pairs of real ones where
            they are fewer than 4.
        """
        self._prepare()
        samples = sampling.sample(
            algorithm, state, range(NUM_SAMPLES), weights='raw'
        )
        points = self._features.project(samples)
        found = self._of_values(samples)
        if self._paired:
            found |= self._of_points(points)
        monitors = algorithm.monitors
        if monitors is not None:
            found |= self.of_players(algorithm, state)
        if self._paired and monitors is not None:
            bent = self._features.bend(points)
            found['judge'] = told_apart(self._real_bent, bent)
        if self._config.clip_weights and monitors is not None:
            found['clipped'] = monitors.at_limit(
                state, self._config.clip_weights
            )
        return {f'probe/{name}': float(v) for name, v in found.items()}

    def _prepare(self):
        if self._real is not None:
            return
        images, labels = self._dataset.images, self._dataset.labels
        most = NUM_REAL if on_demand.in_memory(images) else NUM_READ
        size = 4 * math.prod(images.shape[1:])
        most = max(2 * NUM_SAMPLES, min(most, MOST_BYTES // size))
        order = np.random.RandomState(0).permutation(len(images))
        places = np.sort(order[:most])
        some = in_range(images[places])
        self._features = features = Features(some)
        points = features.project(some)
        # Those that stand for samples, and those that they are compared with.
        mine = np.random.RandomState(1).permutation(len(points))
        count = min(NUM_SAMPLES, len(points) // 2)
        mine, rest = mine[:count], mine[count:]
        self._real, self._reference = points[mine], points[rest]
        self._paired = count > 1
        self._ends = np.quantile(
            some[mine] if self._paired else some, (0.01, 0.99)
        )
        if not self._paired:  # one is no pair to compare samples with
            return
        self._real_bent = features.bend(self._real)
        self._apart = max(distances.mean_pairwise(self._real), 1e-12)
        self._neighbour = np.median(
            np.sqrt(manifolds.squared_radii(self._real, 1))
        )
        self._away = None
        if images.ndim > 2:
            others = self._real
            if self._held_out is not None:
                unseen = _some(self._held_out, NUM_SAMPLES)[0]
                others = features.project(unseen)
            away = distances.nearest(others, self._reference).mean()
            self._away = max(away, 1e-12)
        self._classify = self._classifier(
            points, None if labels is None else labels[places], mine, rest
        )

    def _classifier(self, points, labels, mine, rest):
        """Make points -> classes and give it with their number; or None."""
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
        bent = self._features.bend(points[rest])
        weights = fit(bent, np.eye(count)[labels[rest]])

        def classify(points):
            return (self._features.bend(points) @ weights).argmax(1)

        right = (classify(points[mine]) == labels[mine]).mean()
        return (count, classify) if right > ACCURACY else None

    def _of_values(self, samples):
        low, high = self._ends
        ends = np.quantile(samples, (0.01, 0.99))
        span = max(high - low, 1e-12)
        return {
            'low_gap': (ends[0] - low) / span,
            'high_gap': (ends[1] - high) / span,
        }

    def _of_points(self, points):
        nearest = np.sqrt(manifolds.squared_radii(points, 1))
        twins = nearest <= TWIN * self._neighbour
        found = {
            'distance': distances.mean_pairwise(points) / self._apart,
            'duplicates': twins.mean(),
        }
        if self._away is not None:
            away = distances.nearest(points, self._reference).mean()
            found['nearest_real'] = away / self._away
        if self._classify is not None:
            count, classify = self._classify
            found['missing'] = 1 - len(set(classify(points))) / count
        return found

    def of_players(self, algorithm, state):
        """Judge one batch; see `numbers`, of which these are a part."""
        labels = None
        if algorithm.num_classes:
            labels = np.arange(BATCH, dtype=np.int32) % algorithm.num_classes
        told = bool(algorithm.num_classes)
        if self._shown is None:
            self._shown = [
                (None, None) if dataset is None
                else _some(dataset, BATCH * self._config.packing, told)
                for dataset in (self._dataset, self._held_out)
            ]
        kind = losses.LOSSES[self._config.loss.name].kind
        seen = algorithm.monitors.look(
            state, labels, *self._shown,
            slope=kind == 'critic',
        )
        sign = algorithm.monitors.sign  # energies are low where real
        real, fake = sign * seen['real'], sign * seen['fake']
        found = {
            'real': seen['real'].mean(), 'fake': seen['fake'].mean(),
            'd_auc': above(real, fake),
        }
        if 'unseen' in seen:
            found['held_out'] = seen['unseen'].mean()
            found['d_memory'] = above(real, sign * seen['unseen'])
        if 'slope' in seen:
            found['slope'] = seen['slope']
        shape = self._dataset.images.shape[1:]
        last = {'g': (math.prod(shape), shape[-1]), 'd': (1,)}
        for player in 'gd':
            told = layers(seen[f'{player}_grads'])
            for name, (norm, _, _) in told.items():
                found[f'{player}_grad/{name}'] = norm
            # The last layer's units are values of images, and may be constant.
            hidden = [
                (units, dead) for _, units, dead in told.values()
                if units not in last[player]
            ]
            if hidden:
                units, dead = np.sum(hidden, 0)
                found[f'{player}_dead'] = dead / units
        return found


def in_range(images):
    """Bring uint8 images to [-1, 1]; points stay as they are."""
    return np.asarray(algorithm_lib.to_unit_range(np.asarray(images)))


def _some(dataset, count, told=False):
    """Take so many by chance, again from the start where there are fewer.

    Returns:
        (images as D sees them, labels or None).
    """
    order = np.random.RandomState(2).permutation(len(dataset.images))
    places = np.resize(order[:count], count)
    labels = dataset.labels[places].astype(np.int32) if told else None
    return in_range(dataset.images[places]), labels
