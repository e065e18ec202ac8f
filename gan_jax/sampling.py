"""Images from a run folder: by seed, on any machine, from any checkpoint."""

import functools

from etils import epath
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import build
from gan_jax import errors
from gan_jax import run_files
from gan_jax.data import sources
from gan_jax.runtime import checkpoint
from gan_jax.steps import baselines
from gan_jax.steps import game
from gan_jax.steps import latents

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


@functools.partial(jax.jit, static_argnums=0)
def _latents(gan, seeds):
    return latents.draw(
        jax.random.key(0), seeds, gan.latent_size, gan.latent
    )


_generate = jax.jit(game.generate, static_argnums=0)


def sample(
    gan, state, seeds, *, labels=None, weights='ema', truncation=None
):
    """Generate one image for each seed.

    A seed gives the same z in every run of one latent size, alone or among
    others.

    Args:
        gan: `game.GAN`.
        state: `game.GANState`, on one device or as NumPy arrays.
        seeds: sequence of ints in [0, 2^31).
        labels: the class asked for, for each seed; by default seed modulo
            number of classes. Of a GAN with a condition alone.
        weights: one of `game.WEIGHTS`: the generator's moving average, itself
            as it is, or the plain average of its last snapshots.
        truncation: as `latents_of`.

    Returns:
        float32 [len(seeds), H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: for labels or weights that the GAN does not have.
    """
    labels = labels_of(gan, seeds, labels)
    z = latents_of(gan, seeds, truncation)
    return generate(gan, state, z, labels, weights=weights)


def between(
    gan, state, seeds, count, *, path='slerp', labels=None, weights='ema',
    truncation=None,
):
    """Generate the ways from each seed's image to the next seed's.

    Args:
        gan, state, weights, truncation: as `sample`.
        seeds: two or more.
        labels: the class of each way's start, as `sample`; it stays.
        count: images of each way, both ends included, >= 2.
        path: one of `latents.PATHS`.

    Returns:
        float32 [(len(seeds) - 1) * count, H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: as `sample`.
    """
    z = latents_of(gan, seeds, truncation)
    shares = jnp.linspace(0, 1, count)
    ways = [
        latents.PATHS[path](first, last, shares)
        for first, last in zip(z, z[1:])
    ]
    labels = labels_of(gan, seeds, labels)
    if labels is not None:
        labels = np.repeat(labels[:-1], count)
    return generate(
        gan, state, np.concatenate(ways), labels, weights=weights
    )


def reconstruct(gan, state, images):
    """Bring images to their codes and back.

    Args:
        gan: `game.GAN` of a baseline with an encoder.
        state: `game.GANState`, on one device or as NumPy arrays.
        images: [N, H, W, C] uint8, or points [N, D].

    Returns:
        float32 [N, H, W, C] in [-1, 1], or [N, D].

    Raises:
        errors.ConfigError: where there is no encoder.
    """
    if not encodes(gan):
        raise errors.ConfigError(
            f'baseline.name={gan.baseline!r} has no encoder to reconstruct by'
        )
    return np.concatenate([
        np.asarray(_reconstruct(gan, state, images[start:start + BATCH]))
        for start in range(0, len(images), BATCH)
    ])


def encodes(gan):
    """Say whether any image can be brought to a code."""
    return gan.baseline in game.ENCODED


_reconstruct = jax.jit(baselines.reconstruct, static_argnums=0)


def labels_of(gan, seeds, labels=None):
    """Give the class of each seed, None where the GAN has no condition.

    Args:
        gan: `game.GAN`.
        seeds, labels: as `sample`.

    Returns:
        int32 [len(seeds)], or None.

    Raises:
        errors.ConfigError: for labels that the GAN does not have.
    """
    if not gan.num_classes:
        if labels is not None:
            raise errors.ConfigError(
                f'labels={list(labels)} have no meaning: the generator has no '
                'condition'
            )
        return None
    if labels is None:
        labels = np.asarray(seeds) % gan.num_classes
    labels = np.asarray(labels, np.int32)
    if len(labels) != len(seeds) or not (
            (0 <= labels) & (labels < gan.num_classes)).all():
        raise errors.ConfigError(
            f'labels={labels.tolist()} are not a class in [0, '
            f'{gan.num_classes}) for each of {len(seeds)} seeds'
        )
    return labels


def latents_of(gan, seeds, truncation=None):
    """Give the z of each seed.

    Args:
        gan: `game.GAN`.
        seeds: sequence of ints in [0, 2^31).
        truncation: largest size of each value, see `latents.TRUNCATIONS`; None
            for any.

    Returns:
        float32 [len(seeds), latent_size].

    Raises:
        errors.ConfigError: where the GAN's latent has no truncation.
    """
    if truncation is not None and gan.latent not in latents.TRUNCATIONS:
        raise errors.ConfigError(
            f'truncation={truncation} has no meaning: latent={gan.latent!r} '
            'has one length'
        )
    z = _drawn(gan, seeds)
    if truncation is None:
        return z
    return np.asarray(latents.TRUNCATIONS[gan.latent](z, truncation))


def _drawn(gan, seeds):
    seeds = np.asarray(seeds, np.int32)
    padded = np.pad(seeds, (0, -len(seeds) % BATCH), mode='edge')
    return np.concatenate([
        np.asarray(_latents(gan, chunk)) for chunk in padded.reshape(-1, BATCH)
    ])[:len(seeds)]


def check_weights(gan, state, weights):
    """Refuse weights that do not exist, or do not exist yet."""
    if weights not in game.WEIGHTS:
        raise errors.ConfigError(
            errors.unknown_name('weights', weights, game.WEIGHTS)
        )
    if weights != 'snapshots':
        return
    if not gan.snapshots:
        raise errors.ConfigError(
            "weights='snapshots' averages those that a run keeps, and "
            'snapshots.count=0 keeps none'
        )
    if not int(state.memory['snapshots']['taken']):
        raise errors.ConfigError(
            f"weights='snapshots' has nothing to average at step "
            f'{int(state.step)}: the first snapshot is taken at step '
            f'{gan.snapshot_every}, snapshots.every'
        )


def generate(gan, state, z, labels=None, *, weights='ema'):
    """Generate images of latents, in chunks of one size.

    Args:
        gan, state, weights: as `sample`.
        z: [N, latent_size], as of `latents_of`.
        labels: int32 [N], as of `labels_of`.

    Returns:
        float32 [N, H, W, C] in [-1, 1].

    Raises:
        errors.ConfigError: for weights that the GAN does not have.
    """
    check_weights(gan, state, weights)
    places = np.arange(-(-len(z) // BATCH) * BATCH)
    chunks = np.minimum(places, len(z) - 1).reshape(-1, BATCH)
    # The rest of the state stays behind: it is not needed to sample.
    params, stats = jax.tree.map(jnp.asarray, game.WEIGHTS[weights](state))
    z = game.like_codes(gan, state, z)
    images = [
        np.asarray(_generate(
            gan, params, stats, z[chunk],
            None if labels is None else labels[chunk],
        ))
        for chunk in chunks
    ]
    return np.concatenate(images)[:len(z)]


def codes_fn(gan, state):
    """Give `game.like_codes` as a function of z alone, cheap to call.

    The map is affine but where codes are given; what it takes to find it is
    done once, here.
    """
    if gan.latent != 'fitted' or gan.baseline == 'given':
        return functools.partial(game.like_codes, gan, state)
    size = gan.latent_size
    mean = np.asarray(game.like_codes(gan, state, jnp.zeros((1, size))))
    matrix = np.asarray(game.like_codes(gan, state, jnp.eye(size))) - mean
    return lambda z: mean + jnp.matmul(z, matrix, precision='highest')


load_config, load_data = run_files.load_config, run_files.load_data


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
        (`game.GAN`, `game.GANState` of NumPy arrays).

    Raises:
        errors.CheckpointError: where there is no such run or step.
    """
    config = load_config(workdir)
    data = load_data(workdir)
    image_shape = tuple(data['image_shape'])
    try:
        gan = build.gan(
            config, image_shape, len(data.get('classes', ())),
            data.get('count', 0),
        )
        abstract = build.abstract_state(gan, image_shape)
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
    return gan, state
