"""From config to objects: the only place where a name becomes a function."""

import functools
from typing import Callable, NamedTuple

import jax
import numpy as np

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import reconstruction
from gan_jax.config import algorithm_builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import feed as feed_lib
from gan_jax.data import on_demand
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.ops import mixtures
from gan_jax.runtime import parallel

REAL = adversarial.REAL  # the source of a run that has one
NUM_POINTS = 10_000  # of a source of points, to show and measure against


def request(config):
    """Give what a config asks of its data, a `sources.Request`."""
    data = config.data
    memory = None if data.feed == 'resident' else resident_bytes(config)
    return sources.Request(
        name=defaults.source(config),
        split=data.split,
        data_dir=data.data_dir,
        preparation=pictures.Preparation(
            image_size=defaults.image_size(config),
            channels=data.channels,
            crop=data.crop,
            background=defaults.background(config),
        ),
        classes=defaults.classes(config),
        test_share=data.test_share,
        limit=data.limit,
        memory=memory,
        max_bad=data.max_bad,
    )


def resident_bytes(config):
    """Count the bytes that images may take on each device."""
    if config.data.feed == 'streaming':
        return 0
    return int(config.data.resident_share * parallel.memory())


def dataset(config):
    """Read the data set that a config names.

    Returns:
        `sources.Dataset`.

    Raises:
        errors.DataError: where it is not there or cannot be read.
    """
    if defaults.has_mixture(config):
        draw = jax.jit(functools.partial(mixtures.sample, mixture(config)))
        numbers = np.arange(NUM_POINTS, dtype=np.uint32)
        points = draw(jax.random.key(config.seed), numbers)
        return sources.Dataset(config.data.name, np.asarray(points))
    return sources.load(request(config))


class MixtureFeed:
    """A feed of points made on the device: a call is fed their numbers."""

    kind = 'made on the device'

    def __init__(self, mixture, *, seed, batch_size, places):
        """Draw from a `mixtures.Mixture` by `seed`."""
        self._mixture = mixture
        key = jax.random.fold_in(jax.random.key(seed), 2)
        self.resident = np.asarray(jax.random.key_data(key))
        self._batch_size = batch_size
        self._places = slice(*places)
        self.bytes_per_batch = 4 * (places[1] - places[0])

    def read(self, position, count):
        """Give uint32 [count, b], numbers of points, of this host."""
        first = position * self._batch_size
        numbers = np.arange(first, first + count * self._batch_size)
        numbers = numbers.astype(np.uint32).reshape(count, self._batch_size)
        return numbers[:, self._places]

    def select(self, resident, fed):
        """Make (points, None) of numbers of any shape."""
        key = parallel.quick(jax.random.wrap_key_data(resident))
        return mixtures.sample(self._mixture, key, fed), None

    def close(self):
        """Hold nothing that needs closing."""


def mixture(config):
    """Make the `mixtures.Mixture` that a config names, or None for images.

    Raises:
        errors.ConfigError: where its numbers do not go together.
    """
    if not defaults.has_mixture(config):
        return None
    name = config.data.name
    try:
        return _make_mixture(name, *(
            (option.name, config.data[option.name])
            for option in mixtures.OPTIONS.get(name, ())
        ))
    except ValueError as error:
        reason = str(error).removeprefix(f'{name}: ')
        raise errors.ConfigError(f'data.name={name!r}: {reason}') from error


@functools.lru_cache(maxsize=1)  # many modes take seconds to place
def _make_mixture(name, *options):
    return mixtures.MIXTURES[name](**dict(options))


def feed(config, dataset, *, order=0, resident_alone=False):
    """Choose how batches of a source reach the devices.

    Args:
        config: of the source, as of `config.of_source`.
        dataset: `sources.Dataset` of it.
        order: number of its order; sources of one number are drawn in pairs.
        resident_alone: whether a set that does not fit is refused.
    """
    batch_size = defaults.images_per_batch(config)
    options = {
        'seed': config.seed, 'batch_size': batch_size,
        'places': parallel.places(batch_size),
    }
    if defaults.has_mixture(config):
        return MixtureFeed(mixture(config), **options)
    options['order'] = order
    fits = config.data.feed == 'resident' or (
        dataset.images.nbytes <= resident_bytes(config)
    )
    if fits and on_demand.in_memory(dataset.images):
        return feed_lib.ResidentFeed(dataset, **options)
    if resident_alone:
        raise errors.ConfigError(
            "algorithm='glo' has a code for each image of a resident set, "
            f'and {defaults.source(config)!r} does not fit in '
            f'data.resident_share={config.data.resident_share} of memory'
        )
    return feed_lib.StreamingFeed(dataset, **options)


def datasets(config):
    """Read the data of every source.

    Returns:
        {source: `sources.Dataset`}.

    Raises:
        errors.DataError: where one is not there or cannot be read, or those
            of one order are not as many as each other.
    """
    partners, groups = _entry(config).sources, defaults.groups(config)
    if groups and set(groups) != set(partners):
        raise errors.ConfigError(
            f'data has the groups {sorted(groups)}, and algorithm='
            f'{config.algorithm!r} takes its sources {sorted(partners)}'
        )
    if not groups and len(partners) > 1:
        raise errors.ConfigError(
            f'algorithm={config.algorithm!r} has the sources '
            f'{sorted(partners)}, each with a group of the data keys, such as '
            f'data.{sorted(partners)[0]}.path'
        )
    found = {
        name: dataset(defaults.of_source(config, name)) for name in partners
    }
    for name, partner in partners.items():
        counts = [len(found[one].images) for one in (name, partner)]
        if counts[0] != counts[1]:
            raise errors.DataError(
                f'data.{name} has {counts[0]:,} images and data.{partner}, '
                f'with which it is drawn in pairs, {counts[1]:,}'
            )
    return found


def feeds(config, datasets):
    """Make the feed of every source, {source: feed}."""
    partners = _entry(config).sources
    orders = {name: k for k, name in enumerate(sorted(set(partners.values())))}
    return {
        name: feed(
            defaults.of_source(config, name), dataset,
            order=orders[partners[name]],
            resident_alone=config.algorithm == 'glo',
        ) for name, dataset in datasets.items()
    }


class Form(NamedTuple):
    """What networks have to fit of a source of data.

    Attributes:
        shape: of one sample, (height, width, channels) or (dimension,).
        num_classes: of its labels; 0 where it has none.
        count: of its samples; needed where each has a code of its own.
    """

    shape: tuple
    num_classes: int = 0
    count: int = 0


def forms(datasets):
    """Return the `Form` of every data set, {source: form}."""
    return {
        name: Form(
            tuple(dataset.images.shape[1:]), len(dataset.classes),
            len(dataset.images),
        ) for name, dataset in datasets.items()
    }


def form(shape, num_classes=0, count=0):
    """Return the forms of a run that has one source, of real images."""
    return {adversarial.REAL: Form(tuple(shape), num_classes, count)}


def shapes(forms):
    """Return the shape of one sample of every source."""
    return {name: form.shape for name, form in forms.items()}


class Entry(NamedTuple):
    """An algorithm that a config can name.

    Attributes:
        sources: as of `algorithm.Algorithm`.
        make: (config, {source: `Form`}, memory as of `algorithm`) -> algorithm.
        hyperparams: config -> NamedTuple of float32 scalars.
    """

    sources: dict
    make: Callable
    hyperparams: Callable


ALGORITHMS = {
    'adversarial': Entry(
        adversarial.Adversarial.sources, algorithm_builders.build_adversarial,
        algorithm_builders.adversarial_hyperparams,
    ),
    **dict.fromkeys(reconstruction.KINDS, Entry(
        reconstruction.Reconstruction.sources,
        algorithm_builders.build_reconstruction,
        algorithm_builders.reconstruction_hyperparams,
    )),
}


def algorithm(config, forms, memory=None):
    """Make the static value that trains, as of `algorithm.Algorithm`.

    Args:
        config: a validated ConfigDict.
        forms: {source: `Form`} of its data.
        memory: bytes that a device has for its training; None is any number.

    Raises:
        errors.ConfigError: where a network cannot make or read such images,
            the sizes of the two do not meet, or its training takes more than
            that memory whatever else it needs.
    """
    return _entry(config).make(config, forms, memory)


def _entry(config):
    name = config.algorithm
    if name not in ALGORITHMS:
        raise errors.ConfigError(
            errors.unknown_name('algorithm', name, ALGORITHMS)
        )
    return ALGORITHMS[name]


def hyperparams(config):
    """Take the numbers that a step reads anew at each call."""
    return _entry(config).hyperparams(config)


def initial_state(config, algorithm, forms):
    """Draw the weights of a run, as NumPy arrays; the same on every host."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    state = jax.jit(lambda key, hyperparams: algorithm.init(
        key, shapes(forms), hyperparams
    ))(key, hyperparams(config))
    return jax.tree.map(np.asarray, state)


def abstract_state(config, algorithm, forms):
    """Return the form of a state, as `jax.ShapeDtypeStruct`, without running.
    """
    return jax.eval_shape(lambda key: algorithm.init(
        key, shapes(forms), hyperparams(config)
    ), jax.random.key(0))


def step(algorithm, feeds, variant, loop=None):
    """Bind an algorithm and its feeds to what `parallel.train_call` runs.

    Args:
        algorithm: as of `algorithm`.
        feeds: as of `feeds`.
        variant: `algorithm.Variant`.
        loop: as of `Algorithm.train_step`.

    Returns:
        Function of (state, constants, fed, key, `algorithm.Across`).
    """

    def run(state, constants, fed, key, across):
        return algorithm.train_step(
            constants.hyperparams, state, batch(feeds, constants, fed), key,
            constants.number, variant=variant, across=across, loop=loop,
        )

    return run


def batch(feeds, constants, fed):
    """Return the `algorithm.Batch` of what the feeds were fed."""
    found = {}
    for name, feed in feeds.items():
        images, labels = feed.select(constants.resident[name], fed[name])
        numbers = fed[name] if feed.kind == 'resident' else None
        found[name] = algorithm_lib.Source(images, labels, numbers)
    return algorithm_lib.Batch(found, constants.sample_index)
