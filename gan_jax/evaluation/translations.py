"""Evaluation of a run that translates images from domain to domain.

Each direction is measured by itself: by the error to the true translations,
where they are known, by the error of a cycle, by the class that a classifier
sees, and by the metrics of gan_jax/metrics against real images of the target.
Beside them stand the same numbers of the images that were not translated.
"""

from typing import Any, NamedTuple, Optional

import jax
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import translation
from gan_jax.core import errors
from gan_jax.evaluation import domains
from gan_jax.evaluation import reference
from gan_jax.features import classifier_cache
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax.metrics import registry
from gan_jax.metrics import translation_errors
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer

MAX_BATCH, BATCH_PIXELS = 64, 2**18  # images, and pixels, of a call
HEAD = ('number', 'translated', 'untranslated', 'real', 'better')


class Translated(NamedTuple):
    """Images of one direction, and what became of them.

    Attributes:
        inputs: [N, H, W, C] uint8, the images translated.
        images: [N, H, W, C'] uint8, their translations.
        cycles: [N, H, W, C] uint8, these translated back; None without the
            other direction.
        partners: [N, H, W, C'] uint8, the true translations; None where they
            are not known.
        true_errors, cycle_errors: [N] as of `absolute_errors`, before the
            images are rounded to 8 bits; None like the images.
    """

    inputs: Any
    images: Any
    cycles: Optional[Any]
    partners: Optional[Any]
    true_errors: Optional[Any]
    cycle_errors: Optional[Any]


def evaluate_run(workdir, steps, options, say, keep, skip_damaged=False):
    """Measure the translations of some steps of a run.

    Args:
        workdir: folder of the run.
        steps: list, as of `sampling.load`.
        options: `runner.EvaluationOptions`; its `num_fake` is the largest
            number of images to translate, by default `num_real`.
        say: function that prints a line.
        keep: function that is called with each result once it is computed.
        skip_damaged: whether steps that cannot be read are left out.

    Returns:
        List of dicts of JSON types, one for each step and direction.

    Raises:
        errors.UserError: one line that names the mistake.
    """
    check(options)
    config = run_files.load_config(workdir)
    setups = [
        _Setup(direction, options, say)
        for direction in domains.directions(
            config, options.split, paired=options.paired
        )
    ]
    results = []
    for number in steps:
        try:
            algorithm, state = sampling.load(workdir, number)
        except errors.CheckpointError as error:
            if not skip_damaged:
                raise
            say(f'Skipped: {error}')
            continue
        sampling.check_weights(algorithm, state, options.weights)
        weights = algorithm.weights(state, options.weights)
        for setup in setups:
            result = {
                'run': str(workdir), 'step': int(state.step),
                'weights': options.weights,
                **setup.measure(algorithm, weights),
            }
            for line in table(result):
                say(line)
            keep(result)
            results.append(result)
    return results


def check(options):
    """Check the options of an evaluation of translations.

    Raises:
        errors.ConfigError: where a name is none, or is for samples alone.
    """
    for name in options.metrics:
        if name not in catalog.NAMES_OF_TRANSLATIONS:
            raise errors.ConfigError(errors.unknown_name(
                '--metrics', name, catalog.NAMES_OF_TRANSLATIONS
            ))
    if options.features and options.features not in extractors.EXTRACTORS:
        raise errors.ConfigError(errors.unknown_name(
            '--features', options.features, extractors.EXTRACTORS
        ))


def translate(algorithm, weights, direction, images, indices, partners=None):
    """Translate images there and back, and measure the errors.

    Args:
        algorithm: `translation.Translation`.
        weights: as of `Translation.weights`.
        direction: one of its directions.
        images: [N, H, W, C] uint8, an array or an object that returns arrays
            when indexed.
        indices: int [n] of the images to translate, n > 0.
        partners: true translations of all images, [N, H, W, C'], or None.

    Returns:
        `Translated`, n images.
    """
    height, width = images.shape[1:3]
    size = int(np.clip(BATCH_PIXELS // (height * width), 1, MAX_BATCH))
    source, target = translation.DIRECTIONS[direction]
    back = next((
        name for name in algorithm.directions
        if translation.DIRECTIONS[name] == (target, source)
    ), None)
    weights = jax.device_put(weights)
    chunks = []
    for start in reference.with_progress(
            range(0, len(indices), size), f'translating {direction}'):
        chunk = indices[start:start + size]
        inputs = np.asarray(images[chunk])
        padded = inputs[np.arange(size) % len(chunk)]  # one compilation
        batch = algorithm_lib.to_unit_range(padded)
        fakes = _translate(algorithm, direction, weights, batch)
        cycles = _translate(algorithm, back, weights, fakes) if back else None
        chunks.append(_measured(
            inputs, np.asarray(fakes)[:len(chunk)],
            None if cycles is None else np.asarray(cycles)[:len(chunk)],
            None if partners is None else np.asarray(partners[chunk]),
        ))
    return Translated(*(
        None if parts[0] is None else np.concatenate(parts)
        for parts in zip(*chunks)
    ))


def _apply(algorithm, direction, weights, images):
    return algorithm.translate(weights, images, direction)


_translate = jax.jit(_apply, static_argnums=(0, 1))


def _measured(inputs, fakes, cycles, partners):
    """Return the `Translated` of one batch of float images."""
    errors_of = translation_errors.absolute_errors
    return Translated(
        inputs, writer.to_uint8(fakes),
        None if cycles is None else writer.to_uint8(cycles), partners,
        None if partners is None else errors_of(fakes, partners),
        None if cycles is None else errors_of(cycles, inputs),
    )


class _Setup:
    """The images and features of a direction, the same for all steps."""

    def __init__(self, direction, options, say):
        """Choose images and build the extractor.

        Args:
            direction: `domains.Direction`.
            options: `runner.EvaluationOptions`.
            say: function that prints a line.
        """
        self._direction, self._options, self._say = direction, options, say
        self._indices = reference.sample_indices(
            len(direction.inputs.images), options.num_fake or options.num_real
        )
        training = direction.training
        self._extractor = extractors.make(
            options.features or self._default_features(), training,
            direction.test,
        )
        self._real = reference.view_of(
            training, reference.sample_indices(
                len(training.images), options.num_real
            ), self._extractor, f'real {direction.target}',
        )
        self._halves = registry.halves(self._real)

    def _default_features(self):
        """Return the name of features that the images of the target allow."""
        labels = self._direction.training.labels
        if labels is not None and len(np.unique(labels)) > 1:
            return 'classifier'
        self._say(
            f'note: images of {self._direction.target} have no labels of two '
            'classes or more for a classifier, so images are compared by '
            'features of an untrained network (--features=random); '
            '--features=efficientnet_lite0 or inception is better'
        )
        return 'random'

    def measure(self, algorithm, weights):
        """Return the settings and, under 'values', the numbers of a step."""
        direction, extractor = self._direction, self._extractor
        translated = translate(
            algorithm, weights, direction.name, direction.inputs.images,
            self._indices, direction.partners,
        )
        untranslated = domains.with_channels(
            translated.inputs, translated.images.shape[-1]
        )
        fake, unchanged = (
            registry.View(
                images, None, extractor,
                progress=reference.progress_bar(label),
            ) for images, label in (
                (translated.images, 'translations'), (untranslated, 'inputs')
            )
        )
        own = {
            'true_error': lambda: self._true_error(translated, untranslated),
            'cycle_error': lambda: self._cycle_error(translated),
            'class_kept': lambda: self._class_kept(translated, untranslated),
        }
        values = {}
        names = self._options.metrics or catalog.DEFAULT_OF_TRANSLATIONS
        for name in names:
            try:
                values |= own[name]() if name in own else self._numbers(
                    name, fake, unchanged
                )
            except (errors.ConfigError, errors.DataError) as error:
                if self._options.metrics:
                    raise
                self._say(f'{direction.name} {name} is skipped: {error}')
        return {**self._settings(translated), 'values': values}

    def _settings(self, translated):
        direction, extractor = self._direction, self._extractor
        return {
            'direction': direction.name,
            'data': direction.inputs.name, 'split': direction.split,
            'held_out': direction.held_out,
            'shape': list(translated.inputs.shape[1:]),
            'num_fake': len(translated.inputs),
            'target': direction.training.name,
            'target_shape': list(translated.images.shape[1:]),
            'num_real': len(self._real),
            'true_images': direction.known_by,
            'features': {
                'name': extractor.name, 'fingerprint': extractor.fingerprint,
                'note': extractor.note,
            },
        }

    def _true_error(self, translated, untranslated):
        """Return the errors to the true translations."""
        if translated.partners is None:
            raise errors.DataError(
                f'the true translations of {self._direction.source} are not '
                'known'
            )
        errors_of = translation_errors.absolute_errors
        mean = translation_errors.mean_image(self._direction.training.images)
        numbers = translation_errors.true_error(
            translated.true_errors,
            errors_of(untranslated, translated.partners),
            errors_of(translated.partners, mean),
        )
        values = {name: {'value': value} for name, value in numbers.items()}
        values['true_error']['untranslated'] = numbers['domain_distance']
        return values

    def _cycle_error(self, translated):
        """Return the error of images translated there and back."""
        if translated.cycle_errors is None:
            raise errors.DataError('there is no generator of the way back')
        return {
            'cycle_error': {'value': float(translated.cycle_errors.mean())}
        }

    def _class_kept(self, translated, untranslated):
        """Return the share of images of the class of their source."""
        direction = self._direction
        inputs, training = direction.inputs, direction.training
        if inputs.labels is None or inputs.classes != training.classes:
            raise errors.DataError(
                f'images of {direction.source} and {direction.target} have no '
                'labels of the same classes'
            )
        test = direction.test
        classify = classifier_cache.load(
            training.images, training.labels, training.classes,
            test=None if test is None else (test.images, test.labels),
        )
        labels = inputs.labels[self._indices]
        seen = extractors.Extractor(
            'classifier', classify.fingerprint, '', len(training.classes),
            classify,
        )
        value, before = (
            translation_errors.kept(seen(images).logits, labels)
            for images in (translated.images, untranslated)
        )
        return {'class_kept': {
            'value': value, 'untranslated': before, 'floor': classify.accuracy
        }}

    def _numbers(self, name, fake, unchanged):
        """Return the numbers of a metric of the registry, and those before."""
        numbers = registry.measure(name, self._real, fake, self._halves)
        before = registry.measure(name, self._real, unchanged)
        return {
            key: {
                'value': number.value, 'untranslated': before[key].value,
                'floor': number.floor,
            } for key, number in numbers.items()
        }


def table(result):
    """Format the numbers of one direction as a table.

    Args:
        result: dict of `evaluate_run`.

    Returns:
        List of lines: the settings, the head, and a line for each number.
    """
    source, target = translation.DIRECTIONS[result['direction']]
    features = result['features']
    known = result['true_images'] or 'not known'
    seen = 'held out' if result['held_out'] else 'trained on'
    rows = [HEAD, *(
        (name, *(_text(value.get(key)) for key in (
            'value', 'untranslated', 'floor'
        )), catalog.BETTER.get(name, ''))
        for name, value in result['values'].items() if _is_shown(name)
    )]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        f'{result["direction"]} of step {result["step"]} {result["weights"]}: '
        f'{result["num_fake"]:,} images of {source}, {seen} '
        f'({_described(result, "data", "shape")}, {result["split"]}), against '
        f'{result["num_real"]:,} of {target} '
        f'({_described(result, "target", "target_shape")})',
        f'true translations: {known} | features: {features["note"]}, '
        f'{features["fingerprint"]}',
        *(
            '  '.join(
                cell.rjust(width) if place in (1, 2, 3) else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths))
            ).rstrip() for row in rows
        ),
    ]


def _is_shown(name):
    """Return whether a number has a row: no deviations, no single scales."""
    return name in catalog.BETTER


def _text(value):
    return '-' if value is None else f'{value:.4g}'


def _described(result, name, shape):
    return f'{result[name]} {"x".join(map(str, result[shape]))}'
