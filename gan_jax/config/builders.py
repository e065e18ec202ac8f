"""Builders: from a config to data sets, feeds, algorithms, states and steps.

Here and in `algorithm_builders`, names in a config become data, networks,
losses and optimizers. Training, evaluation and the tools all start from here.
"""

import functools
from typing import Callable, NamedTuple

import jax
import numpy as np

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import freezing
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import algorithm_builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import feed as feed_lib
from gan_jax.data import on_demand
from gan_jax.data import pairs as pairs_lib
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.ops import mixtures
from gan_jax.runtime import parallel

REAL = adversarial.REAL  # name of the data source of a run with one
# Keys of `data` that must be equal in the sources of pairs.
PAIR_KEYS = (
    'classes', 'feed', 'flip', 'limit', 'random_crop', 'split', 'task',
    'test_share',
)
NUM_POINTS = 10_000  # reference points of a mixture, for plots and metrics


def request(config):
    """Return the `sources.Request` for the data of a config."""
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
        side=data.side,
        task=data.task,
        random_crop=defaults.random_crop(config),
        limits=defaults.limits(config),
        shown=defaults.shown_channels(config),
    )


def resident_bytes(config):
    """Return the bytes of memory for resident images on each device."""
    if config.data.feed == 'streaming':
        return 0
    return int(config.data.resident_share * parallel.device_memory())


def dataset(config):
    """Load the data set of a config.

    Returns:
        `sources.Dataset`.

    Raises:
        errors.DataError: where it is missing or cannot be read.
    """
    if defaults.has_mixture(config):
        draw = jax.jit(functools.partial(mixtures.sample, mixture(config)))
        numbers = np.arange(NUM_POINTS, dtype=np.uint32)
        points = draw(jax.random.key(config.seed), numbers)
        return sources.Dataset(config.data.name, np.asarray(points))
    return sources.load(request(config))


class MixtureFeed:
    """Feed of points that are generated on the device from their indices."""

    kind = 'made on the device'

    def __init__(self, mixture, *, seed, batch_size, host_slice):
        """Create the feed.

        Args:
            mixture: `mixtures.Mixture`.
            seed: of the points.
            batch_size: of the global batch.
            host_slice: (start, stop) of this host's share of a batch.
        """
        self._mixture = mixture
        key = jax.random.fold_in(jax.random.key(seed), 2)
        self.resident = np.asarray(jax.random.key_data(key))
        self._batch_size = batch_size
        self._host_slice = slice(*host_slice)
        self.bytes_per_batch = 4 * (host_slice[1] - host_slice[0])

    def read(self, position, count):
        """Return this host's indices of points, uint32 [count, b]."""
        first = position * self._batch_size
        numbers = np.arange(first, first + count * self._batch_size)
        numbers = numbers.astype(np.uint32).reshape(count, self._batch_size)
        return numbers[:, self._host_slice]

    def select(self, resident, fed):
        """Generate (points, None) from indices of any shape."""
        key = parallel.fast_key(jax.random.wrap_key_data(resident))
        return mixtures.sample(self._mixture, key, fed), None

    def close(self):
        """Close the feed: a no-op, because it holds no resources."""


def mixture(config):
    """Build the `mixtures.Mixture` of a config; None for other data.

    Raises:
        errors.ConfigError: where its options contradict each other.
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


def feed(config, dataset, *, stream=0, resident_alone=False):
    """Build the feed of one data source: resident, streaming or generated.

    Args:
        config: of the source, as of `defaults.of_source`.
        dataset: `sources.Dataset`.
        stream: index of its random order; sources with the same index are drawn
            in pairs.
        resident_alone: whether a data set too large to be resident is an error.

    Raises:
        errors.ConfigError: where it must be resident and is too large.
    """
    batch_size = defaults.images_per_batch(config)
    options = {
        'seed': config.seed, 'batch_size': batch_size,
        'host_slice': parallel.host_slice(batch_size),
    }
    if defaults.has_mixture(config):
        return MixtureFeed(mixture(config), **options)
    options['stream'] = stream
    fits = config.data.feed == 'resident' or (
        dataset.images.nbytes <= resident_bytes(config)
    )
    if fits and on_demand.in_memory(dataset.images):
        return feed_lib.ResidentFeed(dataset, **options)
    if resident_alone:
        raise errors.ConfigError(
            "algorithm='glo' keeps all images on the device, and "
            f'{defaults.source(config)!r} does not fit in '
            f'data.resident_share={config.data.resident_share} of memory'
        )
    return feed_lib.StreamingFeed(dataset, **options)


def datasets(config):
    """Load the data sets of all sources.

    Returns:
        {source: `sources.Dataset`}.

    Raises:
        errors.ConfigError: where `data` has other sources than the algorithm.
        errors.DataError: where one is missing or cannot be read, or sources
            that are drawn in pairs differ in size.
    """
    partners, groups = _entry(config).sources, defaults.groups(config)
    if groups and set(groups) != set(partners):
        raise errors.ConfigError(
            f'data has the groups {sorted(groups)}, and algorithm='
            f'{config.algorithm!r} needs {sorted(partners)}'
        )
    if not groups and len(partners) > 1:
        raise errors.ConfigError(
            f'algorithm={config.algorithm!r} needs the sources '
            f'{sorted(partners)}, each with its own data keys, such as '
            f'data.{sorted(partners)[0]}.path'
        )
    loaded, pairs = {}, {}
    for name, partner in partners.items():
        pairs.setdefault(partner, []).append(name)
    for names in pairs.values():
        loaded.update(_load_pairs(config, names))
    return {name: loaded[name] for name in partners}


def _load_pairs(config, names):
    """Load the data sets of sources that are drawn in pairs, or of one."""
    configs = {name: defaults.of_source(config, name) for name in names}
    for key in PAIR_KEYS if len(names) > 1 else ():
        values = {name: own.data[key] for name, own in configs.items()}
        if len(set(values.values())) > 1:
            shown = ' and '.join(
                f'data.{name}.{key}={value!r}' for name, value in values.items()
            )
            raise errors.ConfigError(
                f'{shown} differ; sources that are drawn in pairs must have '
                f'the same {key}'
            )
    if len(names) > 1 and not any(map(defaults.has_mixture, configs.values())):
        return pairs_lib.load(
            {name: request(own) for name, own in configs.items()},
            functools.partial(defaults.naming, config),
        )
    loaded = {}
    for name, own in configs.items():
        with defaults.naming(config, name):
            loaded[name] = dataset(own)
    return loaded


def feeds(config, datasets):
    """Build the feeds of all sources, {source: feed}."""
    partners = _entry(config).sources
    streams = {name: k for k, name in enumerate(sorted(set(partners.values())))}
    return {
        name: feed(
            defaults.of_source(config, name), dataset,
            stream=streams[partners[name]],
            resident_alone=config.algorithm == 'glo',
        ) for name, dataset in datasets.items()
    }


class DataSpec(NamedTuple):
    """Shape and size of a data source, to which the networks are built.

    Attributes:
        shape: of one sample, (height, width, channels) or (dimension,).
        num_classes: number of classes; 0 without labels.
        count: number of samples; needed where each has a code of its own.
    """

    shape: tuple
    num_classes: int = 0
    count: int = 0


def data_specs(datasets):
    """Return the `DataSpec` of each data set, {source: spec}."""
    return {
        name: DataSpec(
            dataset.sample_shape, len(dataset.classes),
            len(dataset.images),
        ) for name, dataset in datasets.items()
    }


def single_source_specs(shape, num_classes=0, count=0):
    """Return the specs of a run with one data source, {REAL: spec}."""
    return {adversarial.REAL: DataSpec(tuple(shape), num_classes, count)}


def shapes(specs):
    """Return the shape of one sample of each source, {source: shape}."""
    return {name: spec.shape for name, spec in specs.items()}


class Entry(NamedTuple):
    """Registry entry of an algorithm.

    Attributes:
        sources: as of `algorithm.Algorithm`.
        make: (config, specs, memory) -> algorithm, as `algorithm` below.
        hyperparams: config -> NamedTuple, a pytree of float32 scalars.
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
    **dict.fromkeys(adversarial_autoencoder.KINDS, Entry(
        adversarial_autoencoder.AdversarialAutoencoder.sources,
        algorithm_builders.build_autoencoder,
        algorithm_builders.autoencoder_hyperparams,
    )),
    **{kind: Entry(
        sources, algorithm_builders.build_translation,
        algorithm_builders.translation_hyperparams,
    ) for kind, sources in translation.SOURCES.items()},
}


def algorithm(config, specs, memory=None):
    """Build the `algorithm.Algorithm` of a config.

    Args:
        config: validated ConfigDict.
        specs: {source: `DataSpec`} of its data.
        memory: of a device, in bytes; None skips the check of memory.

    Returns:
        `algorithm.Algorithm`, hashable and without arrays.

    Raises:
        errors.ConfigError: where the networks do not fit the data or each
            other, `freeze` names no layer, or training would need more than
            `memory`.
    """
    built = _entry(config).make(config, specs, memory)
    if config.freeze:
        freezing.check(
            defaults.frozen(config), abstract_state(config, built, specs)
        )
    return built


def _entry(config):
    """Return the registry entry of a config's algorithm."""
    name = config.algorithm
    if name not in ALGORITHMS:
        raise errors.ConfigError(
            errors.unknown_name('algorithm', name, ALGORITHMS)
        )
    return ALGORITHMS[name]


def hyperparams(config):
    """Return the hyper-parameters of a config, an argument of each step."""
    return _entry(config).hyperparams(config)


def initial_state(config, algorithm, specs):
    """Initialize the state of a run as NumPy arrays, equal on all hosts."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    state = jax.jit(lambda key, hyperparams: algorithm.init(
        key, shapes(specs), hyperparams
    ))(key, hyperparams(config))
    return jax.tree.map(np.asarray, state)


def abstract_state(config, algorithm, specs):
    """Return the state's shapes and dtypes, as `jax.ShapeDtypeStruct`s."""
    return jax.eval_shape(lambda key: algorithm.init(
        key, shapes(specs), hyperparams(config)
    ), jax.random.key(0))


def step(algorithm, feeds, variant, loop=None):
    """Build the step function for `parallel.train_call`.

    Args:
        algorithm: as of `algorithm`.
        feeds: as of `feeds`.
        variant: `algorithm.Variant`.
        loop: as of `Algorithm.train_step`.

    Returns:
        Function (state, constants, fed, key, `algorithm.Collectives`) ->
        (state, metrics).
    """

    def run(state, constants, fed, key, collectives):
        return algorithm_lib.checked_step(
            algorithm, constants.hyperparams, state,
            batch(feeds, constants, fed), key, constants.number,
            variant=variant, collectives=collectives, loop=loop,
        )

    return run


def batch(feeds, constants, fed):
    """Return the `algorithm.Batch` that the input of the feeds selects."""
    selected = {}
    for name, feed in feeds.items():
        images, labels = feed.select(constants.resident[name], fed[name])
        numbers = fed[name] if feed.kind == 'resident' else None
        selected[name] = algorithm_lib.Source(images, labels, numbers)
    return algorithm_lib.Batch(selected, constants.sample_index)
