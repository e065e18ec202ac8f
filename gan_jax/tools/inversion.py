"""From images back to latents: by an encoder, or by search over z."""

import pathlib
from typing import NamedTuple, Optional

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import latents
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import listing
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.evaluation import runner
from gan_jax.runs import sampling


class Asked(NamedTuple):
    """How z is searched for.

    Attributes:
        restarts: starts for each image, of which the best is kept.
        steps: of Adam, whose rate falls to 0 as a cosine does.
        learning_rate: the first rate.
        prior: weight of the mean square of z in the loss; pulls z to where
            latents lie.
        seed: of the starts.
    """

    restarts: int = 4
    steps: int = 300
    learning_rate: float = 0.1
    prior: float = 0.0
    seed: int = 0


class Given(NamedTuple):
    """Images to reconstruct.

    Attributes:
        images: [N, H, W, C] uint8, or points [N, D].
        names: what each is called.
        labels: int32 [N], or None.
        source: what they are of, for a last line.
    """

    images: np.ndarray
    names: tuple
    labels: Optional[np.ndarray]
    source: str


class Found(NamedTuple):
    """What images were brought to.

    Attributes:
        codes: [N, latent_size]: z, or an encoder's codes.
        images: float32 [N, H, W, C], or points: what is made of them.
        error: [N], root mean square, images being in [-1, 1].
    """

    codes: np.ndarray
    images: np.ndarray
    error: np.ndarray


def given(workdir, text, split='', labels=None):
    """Read what --images names.

    Args:
        workdir: folder of the run.
        text: numbers such as '0-7' of the run's data, or files joined by
            commas, or a folder or archive.
        split: of the numbers; by default 'test' where the data have one.
        labels: ints, a class for each image, or None for those of the data.

    Returns:
        `Given`.

    Raises:
        errors.UserError: one line that says what to mend.
    """
    config = sampling.load_data_config(workdir)
    shape = tuple(sampling.load_data(workdir)['image_shape'])
    if text and all(c.isascii() and (c.isdigit() or c in ' ,-') for c in text):
        sampling.check_data(workdir)
        found = _of_run(config, text, split)
    elif len(shape) == 1:
        raise errors.ConfigError(
            f'--images={text!r}: points are asked for by number, such as 0-99'
        )
    else:
        found = _of_files(config, text, shape)
    if found.images.shape[1:] != shape:
        raise errors.DataError(
            f'{found.source} gives images of shape '
            f'{list(found.images.shape[1:])}, and the run had {list(shape)}'
        )
    if labels is not None:
        labels = np.resize(np.asarray(labels, np.int32), len(found.images))
        found = found._replace(labels=labels)
    return found


def _of_run(config, text, split):
    """Take some images of the run's data by number."""
    numbers = sampling.parse_seeds(text, '--images')
    dataset = None if split == 'train' else runner.held_out_of(config)
    if dataset is None and split == 'test':
        raise errors.DataError('the data of the run have no images held out')
    name = 'train' if dataset is None else 'test'
    if dataset is None:
        dataset = builders.dataset(config)
    if max(numbers) >= len(dataset.images):
        raise errors.ConfigError(
            f'--images={text}: {name} has the numbers 0 to '
            f'{len(dataset.images) - 1:,}'
        )
    return Given(
        np.asarray(dataset.images[np.array(numbers)]),
        tuple(map(str, numbers)),
        None if dataset.labels is None else dataset.labels[numbers],
        f'{dataset.name} {name}',
    )


def _of_files(config, text, shape):
    """Read image files, brought to the shape of the run."""
    preparation = pictures.Preparation(
        shape[:2], shape[2], config.data.crop, defaults.background(config)
    )
    paths = [pathlib.Path(part).expanduser() for part in text.split(',')]
    if paths[0].is_dir() or text.lower().endswith(tuple(sources.ENDINGS)):
        dataset = sources.load(sources.Request(
            sources.of_path(text), preparation=preparation
        ))
        names = tuple(map(str, range(len(dataset.images))))
        return Given(np.asarray(dataset.images), names, None, text)
    images = []
    for path in paths:
        try:
            content = files.read(path, listing.MAX_BYTES)
            images.append(pictures.decode(content, preparation))
        except OSError as error:
            raise errors.DataError(
                f'--images: {path} cannot be read: {error.strerror or error}'
            ) from error
        except ValueError as error:
            raise errors.DataError(f'--images: {path} {error}') from error
    return Given(
        np.stack([picture.pixels for picture in images]),
        tuple(path.name for path in paths), None, 'files',
    )


def encode(algorithm, state, images):
    """Reconstruct by the encoder.

    Args:
        algorithm, state, images: as of `sampling.reconstruct`.

    Returns:
        `Found`.
    """
    made = sampling.reconstruct(algorithm, state, images)
    codes = np.asarray(algorithm.encode(state, jnp.asarray(images)))
    return Found(codes, made, _error(_in_range(images), made))


def search(algorithm, state, images, labels=None, asked=Asked(), weights='ema'):
    """Search for the z whose image is nearest, by Adam from several starts.

    The loss is the mean square error plus `prior` times the mean square of z.
    Of a uniform latent, values that leave [-1, 1) are drawn anew, the
    stochastic clipping of the second paper; of a sphere, z is brought back.

    Args:
        algorithm: the value that trained.
        state: `algorithm.TrainState`.
        images: [N, H, W, C] uint8, or points [N, D].
        labels: int32 [N], where the GAN has a condition.
        asked: `Asked`.
        weights: one of `Algorithm.weight_names`.

    Returns:
        `Found`; its codes are z, as of `sampling.generate`.

    Raises:
        errors.ConfigError: where z is chosen among classes, or labels miss.

    References:
        Zhu et al., Generative Visual Manipulation on the Natural Image
        Manifold, https://arxiv.org/abs/1609.03552, 2016; Lipton and Tripathi,
        Precise Recovery of Latent Vectors from Generative Adversarial
        Networks, https://arxiv.org/abs/1702.04782, 2017.
    """
    if not algorithm.searchable:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has codes that name a class: there '
            'is no way from one to the next to search along'
        )
    count = len(images)
    if algorithm.num_classes:
        if labels is None:
            raise errors.ConfigError(
                'the generator is asked for a class; name that of each image '
                'by --labels'
            )
        labels = latents.labels_of(algorithm, range(count), labels)
    else:
        labels = None
    targets = _in_range(images)
    # One row for each start of each image, in chunks of one size.
    rows = np.tile(np.arange(count), asked.restarts)
    padded = np.resize(rows, -(-len(rows) // sampling.BATCH) * sampling.BATCH)
    key = jax.random.key(asked.seed)
    z = np.asarray(latents.draw(
        key, jnp.arange(len(padded)), algorithm.latent_size, algorithm.latent
    ))
    descend = _descent(algorithm, state, asked, weights)
    places = np.arange(len(padded)).reshape(-1, sampling.BATCH)
    z = np.concatenate([
        descend(
            z[chunk], targets[padded[chunk]],
            None if labels is None else labels[padded[chunk]],
            jax.random.fold_in(key, number),
        ) for number, chunk in enumerate(places)
    ])[:len(rows)]
    made = sampling.generate(
        algorithm, state, z, None if labels is None else labels[rows],
        weights=weights,
    )
    error = _error(targets[rows], made)
    loss = np.square(error) + asked.prior * np.square(z).mean(1)
    best = loss.reshape(asked.restarts, count).argmin(0) * count
    best += np.arange(count)
    return Found(z[best], made[best], error[best])


def _descent(algorithm, state, asked, weights):
    """Make the function of (z, targets, labels, key) that descends."""
    weights = jax.tree.map(jnp.asarray, algorithm.weights(state, weights))
    tx = optax.adam(optax.cosine_decay_schedule(
        asked.learning_rate, asked.steps
    ))

    def loss(z, targets, labels):
        made = algorithm.apply(weights, algorithm_lib.Inputs(z, labels))
        axes = tuple(range(1, targets.ndim))
        error = jnp.square(made - targets).mean(axes)
        return (error + asked.prior * jnp.square(z).mean(1)).sum()

    @jax.jit
    def step(z, opt_state, targets, labels, key):
        updates, opt_state = tx.update(
            jax.grad(loss)(z, targets, labels), opt_state
        )
        return ALLOWED[algorithm.latent](z + updates, key), opt_state

    def descend(z, targets, labels, key):
        opt_state = tx.init(z)
        for number in range(asked.steps):
            z, opt_state = step(
                z, opt_state, targets, labels, jax.random.fold_in(key, number)
            )
        return np.asarray(z)

    return descend


def _anywhere(z, key):
    del key
    return z


def _within(z, key):
    new = jax.random.uniform(key, z.shape, minval=-1)
    return jnp.where(jnp.abs(z) > 1, new, z)


def _on_sphere(z, key):
    del key
    norm = jnp.linalg.norm(z, axis=1, keepdims=True)
    return z * (jnp.sqrt(z.shape[1]) / jnp.maximum(norm, 1e-12))


# Where z of `latents.LATENTS` may be.
ALLOWED = {
    'fitted': _anywhere, 'gaussian': _anywhere, 'sphere': _on_sphere,
    'uniform': _within,
}


def _in_range(images):
    return np.asarray(algorithm_lib.to_unit_range(jnp.asarray(images)))


def _error(targets, made):
    axes = tuple(range(1, targets.ndim))
    return np.sqrt(np.square(targets - made).mean(axes))


def pairs(images, made, columns=10):
    """Lay images out over what was made of them, in blocks of two rows.

    Args:
        images: [N, H, W, C] uint8.
        made: float [N, H, W, C] in [-1, 1].
        columns: pairs side by side.

    Returns:
        (float32 [rows * columns, H, W, C], columns), white where there are
        none.
    """
    columns = min(columns, len(images))
    blocks = -(-len(images) // columns)
    table = np.ones((blocks, 2, columns, *images.shape[1:]), np.float32)
    for number, pair in enumerate(zip(_in_range(images), made)):
        block, column = divmod(number, columns)
        table[block, :, column] = pair
    return table.reshape(-1, *images.shape[1:]), columns
