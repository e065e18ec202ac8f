"""Images from a run folder: by seed, on any machine, from any checkpoint."""


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
from gan_jax.runs import run_files
from gan_jax.runtime import checkpoint

BATCH = 64  # images made at once; another number would compile again
BEST = 'best'  # the step of the lowest cost, where the config has keep_best


def parse_seeds(text, flag='--seeds'):
    """Read seeds such as '0-63' or '3,7,10-12', of the flag that is named.

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
            raise errors.ConfigError(f'{flag}={text!r} asks for over 10^6')
        seeds.extend(range(int(first), int(last) + 1))
    return seeds


def parse_step(text):
    """Read a step of `load`: None, 'best' or a number.

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
    algorithm, state, seeds, *, labels=None, weights='ema', truncation=None
):
    """Generate one image for each seed.

    A seed gives the same z in every run of one latent size, alone or among
    others.

    Args:
        algorithm: the value that trained, as of `algorithm.Algorithm`.
        state: `algorithm.TrainState`, on one device or as NumPy arrays.
        seeds: sequence of ints in [0, 2^31).
        labels: the class asked for, for each seed; by default seed modulo
            number of classes. Of a GAN with a condition alone.
        weights: one of `Algorithm.weight_names`: the generator's moving
            average, itself as it is, or the plain average of its last
            snapshots.
        truncation: as `latents.inputs`.

    Returns:
        float32 [len(seeds), H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: for labels or weights that it does not have.
    """
    check_weights(algorithm, state, weights)
    inputs = algorithm.inputs(seeds, labels, truncation)
    return apply(algorithm, algorithm.weights(state, weights), inputs)


def interpolate(
    algorithm, state, seeds, count, *, path='slerp', labels=None, weights='ema',
    truncation=None,
):
    """Generate the ways from each seed's image to the next seed's.

    Args:
        algorithm, state, weights, truncation: as `sample`.
        seeds: two or more.
        labels: the class of each way's start, as `sample`; it stays.
        count: images of each way, both ends included, >= 2.
        path: one of `latents.PATHS`.

    Returns:
        float32 [(len(seeds) - 1) * count, H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: as `sample`.
    """
    z = latents_of(algorithm, seeds, truncation)
    shares = jnp.linspace(0, 1, count)
    ways = [
        latents.PATHS[path](first, last, shares)
        for first, last in zip(z, z[1:])
    ]
    labels = latents.labels_of(algorithm, seeds, labels)
    if labels is not None:
        labels = np.repeat(labels[:-1], count)
    return generate(
        algorithm, state, np.concatenate(ways), labels, weights=weights
    )


def reconstruct(algorithm, state, images):
    """Bring images to their codes and back.

    Args:
        algorithm: one that encodes.
        state: `algorithm.TrainState`, on one device or as NumPy arrays.
        images: [N, H, W, C] uint8, or points [N, D].

    Returns:
        float32 [N, H, W, C] in [-1, 1], or [N, D].

    Raises:
        errors.ConfigError: where there is no encoder.
    """
    if not algorithm.encodes:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no encoder to reconstruct by'
        )
    return np.concatenate([
        np.asarray(_reconstruct(algorithm, state, images[start:start + BATCH]))
        for start in range(0, len(images), BATCH)
    ])


_reconstruct = jax.jit(reconstruction.reconstruct, static_argnums=0)


def latents_of(algorithm, seeds, truncation=None):
    """Return the z [N, latent_size] of seeds, as `latents.z_of`.

    Raises:
        errors.ConfigError: where images are made of no z.
    """
    if not algorithm.latent_size:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no latents: it makes images of '
            'images'
        )
    return latents.z_of(algorithm, seeds, truncation)


def check_weights(algorithm, state, weights):
    """Refuse weights that do not exist, or do not exist yet."""
    if weights not in algorithm.weight_names and weights != 'snapshots':
        raise errors.ConfigError(errors.unknown_name(
            'weights', weights, algorithm.weight_names
        ))
    if weights != 'snapshots':
        return
    if weights not in algorithm.weight_names:
        raise errors.ConfigError(
            "weights='snapshots' averages those that a run keeps, and "
            'snapshots.count=0 keeps none'
        )
    if not int(state.memory['snapshots']['taken']):
        raise errors.ConfigError(
            f"weights='snapshots' has nothing to average at step "
            f'{int(state.step)}: the first snapshot is taken at step '
            f'{algorithm.snapshot_every}, snapshots.every'
        )


def generate(algorithm, state, z, labels=None, *, weights='ema'):
    """Generate images of latents, in chunks of one size.

    Args:
        algorithm, state, weights: as `sample`.
        z: [N, latent_size], as of `latents_of`.
        labels: int32 [N], as of `latents.labels_of`.

    Returns:
        float32 [N, H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: for weights that the algorithm does not have.
    """
    check_weights(algorithm, state, weights)
    return apply(
        algorithm, algorithm.weights(state, weights),
        algorithm_lib.Inputs(z, labels),
    )


def apply(algorithm, weights, inputs):
    """Apply an algorithm to inputs, in chunks of one size.

    Args:
        algorithm: the value that trained.
        weights: as of `Algorithm.weights`.
        inputs: `algorithm.Inputs` of N samples.

    Returns:
        float32 [N, ...], a NumPy array.
    """
    count = len(inputs.main)
    places = np.arange(-(-count // BATCH) * BATCH)
    chunks = np.minimum(places, count - 1).reshape(-1, BATCH)
    # The rest of the state stays behind: it is not needed to sample.
    weights = jax.tree.map(jnp.asarray, weights)
    images = [
        np.asarray(_apply(algorithm, weights, jax.tree.map(
            lambda rows: rows[chunk], inputs
        ))) for chunk in chunks
    ]
    return np.concatenate(images)[:count]


def _apply_one(algorithm, weights, inputs):
    return algorithm.apply(weights, inputs)


_apply = jax.jit(_apply_one, static_argnums=0)


load_config, load_data = run_files.load_config, run_files.load_data


def load_data_config(workdir):
    """Load the config of a run folder, as that of its first source.

    Raises:
        errors.CheckpointError: where the folder is not a run's.
    """
    return defaults.of_source(load_config(workdir))


def load_forms(workdir):
    """Return the `builders.Form` of every source of a run folder."""
    return {
        name: builders.Form(
            tuple(data['image_shape']), len(data['classes']), data['count']
        ) for name, data in run_files.load_sources(workdir).items()
    }


def check_data(workdir):
    """Refuse a run on arrays that were given from Python.

    Raises:
        errors.DataError: since its config names other data.
    """
    if load_data(workdir).get('name') == sources.ARRAYS:
        raise errors.DataError(
            f'--workdir={workdir} was trained on arrays that were given from '
            'Python, and holds no images to compare with; gan_jax.evaluate '
            '--real=… --fake=… compares two folders or array files'
        )


def saved_steps(workdir):
    """List the saved steps of a run folder, oldest first.

    Raises:
        errors.CheckpointError: where there are none.
    """
    checkpoints = _checkpoints(workdir)
    try:
        found = checkpoints.steps()
    finally:
        checkpoints.close()
    if not found:
        raise errors.CheckpointError(f'no checkpoint in {workdir} yet')
    return found


def _checkpoints(workdir):
    return checkpoint.Checkpoints(
        epath.Path(workdir).expanduser() / 'checkpoints', read_only=True
    )


def load(workdir, step=None):
    """Bring back a run from its folder alone.

    Args:
        workdir: the folder.
        step: a saved step, or `BEST`; the newest by default.

    Returns:
        (the algorithm, `algorithm.TrainState` of NumPy arrays).

    Raises:
        errors.CheckpointError: where there is no such run or step.
    """
    config = load_config(workdir)
    try:
        forms = load_forms(workdir)
        made = builders.algorithm(config, forms)
        abstract = builders.abstract_state(config, made, forms)
    except errors.UserError:
        raise
    except Exception as error:  # of sizes that do not meet, many kinds
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise errors.CheckpointError(
            f'no networks can be made of config.json and data.json in '
            f'{workdir}: {reason:.200}'
        ) from error
    checkpoints = _checkpoints(workdir)
    try:
        if step == BEST:
            step, _ = checkpoints.best()
            if step is None:
                raise errors.CheckpointError(
                    f'no step in {workdir} was saved as the best; '
                    '--config.keep_best names a metric to train by'
                )
        state = checkpoints.restore_newest(abstract) if step is None else (
            checkpoints.restore(step, abstract)
        )
    finally:
        checkpoints.close()
    if state is None:
        raise errors.CheckpointError(f'no checkpoint in {workdir} yet')
    return made, state
