"""Evaluation of a run's samples during training, every `eval_every` steps.

`check` refuses a config whose metrics cannot be measured before training
starts; `OnlineEvaluator` measures the states of one run. This module knows no
training loop.
"""

import math

import numpy as np

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.evaluation import pixel_stats
from gan_jax.evaluation import reference
from gan_jax.evaluation import runner
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax.metrics import registry
from gan_jax.runs import sampling

NUM_POINTS = 2500
PAIRED = 4  # fewest images: two, and two to compare them with
POINTS_PER_MODE = 26  # at least; VEEGAN's paper has 26,000 for 1,000 modes


def check(config, dataset):
    """Check that the metrics can be measured and `keep_best` is one of them.

    Args:
        config: with eval_metrics, eval_features and keep_best.
        dataset: `sources.Dataset` of the training images.

    Raises:
        errors.ConfigError: if they cannot, with those that can.
        errors.CheckpointError: if the weights of the features are missing.
    """
    metrics, mixture = defaults.eval_metrics(config), builders.mixture(config)
    if metrics:
        _check_features(config, dataset)
    measurable = _measurable(config, dataset)
    for name in metrics:
        if name not in measurable:
            raise errors.ConfigError(
                f'eval_metrics={name!r} cannot be measured of '
                f'{_description(config, dataset)}; {measurable} can'
            )
    names = [
        f'eval/{catalog.name_of(name, _features(config, dataset))}'
        for metric in metrics for name in catalog.METRICS[metric].better
    ]
    if mixture is not None or len(dataset.images) >= PAIRED:
        names = [*pixel_stats.names(mixture), *names]
    if config.keep_best and config.keep_best not in names:
        raise errors.ConfigError(
            f'keep_best={config.keep_best!r} is not measured; {names} are; '
            'eval_metrics adds more'
        )


def _features(config, dataset):
    """Return the name of the features; points are compared as they are."""
    return 'pixels' if dataset.images.ndim == 2 else config.eval_features


def _check_features(config, dataset):
    """Check that `eval_features` can be extracted from the data."""
    if dataset.images.ndim == 2:  # points are compared as they are
        return
    if config.eval_features in extractors.PRETRAINED:
        extractors.make(config.eval_features)  # raises without its weights
    labels = () if dataset.labels is None else dataset.labels
    classes = len(np.unique(labels))
    if config.eval_features == 'classifier' and classes < 2:
        others = sorted(extractors.EXTRACTORS.keys() - {'classifier'})
        raise errors.ConfigError(
            "eval_features='classifier' needs labels of 2 classes or more, but "
            f'{dataset.name} has {classes}; {others} need no labels'
        )


def _measurable(config, dataset):
    """List the names of the metrics that the features and data allow."""
    points = dataset.images.ndim == 2
    has_classes = (
        config.eval_features in extractors.WITH_CLASSES and not points
    )
    return sorted(
        name for name, metric in catalog.METRICS.items()
        if not (metric.images and points or metric.classes and not has_classes)
    )


def _description(config, dataset):
    if dataset.images.ndim == 2:
        return 'points'
    return f'eval_features={config.eval_features!r}, which have no class logits'


class OnlineEvaluator:
    """Metrics of the samples of one run, step by step."""

    def __init__(self, config, dataset):
        """Create it; a classifier is only trained when it is first needed.

        Args:
            config: with eval_metrics, eval_features and eval_samples.
            dataset: `sources.Dataset` of the training images.
        """
        self._config, self._dataset = config, dataset
        self._metrics = defaults.eval_metrics(config)
        self._extractor = self._real = None

    def numbers(self, algorithm, state):
        """Measure samples of the averaged generator.

        Args:
            algorithm: `algorithm.Algorithm` of the run.
            state: `algorithm.TrainState` of NumPy arrays.

        Returns:
            {'eval/name': float}.
        """
        values = self._pixel_stats(algorithm, state)
        if not self._metrics:
            return values
        is_first = self._real is None
        self._prepare()
        fake = registry.View(
            runner.sample(
                algorithm, state, self._config.eval_samples,
                real=self._dataset.images,
            ),
            None, self._extractor,
        )
        if is_first:
            redact.say(' | '.join(('evaluated by', *runner.protocol({
                **runner.describe(
                    self._dataset, self._config.data.split, self._real, fake,
                    self._extractor,
                ), 'fake': 'samples',
            }))))
        for name in self._metrics:
            numbers = registry.measure(name, self._real, fake)
            values |= {f'eval/{k}': n.value for k, n in numbers.items()}
        return values

    def cost(self, record):
        """Return the cost of a record by `keep_best`; inf if it is missing."""
        name = self._config.keep_best
        return catalog.cost(name, record[name]) if name in record else math.inf

    def _pixel_stats(self, algorithm, state):
        """Compute the numbers that need no features, from 4 images or more."""
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
        self._extractor = reference.extractor_of(
            config.eval_features, config, dataset,
            reference.held_out_of(config, config.data.split, dataset),
            redact.say,
        )
        indices = reference.sample_indices(
            len(dataset.images), config.eval_samples
        )
        self._real = reference.view_of(
            dataset, indices, self._extractor, 'real'
        )
