"""What a run measures of its own samples while it trains."""

import math

import numpy as np

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.evaluation import pixel_stats
from gan_jax.evaluation import runner
from gan_jax.features import extractors
from gan_jax.metrics import costs
from gan_jax.metrics import registry
from gan_jax.runs import sampling

NUM_POINTS = 2500
PAIRED = 4  # images at least, two of them to compare the others with
POINTS_PER_MODE = 26  # at least, as 26,000 of 1,000 in VEEGAN's paper


def check(config, dataset):
    """Refuse what cannot be measured, and to keep the best by what is not.

    Args:
        config: with eval_metrics, eval_features and keep_best.
        dataset: `sources.Dataset` that is trained on.

    Raises:
        errors.ConfigError: naming what can be.
        errors.CheckpointError: where the weights of Inception are not there.
    """
    metrics, mixture = defaults.eval_metrics(config), builders.mixture(config)
    if metrics:
        _check_features(config, dataset)
    can = _measurable(config, dataset)
    for name in metrics:
        if name not in can:
            raise errors.ConfigError(
                f'eval_metrics={name!r} cannot be measured of '
                f'{_described(config, dataset)}; {can} can'
            )
    names = [
        f'eval/{name}' for metric in metrics
        for name in registry.MEASURES[metric].better
    ]
    if mixture is not None or len(dataset.images) >= PAIRED:
        names = [*pixel_stats.names(mixture), *names]
    if config.keep_best and config.keep_best not in names:
        raise errors.ConfigError(
            f'keep_best={config.keep_best!r} is not measured; {names} are, and '
            'eval_metrics measures more'
        )


def _check_features(config, dataset):
    """Refuse features that the data, or the cache, cannot give."""
    if dataset.images.ndim == 2:  # compared as they are
        return
    if config.eval_features == 'inception':
        extractors.make('inception')  # whose weights may not be there
    labels = () if dataset.labels is None else dataset.labels
    classes = len(np.unique(labels))
    if config.eval_features == 'classifier' and classes < 2:
        others = sorted(extractors.EXTRACTORS.keys() - {'classifier'})
        raise errors.ConfigError(
            "eval_features='classifier' is trained on labels of 2 classes or "
            f'more, and {dataset.name} has {classes}; {others} need none'
        )


def _measurable(config, dataset):
    """List the names of `registry.MEASURES` that features and data allow."""
    points = dataset.images.ndim == 2
    told = config.eval_features in extractors.TELLING_CLASSES and not points
    return [
        name for name, kind in registry.MEASURES.items()
        if not (kind.images and points or kind.classes and not told)
    ]


def _described(config, dataset):
    if dataset.images.ndim == 2:
        return 'points'
    return f'eval_features={config.eval_features!r}, which tell no classes'


class Watch:
    """Numbers about the states of one run."""

    def __init__(self, config, dataset):
        """Prepare; a classifier is trained when it is first asked.

        Args:
            config: with eval_metrics, eval_features and eval_samples.
            dataset: `sources.Dataset` that is trained on.
        """
        self._config, self._dataset = config, dataset
        self._metrics = defaults.eval_metrics(config)
        self._extractor = self._real = None

    def numbers(self, algorithm, state):
        """Measure samples of the averaged generator.

        Args:
            algorithm: the value that trained.
            state: `algorithm.TrainState` of NumPy arrays.

        Returns:
            {'eval/name': float}.
        """
        found = self._always(algorithm, state)
        if not self._metrics:
            return found
        self._prepare()
        fake = registry.View(
            runner.sample(algorithm, state, self._config.eval_samples),
            None, self._extractor,
        )
        for name in self._metrics:
            numbers = registry.measure(name, self._real, fake)
            found |= {f'eval/{k}': n.value for k, n in numbers.items()}
        return found

    def cost(self, record):
        """Give what these numbers cost; inf where the one that counts lacks."""
        name = self._config.keep_best
        return costs.COSTS[name](record[name]) if name in record else math.inf

    def _always(self, algorithm, state):
        """Give what needs no labels and no features, but 4 real images."""
        real = self._dataset.images
        mixture = builders.mixture(self._config)
        if mixture is not None:
            modes = 0 if mixture.means is None else len(mixture.means)
            count = max(NUM_POINTS, POINTS_PER_MODE * modes)
            points = sampling.sample(algorithm, state, range(count))
            return pixel_stats.against_mixture(points, mixture, real)
        if len(real) < PAIRED:
            return {}
        count = min(pixel_stats.NUM_SAMPLES, len(real) // 2)
        images = sampling.sample(algorithm, state, range(count))
        return pixel_stats.against_real(images, real)

    def _prepare(self):
        if self._real is not None:
            return
        config, dataset = self._config, self._dataset
        self._extractor = runner.extractor_of(
            config.eval_features, config, dataset,
            runner.held_out_of(config, config.data.split, dataset),
            redact.say,
        )
        places = runner.some_places(
            len(dataset.images), config.eval_samples
        )
        self._real = runner.view_of(
            dataset, places, self._extractor, 'real'
        )
