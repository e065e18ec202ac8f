"""Sampling from a trained run: loading of a run folder, images by seed.

A seed gives the same image on any machine. Knows nothing of the training loop.
"""

import itertools
import math

from etils import epath
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import latents
from gan_jax.algorithms import reconstruction
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.runs import release_files
from gan_jax.runs import release_tensors
from gan_jax.runs import run_files
from gan_jax.runtime import checkpoint

BATCH = 64  # most samples of a call; a fixed size avoids recompilation
BATCH_PIXELS = 2**22  # most pixels of a call
SPACES = ('z', 'w')  # in which seeds can be interpolated
STANDING_SEED = 2**30  # first seed of `standing_statistics`
BEST = 'best'  # name of the step of lowest cost, of runs with keep_best


def batch_size(shape):
    """Return how many samples to compute in a call, from 1 to `BATCH`.

    Args:
        shape: of one sample, (H, W, C) or (D,).
    """
    pixels = math.prod(shape[:-1])
    return min(max(1, BATCH_PIXELS // pixels), BATCH)


def parse_seeds(text, flag='--seeds'):
    """Parse seeds such as '0-63' or '3,7,10-12'.

    Args:
        text: of a flag.
        flag: its name, for the error.

    Returns:
        list of ints, in the order written.

    Raises:
        errors.ConfigError: for anything else, or a seed of 2^31 and above.
    """
    seeds = []
    for part in text.split(','):
        first, dash, last = part.strip().partition('-')
        last = last if dash else first
        if not (first.isascii() and first.isdigit()
                and last.isascii() and last.isdigit()
                and int(first) <= int(last) < 2**31):
            raise errors.ConfigError(
                f"{flag}={text!r} is not a list such as '0-63' or '3,7,10-12' "
                'of numbers below 2^31'
            )
        if int(last) - int(first) >= 10**6:
            raise errors.ConfigError(f'{flag}={text!r} has over 10^6 seeds')
        seeds.extend(range(int(first), int(last) + 1))
    return seeds


def parse_step(text):
    """Parse a step for `load`: None, 'best' or a number.

    Raises:
        errors.ConfigError: for anything else.
    """
    if text is None or text == BEST or isinstance(text, int):
        return text
    if not (text.isascii() and text.isdigit()):
        raise errors.ConfigError(
            f'--step={text!r} is neither the number of a step nor {BEST!r}'
        )
    return int(text)


def sample(
    algorithm, state, seeds, *, labels=None, weights='ema', truncation=None,
    truncated_styles=None, noise='fixed', standing=0,
):
    """Generate one image for each seed.

    A seed gives the same z in every run of one latent size, alone or among
    others.

    Args:
        algorithm: `algorithm.Algorithm`.
        state: `algorithm.TrainState`, on one device or as NumPy arrays.
        seeds: sequence of ints in [0, 2^31).
        labels: class of each image, for conditional GANs; by default the seed
            modulo the number of classes.
        weights: one of `Algorithm.weight_names`: 'ema', the moving average of
            the generator; 'raw', its parameters; or 'snapshots', the plain
            average of its last snapshots.
        truncation, truncated_styles, noise: as of `latents.inputs`.
        standing: number of batches of other samples, of all classes and with
            this truncation, whose mean statistics BatchNorm gets; 0 keeps the
            running ones.

    Returns:
        float32 [len(seeds), H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: for labels, weights or statistics that do not exist.
    """
    check_weights(algorithm, state, weights)
    options = {'truncation': truncation, 'truncated_styles': truncated_styles}
    inputs = algorithm.inputs(seeds, labels, noise=noise, **options)
    chosen = algorithm.weights(state, weights)
    if standing:
        chosen = standing_statistics(algorithm, chosen, standing, **options)
    return apply(algorithm, chosen, inputs)


def standing_statistics(algorithm, weights, count, **truncation):
    """Return weights with BatchNorm's mean statistics over batches of samples.

    Args:
        algorithm: `algorithm.Algorithm`.
        weights: as of `Algorithm.weights`.
        count: number of batches of `batch_size` samples, > 0.
        truncation: `truncation` and `truncated_styles` of `latents.inputs`.

    Raises:
        errors.ConfigError: if the network has no BatchNorm.

    References:
        Brock et al., Large Scale GAN Training for High Fidelity Natural Image
        Synthesis, https://arxiv.org/abs/1809.11096, 2018, section 4.1.
    """
    size = _size_of_call(
        _apply, algorithm, weights, algorithm.inputs([0], **truncation)
    )
    for number in range(count):
        first = STANDING_SEED + number * size
        inputs = algorithm.inputs(range(first, first + size), **truncation)
        weights = _standing_statistics(algorithm, weights, inputs, number + 1)
        if weights is None:
            raise errors.ConfigError(
                f'standing={count} computes the statistics of BatchNorm, and '
                'this generator has none'
            )
    return weights


def _update_statistics(algorithm, weights, inputs, number):
    return algorithm.standing_statistics(weights, inputs, number)


_standing_statistics = jax.jit(_update_statistics, static_argnums=0)


def interpolate(
    algorithm, state, seeds, count, *, path=None, labels=None, weights='ema',
    space='z', **truncation,
):
    """Generate interpolations from each seed's image to the next seed's.

    Args:
        algorithm, state, weights: as `sample`.
        seeds: two or more.
        count: images of each interpolation, both ends included, >= 2.
        path: one of `latents.PATHS`; by default 'slerp' of z and 'lerp' of w.
        labels: as of `sample`. In z an interpolation keeps the label of its
            start; in w, of which the class is part, it leads to the next label.
        space: one of `SPACES`; 'w' interpolates the styles of a style-based
            generator.
        truncation: `truncation` and `truncated_styles` of `sample`.

    Returns:
        float32 [(len(seeds) - 1) * count, H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: as `sample`, and for a path that is not for w.
    """
    check_space(space)
    labels = latents.labels_from_seeds(algorithm, seeds, labels)
    if space == 'w':
        if path == 'slerp':
            raise errors.ConfigError(
                "path='slerp' is for space='z'; w lie on no sphere"
            )
        ends = styles_of(
            algorithm, state, seeds, labels, weights=weights, **truncation
        )
    else:
        ends = latents_of(algorithm, seeds, truncation.get('truncation'))
    path = latents.PATHS[path or ('lerp' if space == 'w' else 'slerp')]
    shares = jnp.linspace(0, 1, count)
    flat = ends.reshape(len(ends), -1)
    paths = np.concatenate([
        path(first, last, shares) for first, last in zip(flat, flat[1:])
    ])
    if labels is not None:
        labels = np.repeat(labels[:-1], count)
    return generate(
        algorithm, state, paths.reshape(-1, *ends.shape[1:]), labels,
        weights=weights, **({} if space == 'w' else truncation),
    )


def reconstruct(algorithm, state, images):
    """Encode images and decode the codes.

    Args:
        algorithm: `algorithm.Algorithm` with an encoder.
        state: `algorithm.TrainState`, on one device or as NumPy arrays.
        images: [N, H, W, C] uint8, or points [N, D].

    Returns:
        float32 [N, H, W, C] in [-1, 1], or [N, D].

    Raises:
        errors.ConfigError: where there is no encoder.
    """
    if not algorithm.encodes:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no encoder for reconstructions'
        )
    size = batch_size(images.shape[1:])
    return np.concatenate([
        np.asarray(_reconstruct(algorithm, state, images[start:start + size]))
        for start in range(0, len(images), size)
    ])


_reconstruct = jax.jit(reconstruction.reconstruct, static_argnums=0)


def check_space(space):
    """Check that a space is one of `SPACES`.

    Raises:
        errors.ConfigError: where it is not.
    """
    if space not in SPACES:
        raise errors.ConfigError(errors.unknown_name('space', space, SPACES))


def latents_of(algorithm, seeds, truncation=None):
    """Return the latents of seeds, [N, latent_size], as `latents.z_from_seeds`.

    Those of a style-based generator are not truncated; `generate` and
    `to_styles` truncate its styles.

    Raises:
        errors.ConfigError: where the algorithm has no latents.
    """
    if not algorithm.latent_size:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no latents: it translates '
            'images to images'
        )
    return latents.z_from_seeds(algorithm, seeds, truncation)


def styles_of(
    algorithm, state, seeds, labels=None, *, weights='ema', **truncation
):
    """Return the styles of seeds, see `to_styles`.

    Args:
        algorithm, state, seeds, labels, weights: as `sample`.
        truncation: as `to_styles`.
    """
    labels = latents.labels_from_seeds(algorithm, seeds, labels)
    return to_styles(
        algorithm, state, latents_of(algorithm, seeds), labels,
        weights=weights, **truncation,
    )


def to_styles(
    algorithm, state, z, labels=None, *, weights='ema', **truncation
):
    """Map z to the styles of a style-based generator.

    Args:
        algorithm, state, z, labels, weights: as `generate`.
        truncation: as of `latents.numbers`.

    Returns:
        float32 [N, num_styles, D], for `generate`: without truncation all
        styles of a sample are the same w.

    Raises:
        errors.ConfigError: where the generator has no styles, and as
            `generate`.
    """
    latents.check_styles(algorithm, "space='w'")
    check_weights(algorithm, state, weights)
    return _in_batches(
        _styles, algorithm, algorithm.weights(state, weights),
        algorithm_lib.Inputs(
            z, labels, numbers=latents.numbers(algorithm, **truncation)
        ),
    )


def check_weights(algorithm, state, weights):
    """Check that weights exist at the state's step.

    Raises:
        errors.ConfigError: where they do not.
    """
    if weights not in algorithm.weight_names and weights != 'snapshots':
        raise errors.ConfigError(errors.unknown_name(
            'weights', weights, algorithm.weight_names
        ))
    if weights != 'snapshots':
        return
    if weights not in algorithm.weight_names:
        raise errors.ConfigError(
            "weights='snapshots' averages the snapshots of a run, and "
            'snapshots.count=0 keeps none'
        )
    if not int(state.memory['snapshots']['taken']):
        raise errors.ConfigError(
            f"weights='snapshots' has nothing to average at step "
            f'{int(state.step)}: the first snapshot is taken at step '
            f'snapshots.every={algorithm.snapshot_every}'
        )


def generate(
    algorithm, state, z, labels=None, *, weights='ema', **truncation
):
    """Generate images from latents, or from the styles of latents.

    Args:
        algorithm, state, weights: as `sample`.
        z: [N, latent_size], as of `latents_of`; or styles [N, num_styles, D],
            as of `to_styles`, which are not truncated again.
        labels: int32 [N], as of `latents.labels_from_seeds`; not used with
            styles, of which the class is part.
        truncation: as of `latents.numbers`; it does not change z.

    Returns:
        float32 [N, H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: for weights that do not exist.
    """
    check_weights(algorithm, state, weights)
    inputs = algorithm_lib.Inputs(z) if z.ndim == 3 else algorithm_lib.Inputs(
        z, labels, numbers=latents.numbers(algorithm, **truncation)
    )
    return apply(algorithm, algorithm.weights(state, weights), inputs)


def apply(algorithm, weights, inputs):
    """Apply an algorithm to inputs, in batches of `batch_size` samples.

    Args:
        algorithm: `algorithm.Algorithm`.
        weights: as of `Algorithm.weights`.
        inputs: `algorithm.Inputs` of N samples.

    Returns:
        float32 [N, ...], a NumPy array.
    """
    return _in_batches(_apply, algorithm, weights, inputs)


def _in_batches(function, algorithm, weights, inputs):
    """Call a function of (algorithm, weights, inputs) in batches of samples.

    The number of samples of a call is the `batch_size` of its outputs.
    """
    count = len(inputs.main)
    weights = jax.tree.map(jnp.asarray, weights)
    size = _size_of_call(function, algorithm, weights, inputs)
    outputs = [
        np.asarray(function(algorithm, weights, _padded(inputs, start, size)))
        for start in range(0, count, size)
    ]
    return np.concatenate(outputs)[:count]


def _size_of_call(function, algorithm, weights, inputs):
    """Return the `batch_size` of the outputs of a compiled function."""
    # Traced with `BATCH` samples, as for the call itself if images are small.
    outputs = function.eval_shape(
        algorithm, weights, _padded(inputs, 0, BATCH)
    )
    return batch_size(outputs.shape[1:])


def _padded(inputs, start, size):
    """Return `size` inputs from `start` on; the last one is repeated."""
    return inputs.rows(
        np.minimum(np.arange(start, start + size), len(inputs.main) - 1)
    )


def _apply_one(algorithm, weights, inputs):
    return algorithm.apply(weights, inputs)


def _styles_one(algorithm, weights, inputs):
    return algorithm.styles(weights, inputs)


_apply = jax.jit(_apply_one, static_argnums=0)
_styles = jax.jit(_styles_one, static_argnums=0)


def load_data_config(workdir):
    """Load the config of a run folder, with the data keys of its first source.

    Raises:
        errors.CheckpointError: where it is not a run folder.
    """
    return defaults.of_source(run_files.load_config(workdir))


def load_data_specs(workdir):
    """Load the `builders.DataSpec` of each data source of a run folder."""
    return {
        name: builders.DataSpec(
            tuple(data['image_shape']), len(data['classes']), data['count']
        ) for name, data in run_files.load_sources(workdir).items()
    }


def check_data(workdir):
    """Check that the data of a run can be loaded by its config.

    Raises:
        errors.DataError: for a run on arrays from Python, which are not saved.
    """
    if run_files.load_data(workdir).get('name') == sources.ARRAYS:
        raise errors.DataError(
            f'--workdir={workdir} was trained on arrays that were given from '
            'Python and are not saved, so there are no images to compare with; '
            'gan_jax.evaluate --real=… --fake=… compares two folders or array '
            'files'
        )


def check_units(workdir, dataset):
    """Check that images have the ranges of those that a run was trained on.

    Args:
        workdir: folder of the run.
        dataset: `sources.Dataset` to compare with its samples.

    Raises:
        errors.DataError: naming the first channel that has another.
    """
    now, before = (
        list(zip(*units[:2])) if units else []
        for units in (dataset.units, run_files.units(workdir))
    )
    for channel, ranges in enumerate(itertools.zip_longest(now, before)):
        if ranges[0] != ranges[1]:
            words = [
                f'the range {pair[0]} to {pair[1]}' if pair else 'no units'
                for pair in ranges
            ]
            raise errors.DataError(
                f'channel {channel} of {dataset.name} has {words[0]}, and that '
                f'of --workdir={workdir} {words[1]}; restore the files that it '
                'was trained on, or train with data.range'
            )


def saved_steps(workdir):
    """List the saved steps of a run folder, oldest first.

    Raises:
        errors.CheckpointError: where there are none.
    """
    if release_files.is_release(workdir):
        return [int(load(workdir)[1].step)]
    checkpoints = _checkpoints(workdir)
    try:
        steps = checkpoints.steps()
    finally:
        checkpoints.close()
    if not steps:
        raise errors.CheckpointError(f'no checkpoint in {workdir} yet')
    return steps


def _checkpoints(workdir):
    return checkpoint.Checkpoints(
        epath.Path(workdir).expanduser() / 'checkpoints', read_only=True
    )


def load(workdir, step=None):
    """Load a trained run from its folder, or from a release.

    Args:
        workdir: the run folder, or that of a release, which has one step.
        step: a saved step, or `BEST`; the newest by default.

    Returns:
        (`algorithm.Algorithm`, `algorithm.TrainState` of NumPy arrays).

    Raises:
        errors.CheckpointError: where there is no such run or step.
    """
    algorithm, abstract = build(workdir)
    if release_files.is_release(workdir):
        state, _ = release_tensors.load(workdir, abstract)
        if step not in (None, int(state.step)):
            raise errors.CheckpointError(
                f'{workdir} is a release of step {int(state.step)} and has no '
                f'step {step}'
            )
        return algorithm, state
    checkpoints = _checkpoints(workdir)
    try:
        if step == BEST:
            step, _ = checkpoints.best()
            if step is None:
                raise errors.CheckpointError(
                    f'no step in {workdir} was saved as the best; set '
                    '--config.keep_best to a metric when training'
                )
        state = checkpoints.restore_newest(abstract) if step is None else (
            checkpoints.restore(step, abstract)
        )
    finally:
        checkpoints.close()
    if state is None:
        raise errors.CheckpointError(f'no checkpoint in {workdir} yet')
    return algorithm, state


def build(workdir):
    """Build the algorithm of a run folder or a release.

    Returns:
        (`algorithm.Algorithm`, its abstract `algorithm.TrainState`).

    Raises:
        errors.CheckpointError: where its files describe no networks.
    """
    config = run_files.load_config(workdir)
    try:
        specs = load_data_specs(workdir)
        algorithm = builders.algorithm(config, specs)
        return algorithm, builders.abstract_state(config, algorithm, specs)
    except errors.CheckpointError:
        raise
    except errors.UserError as error:
        if not release_files.is_release(workdir):
            raise
        raise errors.ReleaseError(f'{workdir}: {error}') from error
    except Exception as error:  # sizes that do not match raise many types
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise release_files.error_type(workdir)(
            f'no networks can be built from config.json and data.json in '
            f'{workdir}: {reason:.200}'
        ) from error
