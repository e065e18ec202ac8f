"""From config to objects: the only place where a name becomes a function."""

import functools
import math
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import game
from gan_jax.algorithms import reconstruction
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import feed as feed_lib
from gan_jax.data import on_demand
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax import networks
from gan_jax.networks import encoders
from gan_jax.objectives import losses
from gan_jax.objectives import targets
from gan_jax.ops import mixtures
from gan_jax.ops import optimizers
from gan_jax.ops import schedules
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


def _adversarial(config, forms, memory):
    """Make an `adversarial.Adversarial`."""
    form = forms[adversarial.REAL]
    image_shape, classes = form.shape, {}
    if defaults.is_conditional(config):
        if not form.num_classes:
            raise errors.ConfigError(
                f'generator.condition={config.generator.condition!r} needs '
                'labels, and the data have none'
            )
        classes['num_classes'] = form.num_classes
    name = defaults.discriminator_name(config)
    schedule = config.schedule
    made = adversarial.Adversarial(
        generator=_network(
            config, config.generator,
            networks.NETWORKS[config.generator.name].generator,
            image_shape=image_shape, **classes,
        ),
        discriminator=_network(
            config, config.discriminator,
            networks.NETWORKS[name].discriminator, **classes,
        ),
        **classes,
        **_both(config),
        d_tx=_optimizer(
            config.d_optimizer,
            differentiable=schedule.name == 'unrolled',
        ),
        loss=losses.LOSSES[config.loss.name],
        latent_size=config.latent_size,
        schedule=schedule.name,
        d_steps=config.d_steps,
        g_steps=config.g_steps,
        unroll_steps=(
            schedule.unroll_steps if schedule.name == 'unrolled' else 0
        ),
        instance_noise=config.instance_noise.std > 0,
        augmentations=defaults.active_augmentations(config),
        adaptive_augmentation=config.augment.adaptive,
        joint_batch=config.joint_batch or _judges_alone(config),
        reuse_fakes=config.reuse_fakes,
        packing=config.packing,
        history=config.history.size,
        treat_labels=defaults.treats_labels(config),
        clip_weights=config.clip_weights > 0,
        penalties=defaults.active_penalties(config),
        lazy=tuple(
            (name, config.penalties[name].every)
            for name in defaults.active_penalties(config)
            if config.penalties[name].every > 1
        ),
        burst_steps=schedule.burst_steps,
        burst_first=schedule.burst_first,
        burst_every=schedule.burst_every,
        d_name=name,
    )
    players = _check_sizes(config, made, image_shape)
    if memory is not None:
        _check_memory(config, image_shape, players, memory)
    return made


def _both(config):
    """Return the fields that both algorithms of two networks have."""
    return {
        'g_tx': _optimizer(config.g_optimizer),
        'g_schedule': _schedule(config.g_optimizer),
        'd_schedule': _schedule(config.d_optimizer),
        'latent': config.latent,
        'num_microbatches': config.num_microbatches,
        'flip': config.data.flip,
        'dequantize': config.data.dequantize,
        'snapshots': config.snapshots.count,
        'snapshot_every': config.snapshots.every,
        'g_name': config.generator.name,
    }


def _reconstruction(config, forms, memory):
    """Make a `reconstruction.Reconstruction`."""
    form, kind = forms[reconstruction.REAL], config.algorithm
    size = config.latent_size
    if kind == 'pose_decoder':
        if not form.num_classes:
            raise errors.ConfigError(
                "algorithm='pose_decoder' needs labels, and the data have none"
            )
        size = form.num_classes + 2
    if kind == 'glo':
        encoder, name = encoders.Codes(form.count, size), 'one for each image'
    elif kind == 'pose_decoder':
        encoder, name = encoders.PoseCodes(), 'pose_decoder'
    else:
        name = config.discriminator.name
        encoder = _network(
            config, config.discriminator, networks.NETWORKS[name].encoder,
            code_size=(2 if kind == 'vae' else 1) * size,
        )
    made = reconstruction.Reconstruction(
        kind=kind,
        generator=_network(
            config, config.generator,
            networks.NETWORKS[config.generator.name].generator,
            image_shape=form.shape,
        ),
        encoder=encoder,
        **_both(config),
        d_tx=_optimizer(config.d_optimizer),
        latent_size=size,
        reconstruction=config.reconstruction.error,
        d_name=name,
    )
    player = _check_samples(config, made.generator, size, form.shape, 2)
    if memory is not None:
        _check_memory(config, form.shape, {'generator': player}, memory)
    return made


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


def _judges_alone(config):
    """Say whether D is dense and judges each sample by itself.

    Then one pass over real and fake samples gives what two give, in less time.
    Spectral normalisation turns its vectors once a pass.
    """
    options = config.discriminator
    return not (
        convolutional(config) or options.norm == 'batch'
        or options.minibatch_features or options.spectral_norm
    )


def _check_sizes(config, gan, image_shape):
    """Refuse networks that do not meet, by tracing both on one batch.

    Returns:
        {player: `_Traced`}.
    """
    count = 2 * gan.packing  # samples of which D judges two
    made = _check_samples(
        config, gan.generator, gan.latent_size, image_shape, count,
        gan.num_classes,
    )
    *sides, channels = image_shape
    judged = (*sides, channels * gan.packing)
    told = _trace(
        config, gan.discriminator, 'discriminator', (2, *judged),
        f'cannot read {_size(judged)}', gan.num_classes,
    )
    logits = told.output.logits
    if logits.shape[:1] != (2,) or logits.shape == (2, 1):
        raise _misfit(
            config, 'discriminator',
            f'gives logits of shape {list(logits.shape)} for 2 inputs of '
            f'{_size(judged)}; one for each, [2], or a map for each is asked',
        )
    return {'generator': made, 'discriminator': told}


def _check_samples(config, module, latent_size, image_shape, count, classes=0):
    """Refuse a generator whose samples are not of the data's form.

    Returns:
        `_Traced`.
    """
    made = _trace(
        config, module, 'generator', (count, latent_size),
        f'cannot make {_size(image_shape)}', classes,
    )
    samples = made.output
    if samples.shape[1:] != tuple(image_shape):
        raise _misfit(
            config, 'generator',
            f'makes {_size(samples.shape[1:])} and the data are '
            f'{_size(image_shape)}; both must be of one size',
        )
    if len(samples) != count:
        raise _misfit(
            config, 'generator',
            f'makes {len(samples)} samples of {count} latents; one of each is '
            'asked',
        )
    return made


class _Traced(NamedTuple):
    """What tracing a network tells without running it.

    Attributes:
        output: its form.
        parameters: their number.
        widest: numbers of a sample in its largest layer.
    """

    output: Any
    parameters: int
    widest: int


def _trace(config, module, player, shape, failure, classes=0):
    """Trace a network on inputs of a shape; returns `_Traced`."""
    given = {'labels': jnp.zeros(shape[0], jnp.int32)} if classes else {}
    try:
        program, (output, variables) = jax.make_jaxpr(
            lambda key: module.init_with_output(
                key, jnp.zeros(shape), train=False, **given
            ), return_shape=True,
        )(jax.random.key(0))
    except (OverflowError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise _misfit(config, player, f'{failure}: {reason}') from error
    leaves = jax.tree.leaves(variables.get('params', {}))
    return _Traced(
        output, sum(math.prod(leaf.shape) for leaf in leaves),
        _widest(program.jaxpr) // shape[0],
    )


def _widest(program):
    """Count the numbers in the largest result of a product or convolution."""
    found = [0]
    for equation in program.eqns:
        if equation.primitive.name in ('conv_general_dilated', 'dot_general'):
            found += [math.prod(v.aval.shape) for v in equation.outvars]
        for part in equation.params.values():
            part = getattr(part, 'jaxpr', part)
            if hasattr(part, 'eqns'):
                found.append(_widest(part))
    return max(found)


def _check_memory(config, image_shape, players, memory):
    """Refuse what no program could train in so much memory.

    Counted is what must be there at once at least: weights, gradients and the
    average; the images of an update, real and generated, and the largest layer
    of each player; what is kept of images and of snapshots.
    """
    pixels = math.prod(image_shape)
    images = defaults.images_per_batch(config)
    here = images / parallel.device_count() / config.num_microbatches
    item = jnp.dtype(config.dtype).itemsize
    weights = players['generator'].parameters
    parts = {
        ('batch_size', 'packing'): here * (
            8 * pixels + item * sum(p.widest for p in players.values())
        ),
        ('generator.width', 'discriminator.width', 'latent_size'): 4 * (
            weights + 2 * sum(p.parameters for p in players.values())
        ),
        ('history.size',): 4 * pixels * config.history.size,
        ('snapshots.count',): 4 * weights * config.snapshots.count,
    }
    total, most = sum(parts.values()), max(parts, key=parts.get)
    if total > memory:
        values = defaults.flatten(config)
        told = ', '.join(f'{key}={values[key]}' for key in most)
        raise errors.ConfigError(
            f'{told} with images of {_size(image_shape)}: training takes at '
            f'least {total / 2**30:,.1f} GiB, and a device has '
            f'{memory / 2**30:,.1f}'
        )


def _misfit(config, player, reason):
    """Make the error of a network that does not meet the other or the data."""
    line = f'{player}.name={config[player].name!r} {reason}'
    if config.allow_bad_setup:
        line += '; allow_bad_setup=True is for setups that can run'
    return errors.ConfigError(line)


def _size(shape):
    """Show (28, 28, 1) as 28x28x1, and (2,), of points, as [2]."""
    return 'x'.join(map(str, shape)) if len(shape) > 1 else str(list(shape))


def _network(config, options, module, **fields):
    for key, value in options.items():
        if key in module.__dataclass_fields__ and key != 'name':
            fields.setdefault(key, value)
    return module(dtype=jnp.dtype(config.dtype), **fields)


def _optimizer(options, differentiable=False):
    """Make an optax transform that gives a direction, without a rate."""
    optimizer = optimizers.OPTIMIZERS[options.name]
    direction = optimizer.make(differentiable, **{
        option.name: options[option.name] for option in optimizer.options
    })
    if not options.clip_norm:
        return direction
    return optax.chain(
        optax.clip_by_global_norm(options.clip_norm), direction
    )


def _schedule(options):
    """Make the factor of a learning rate, None where it never changes."""
    return schedules.make(
        options.schedule, options.schedule_steps, options.warmup_steps
    )


def hyperparams(config):
    """Take the numbers that a step reads anew at each call."""
    return _entry(config).hyperparams(config)


def _shared_numbers(config):
    """Return the hyper-parameters that both algorithms have."""
    images = defaults.images_per_batch(config)
    ema_decay = config.ema_decay
    if config.ema_half_life:
        ema_decay = 0.5 ** (images / config.ema_half_life)
    return {
        'g_learning_rate': jnp.float32(config.g_optimizer.learning_rate),
        'd_learning_rate': jnp.float32(config.d_optimizer.learning_rate),
        'ema_decay': jnp.float32(ema_decay),
    }


def _game_numbers(config):
    images = defaults.images_per_batch(config)
    return game.Hyperparams(
        **_shared_numbers(config),
        noise_std=jnp.float32(config.instance_noise.std),
        noise_steps=jnp.float32(config.instance_noise.decay_steps),
        loss_options={
            option.name: jnp.float32(config.loss[option.name])
            for option in losses.LOSSES[config.loss.name].options
        },
        label_treatment=targets.Treatment(
            **{k: jnp.float32(v) for k, v in config.labels.items()}
        ),
        penalty_weights={
            name: jnp.float32(config.penalties[name].weight)
            for name in defaults.active_penalties(config)
        },
        clip_limit=jnp.float32(config.clip_weights),
        augment_probability=jnp.float32(config.augment.probability),
        augment_target=jnp.float32(config.augment.target),
        augment_speed=jnp.float32(images / config.augment.adaptive_images),
        history_share=jnp.float32(config.history.share),
        d_threshold=jnp.float32(config.schedule.d_threshold),
        g_threshold=jnp.float32(config.schedule.g_threshold),
    )


def _reconstruction_numbers(config):
    return reconstruction.Hyperparams(
        **_shared_numbers(config),
        huber_delta=jnp.float32(config.reconstruction.delta),
        beta=jnp.float32(config.reconstruction.beta),
        decoder_std=jnp.float32(config.reconstruction.std),
        most_turned=jnp.float32(config.reconstruction.angle),
        most_scaled=jnp.float32(config.reconstruction.scale),
    )


ALGORITHMS = {
    'adversarial': Entry(
        adversarial.Adversarial.sources, _adversarial, _game_numbers
    ),
    **dict.fromkeys(reconstruction.KINDS, Entry(
        reconstruction.Reconstruction.sources, _reconstruction,
        _reconstruction_numbers,
    )),
}


def network_names(config):
    """Return the names of both networks of a config, for people."""
    return f'{config.generator.name!r} and {config.discriminator.name!r}'


def convolutional(config):
    """Say whether a network of this config convolves."""
    return any(
        networks.NETWORKS[options.name].convolutional
        for options in (config.generator, config.discriminator)
    )


def initial_state(config, algorithm, forms):
    """Draw the weights of a run, as NumPy arrays; the same on every host."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    state = jax.jit(lambda key, hyperparams: algorithm.init(
        key, shapes(forms), hyperparams
    ))(key, hyperparams(config))
    return jax.tree.map(np.asarray, state)


def shapes(forms):
    """Return the shape of one sample of every source."""
    return {name: form.shape for name, form in forms.items()}


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
