"""Inversion of a generator: from images to latents, by encoder or search.

It holds the images to invert, the search and its options. It writes no files.
"""

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
from gan_jax.evaluation import reference
from gan_jax.features import discriminators
from gan_jax.runs import run_files
from gan_jax.runs import sampling


class SearchOptions(NamedTuple):
    """Options of the search for latents.

    Attributes:
        restarts: random starts for each image, of which the best is kept.
        steps: updates by Adam, whose learning rate decays to 0 as a cosine.
        learning_rate: initial learning rate.
        prior: weight of the mean square of z in the loss; pulls z towards 0.
        seed: seed of the starts.
        feature_weight: weight of the distance of features, see
            `make_distance`.
    """

    restarts: int = 4
    steps: int = 300
    learning_rate: float = 0.1
    prior: float = 0.0
    seed: int = 0
    feature_weight: float = 0.0


class Targets(NamedTuple):
    """Images to reconstruct.

    Attributes:
        images: [N, H, W, C] uint8, or points [N, D].
        names: a name for each.
        labels: int32 [N], or None.
        source: description of where they are from.
    """

    images: np.ndarray
    names: tuple
    labels: Optional[np.ndarray]
    source: str


class Inversion(NamedTuple):
    """Latents of images, and their reconstructions.

    Attributes:
        codes: [N, latent_size], z or an encoder's codes; or styles
            [N, num_styles, D].
        images: float32 [N, H, W, C], or points [N, D]: the reconstructions.
        error: [N], root mean square error of images in [-1, 1].
    """

    codes: np.ndarray
    images: np.ndarray
    error: np.ndarray


def load_targets(workdir, text, split='', labels=None):
    """Load the images that --images names.

    Args:
        workdir: folder of the run.
        text: indices such as '0-7' into the run's data, or files joined by
            commas, or a folder or archive.
        split: split of the indices; by default 'test' if images were held out.
        labels: ints, a class for each image, or None for those of the data.

    Returns:
        `Targets`.

    Raises:
        errors.UserError: if they cannot be read, or have another shape than the
            run's.
    """
    config = sampling.load_data_config(workdir)
    shape = tuple(run_files.load_data(workdir)['image_shape'])
    if text and all(c.isascii() and (c.isdigit() or c in ' ,-') for c in text):
        sampling.check_data(workdir)
        targets = _of_run(workdir, config, text, split)
    elif len(shape) == 1:
        raise errors.ConfigError(
            f'--images={text!r}: select points by index, such as 0-99'
        )
    else:
        targets = _of_files(config, text, shape, run_files.units(workdir))
    if targets.images.shape[1:] != shape:
        raise errors.DataError(
            f'{targets.source} has images of shape '
            f'{list(targets.images.shape[1:])}, but the run has {list(shape)}'
        )
    if labels is not None:
        labels = np.resize(np.asarray(labels, np.int32), len(targets.images))
        targets = targets._replace(labels=labels)
    return targets


def _of_run(workdir, config, text, split):
    """Load images of the run's data by index."""
    indices = sampling.parse_seeds(text, '--images')
    dataset = None if split == 'train' else reference.held_out_of(config)
    if dataset is None and split == 'test':
        raise errors.DataError('the run held out no images of its data')
    name = 'train' if dataset is None else 'test'
    if dataset is None:
        dataset = builders.dataset(config)
    sampling.check_units(workdir, dataset)
    if max(indices) >= len(dataset.images):
        raise errors.ConfigError(
            f'--images={text}: {name} has the indices 0 to '
            f'{len(dataset.images) - 1:,}'
        )
    return Targets(
        np.asarray(dataset.images[np.array(indices)]),
        tuple(map(str, indices)),
        None if dataset.labels is None else dataset.labels[indices],
        f'{dataset.name} {name}',
    )


def _of_files(config, text, shape, units):
    """Load image files, resized and converted to the shape of the run.

    Fields are not resized; they are scaled by the `fields.Units` of the run.
    """
    paths = [pathlib.Path(part).expanduser() for part in text.split(',')]
    whole = paths[0].is_dir() or text.lower().endswith(tuple(sources.ENDINGS))
    name = sources.uri_of_path(text) if whole else ''
    if name.startswith('fields:') != (units is not None):
        wanted = 'pictures' if units is None else 'a folder of .npy files'
        raise errors.DataError(
            f'--images={text!r} must be {wanted}, as the data of the run'
        )
    if units is not None:
        limits = tuple(np.stack(units[:2], 1).reshape(-1).tolist())
        dataset = sources.load(sources.Request(name, limits=limits))
        names = tuple(map(str, range(len(dataset.images))))
        return Targets(dataset.images, names, None, text)
    preparation = pictures.Preparation(
        shape[:2], shape[2], config.data.crop, defaults.background(config)
    )
    if whole:
        dataset = sources.load(sources.Request(name, preparation=preparation))
        names = tuple(map(str, range(len(dataset.images))))
        return Targets(np.asarray(dataset.images), names, None, text)
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
    return Targets(
        np.stack([picture.pixels for picture in images]),
        tuple(path.name for path in paths), None, 'files',
    )


def encode(algorithm, state, images):
    """Encode images, and reconstruct them from their codes.

    Args:
        algorithm, state, images: as `sampling.reconstruct`.

    Returns:
        `Inversion`.
    """
    reconstructions = sampling.reconstruct(algorithm, state, images)
    codes = np.asarray(algorithm.encode(state, jnp.asarray(images)))
    error = error_of(to_unit_range(images), reconstructions)
    return Inversion(codes, reconstructions, error)


def search(
    algorithm, state, images, labels=None, options=SearchOptions(),
    weights='ema',
):
    """Find the z whose image is nearest, by Adam from several starts.

    The loss is that of `make_distance` plus `prior` times the mean square of z.
    The start of the smallest error of pixels, plus that term, is kept. If
    latents are uniform, values that leave [-1, 1) are drawn again, which is the
    stochastic clipping of the second paper. If latents lie on a sphere, z is
    projected back to it.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState`.
        images: [N, H, W, C] uint8, or points [N, D].
        labels: int32 [N], if the GAN is conditional.
        options: `SearchOptions`.
        weights: one of `Algorithm.weight_names`.

    Returns:
        `Inversion`, whose codes are z.

    Raises:
        errors.ConfigError: if the codes are discrete, or labels are missing.

    References:
        Zhu et al., Generative Visual Manipulation on the Natural Image
        Manifold, https://arxiv.org/abs/1609.03552, 2016; Lipton and Tripathi,
        Precise Recovery of Latent Vectors from Generative Adversarial
        Networks, https://arxiv.org/abs/1702.04782, 2017.
    """
    if not algorithm.searchable:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has codes that name a class, which '
            'gradient descent cannot search'
        )
    if algorithm.num_classes:
        if labels is None:
            raise errors.ConfigError(
                'the generator is conditional; name the class of each image by '
                '--labels'
            )
        labels = latents.labels_from_seeds(
            algorithm, range(len(images)), labels
        )
    else:
        labels = None
    targets, key = to_unit_range(images), jax.random.key(options.seed)
    optimize = _optimizer(algorithm, state, options, weights)

    def find(rows, numbers):
        z = latents.draw(
            key, rows, algorithm.latent_size, algorithm.latent
        )
        return optimize(
            z, targets[numbers], None if labels is None else labels[numbers],
            jax.random.fold_in(key, rows[0] // len(rows)),
        )

    def decode(z, numbers):
        return sampling.generate(
            algorithm, state, z, None if labels is None else labels[numbers],
            weights=weights,
        )

    return best_of_starts(
        targets, options, find, decode, lambda z: np.square(z).mean(1)
    )


def best_of_starts(targets, options, find, decode, distance):
    """Find codes from each start of each image, and keep the best ones.

    A row is a start of an image. Rows are searched in batches of one size.

    Args:
        targets: float32 [N, H, W, C] in [-1, 1], or points [N, D].
        options: `SearchOptions`.
        find: function of the numbers of rows and of their images, [b] each, ->
            codes [b, ...].
        decode: function of codes and the numbers of their images -> images.
        distance: function of codes -> [b], which `prior` weighs.

    Returns:
        `Inversion`, for each image of the code of smallest loss: the mean
        squared error of the pixels plus `prior` times `distance`.
    """
    count = len(targets)
    numbers = np.tile(np.arange(count), options.restarts)
    size = min(sampling.batch_size(targets.shape[1:]), len(numbers))
    padded = np.resize(numbers, -(-len(numbers) // size) * size)
    codes = np.concatenate([
        find(rows, padded[rows])
        for rows in np.arange(len(padded)).reshape(-1, size)
    ])[:len(numbers)]
    images = decode(codes, numbers)
    error = error_of(targets[numbers], images)
    loss = np.square(error) + options.prior * distance(codes)
    best = loss.reshape(options.restarts, count).argmin(0) * count
    best += np.arange(count)
    return Inversion(codes[best], images[best], error[best])


def _optimizer(algorithm, state, options, weights):
    """Return a function of (z, targets, labels, key) that optimizes z."""
    weights = jax.tree.map(jnp.asarray, algorithm.weights(state, weights))
    distance = make_distance(algorithm, state, options.feature_weight)
    tx = optax.adam(optax.cosine_decay_schedule(
        options.learning_rate, options.steps
    ))

    def loss(z, targets, labels):
        images = algorithm.apply(weights, algorithm_lib.Inputs(z, labels))
        error = distance(images, targets)
        return (error + options.prior * jnp.square(z).mean(1)).sum()

    @jax.jit
    def step(z, opt_state, targets, labels, key):
        updates, opt_state = tx.update(
            jax.grad(loss)(z, targets, labels), opt_state
        )
        return PROJECTIONS[algorithm.latent](z + updates, key), opt_state

    def optimize(z, targets, labels, key):
        opt_state = tx.init(z)
        for number in range(options.steps):
            z, opt_state = step(
                z, opt_state, targets, labels, jax.random.fold_in(key, number)
            )
        return np.asarray(z)

    return optimize


def _identity(z, key):
    del key
    return z


def _redraw_outside(z, key):
    new = jax.random.uniform(key, z.shape, minval=-1)
    return jnp.where(jnp.abs(z) > 1, new, z)


def _to_sphere(z, key):
    del key
    norm = jnp.linalg.norm(z, axis=1, keepdims=True)
    return z * (jnp.sqrt(z.shape[1]) / jnp.maximum(norm, 1e-12))


# Projections of z to the support of each of `latents.LATENTS`.
PROJECTIONS = {
    'fitted': _identity, 'gaussian': _identity, 'sphere': _to_sphere,
    'uniform': _redraw_outside,
}


def make_distance(algorithm, state, feature_weight=0.0):
    """Return the distance that a search minimises.

    It is the mean squared error of the pixels, plus `feature_weight` times that
    of the features of the run's discriminator, divided by the mean square of
    the target's features.

    Args:
        algorithm, state: as `search`.
        feature_weight: >= 0.

    Returns:
        Function of two batches, images and targets, -> [B]; pure.

    Raises:
        errors.ConfigError: for features, if there is no discriminator.

    References:
        Zhu et al., Generative Visual Manipulation on the Natural Image
        Manifold, https://arxiv.org/abs/1609.03552, 2016, section 3, where the
        features are those of AlexNet.
    """
    extract = None
    if feature_weight:
        extract = discriminators.of_discriminator(algorithm, state).apply

    def distance(images, targets):
        error = jnp.square(images - targets).mean(tuple(range(1, images.ndim)))
        if extract is None:
            return error
        features, wanted = extract(images)[0], extract(targets)[0]
        scale = jnp.square(wanted).mean(1) + 1e-8
        difference = jnp.square(features - wanted).mean(1) / scale
        return error + feature_weight * difference

    return distance


def to_unit_range(images):
    """Map uint8 images to float32 in [-1, 1]; points are unchanged."""
    return np.asarray(algorithm_lib.to_unit_range(jnp.asarray(images)))


def error_of(targets, reconstructions):
    """Return the root mean square error of each reconstruction, [N]."""
    axes = tuple(range(1, targets.ndim))
    return np.sqrt(np.square(targets - reconstructions).mean(axes))


def pairs(images, reconstructions, columns=10):
    """Group images above their reconstructions, in blocks of two rows.

    Args:
        images: [N, H, W, C] uint8.
        reconstructions: float [N, H, W, C] in [-1, 1].
        columns: most pairs side by side.

    Returns:
        (float32 [rows * columns, H, W, C], columns); unused places are white.
    """
    columns = min(columns, len(images))
    blocks = -(-len(images) // columns)
    table = np.ones((blocks, 2, columns, *images.shape[1:]), np.float32)
    for number, pair in enumerate(
            zip(to_unit_range(images), reconstructions)):
        block, column = divmod(number, columns)
        table[block, :, column] = pair
    return table.reshape(-1, *images.shape[1:]), columns
