"""From config to objects: the only place where a name becomes a function."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax import config as config_lib
from gan_jax import errors
from gan_jax import labels
from gan_jax import losses
from gan_jax import mixtures
from gan_jax import networks
from gan_jax import optimizers
from gan_jax import schedules
from gan_jax.data import feed as feed_lib
from gan_jax.data import on_demand
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.networks import encoders
from gan_jax.runtime import parallel
from gan_jax.steps import adversarial
from gan_jax.steps import game


NUM_POINTS = 10_000  # of a source of points, to show and measure against


def request(config):
    """Give what a config asks of its data, a `sources.Request`."""
    data = config.data
    memory = None if data.feed == 'resident' else resident_bytes(config)
    return sources.Request(
        name=config_lib.source(config),
        split=data.split,
        data_dir=data.data_dir,
        preparation=pictures.Preparation(
            image_size=config_lib.image_size(config),
            channels=data.channels,
            crop=data.crop,
            background=config_lib.background(config),
        ),
        classes=config_lib.classes(config),
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
    if config_lib.has_mixture(config):
        draw = jax.jit(functools.partial(mixtures.sample, mixture(config)))
        numbers = np.arange(NUM_POINTS, dtype=np.uint32)
        points = draw(jax.random.key(config.seed), numbers)
        return sources.Dataset(config.data.name, np.asarray(points))
    return sources.load(request(config))


class MixtureFeed:
    """A feed of points made on the device: a call is fed their numbers."""

    kind = 'made on the device'
    resident = ()

    def __init__(self, mixture, *, seed, batch_size, places):
        """Draw from a `mixtures.Mixture` by `seed`."""
        self._mixture = mixture
        key = jax.random.fold_in(jax.random.key(seed), 2)
        self._key = parallel.quick(key)
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
        del resident
        return mixtures.sample(self._mixture, self._key, fed), None

    def close(self):
        """Hold nothing that needs closing."""


def mixture(config):
    """Make the `mixtures.Mixture` that a config names, or None for images.

    Raises:
        errors.ConfigError: where its numbers do not go together.
    """
    if not config_lib.has_mixture(config):
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


def feed(config, dataset):
    """Choose how batches reach the devices."""
    batch_size = config_lib.images_per_batch(config)
    options = {
        'seed': config.seed, 'batch_size': batch_size,
        'places': parallel.places(batch_size),
    }
    if config_lib.has_mixture(config):
        return MixtureFeed(mixture(config), **options)
    fits = config.data.feed == 'resident' or (
        dataset.images.nbytes <= resident_bytes(config)
    )
    if fits and on_demand.in_memory(dataset.images):
        return feed_lib.ResidentFeed(dataset, **options)
    if config.baseline.name == 'glo':
        raise errors.ConfigError(
            "baseline.name='glo' has a code for each image of a resident set, "
            f'and {config_lib.source(config)!r} does not fit in '
            f'data.resident_share={config.data.resident_share} of memory'
        )
    return feed_lib.StreamingFeed(dataset, **options)


def gan(config, image_shape, num_classes=0, num_images=0, memory=None):
    """Make the static parts of a training step.

    Args:
        config: a validated ConfigDict.
        image_shape: (height, width, channels) of the data.
        num_classes: of its labels; 0 where it has none.
        num_images: in it; needed where each has a code of its own.
        memory: bytes that a device has for its training; None is any number.

    Returns:
        `game.GAN`.

    Raises:
        errors.ConfigError: where a network cannot make or read such images,
            the sizes of the two do not meet, or its training takes more than
            that memory whatever else it needs.
    """
    classes = {}
    if config_lib.is_conditional(config):
        if not num_classes:
            raise errors.ConfigError(
                f'generator.condition={config.generator.condition!r} needs '
                'labels, and the data have none'
            )
        classes['num_classes'] = num_classes
    made = game.GAN(
        generator=_network(
            config, config.generator,
            networks.NETWORKS[config.generator.name].generator,
            image_shape=image_shape, **classes,
        ),
        discriminator=_partner(config, num_images, **classes),
        **classes,
        g_dropout=config.generator.dropout > 0,
        d_dropout=config.discriminator.dropout > 0,
        g_tx=_optimizer(config.g_optimizer),
        d_tx=_optimizer(
            config.d_optimizer,
            differentiable=config.schedule.name == 'unrolled',
        ),
        g_schedule=_schedule(config.g_optimizer),
        d_schedule=_schedule(config.d_optimizer),
        loss=losses.LOSSES[config.loss.name],
        latent_size=_latent_size(config, num_classes),
        latent=config.latent,
        schedule=config.schedule.name,
        d_steps=config.d_steps,
        g_steps=config.g_steps,
        unroll_steps=(
            config.schedule.unroll_steps
            if config.schedule.name == 'unrolled' else 0
        ),
        num_microbatches=config.num_microbatches,
        instance_noise=config.instance_noise.std > 0,
        flip=config.data.flip,
        dequantize=config.data.dequantize,
        augmentations=config_lib.active_augmentations(config),
        adaptive_augmentation=config.augment.adaptive,
        together=config.together or _judges_alone(config),
        share_fakes=config.share_fakes,
        packing=config.packing,
        history=config.history.size,
        snapshots=config.snapshots.count,
        snapshot_every=config.snapshots.every,
        treat_labels=config_lib.treats_labels(config),
        clip_weights=config.clip_weights > 0,
        regularizers=config_lib.active_regularizers(config),
        lazy=tuple(
            (name, config.regularizers[name].every)
            for name in config_lib.active_regularizers(config)
            if config.regularizers[name].every > 1
        ),
        baseline=config.baseline.name,
        reconstruction=config.baseline.reconstruction,
    )
    players = _check_sizes(config, made, image_shape)
    if memory is not None:
        _check_memory(config, made, image_shape, players, memory)
    return made


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


def _latent_size(config, num_classes):
    """Give the length of z; codes that are given have one of their own."""
    if config.baseline.name != 'given':
        return config.latent_size
    if not num_classes:
        raise errors.ConfigError(
            "baseline.name='given' needs labels, and the data have none"
        )
    return num_classes + 2


def _check_sizes(config, gan, image_shape):
    """Refuse networks that do not meet, by tracing both on one batch.

    Returns:
        {player: `_Traced`}, without D of a baseline.
    """
    count = 2 * gan.packing  # samples of which D judges two
    made = _trace(
        config, gan, 'generator', (count, gan.latent_size),
        f'cannot make {_size(image_shape)}',
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
    if gan.baseline:
        return {'generator': made}
    *sides, channels = image_shape
    judged = (*sides, channels * gan.packing)
    told = _trace(
        config, gan, 'discriminator', (2, *judged),
        f'cannot read {_size(judged)}',
    )
    logits = told.output.logits
    if logits.shape != (2,):
        raise _misfit(
            config, 'discriminator',
            f'gives logits of shape {list(logits.shape)} for 2 inputs of '
            f'{_size(judged)}; one for each, [2], is asked',
        )
    return {'generator': made, 'discriminator': told}


class _Traced(NamedTuple):
    """What tracing a player tells without running it.

    Attributes:
        output: its form.
        parameters: their number.
        widest: numbers of a sample in its largest layer.
    """

    output: Any
    parameters: int
    widest: int


def _trace(config, gan, player, shape, failure):
    """Trace a player on inputs of a shape."""
    given = {}
    if gan.num_classes:
        given['labels'] = jnp.zeros(shape[0], jnp.int32)
    try:
        program, (output, variables) = jax.make_jaxpr(
            lambda key: getattr(gan, player).init_with_output(
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


def _check_memory(config, gan, image_shape, players, memory):
    """Refuse what no program could train in so much memory.

    Counted is what must be there at once at least: weights, gradients and the
    average; the images of an update, real and generated, and the largest layer
    of each player; what is kept of images and of snapshots.
    """
    pixels = math.prod(image_shape)
    images = config_lib.images_per_batch(config)
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
        values = config_lib.flatten(config)
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


def _partner(config, num_images, **classes):
    """Make the discriminator, or what gives a baseline its codes."""
    if config.baseline.name == 'glo':
        return encoders.Codes(num_images, config.latent_size)
    if config.baseline.name == 'given':
        return encoders.Given()
    module = config_lib.encoder(config)
    if module is None:
        name = config_lib.discriminator_name(config)
        module, fields = networks.NETWORKS[name].discriminator, classes
    else:
        outputs = 2 if config.baseline.name == 'vae' else 1
        fields = {'code_size': outputs * config.latent_size}
    return _network(config, config.discriminator, module, **fields)


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
    images = config_lib.images_per_batch(config)
    ema_decay = config.ema_decay
    if config.ema_half_life:
        ema_decay = 0.5 ** (images / config.ema_half_life)
    return game.Hyperparams(
        g_learning_rate=jnp.float32(config.g_optimizer.learning_rate),
        d_learning_rate=jnp.float32(config.d_optimizer.learning_rate),
        ema_decay=jnp.float32(ema_decay),
        noise_std=jnp.float32(config.instance_noise.std),
        noise_steps=jnp.float32(config.instance_noise.decay_steps),
        loss_options={
            option.name: jnp.float32(config.loss[option.name])
            for option in losses.LOSSES[config.loss.name].options
        },
        label_treatment=labels.Treatment(
            **{k: jnp.float32(v) for k, v in config.labels.items()}
        ),
        penalty_weights={
            name: jnp.float32(config.regularizers[name].weight)
            for name in config_lib.active_regularizers(config)
        },
        clip_limit=jnp.float32(config.clip_weights),
        augment_probability=jnp.float32(config.augment.probability),
        augment_target=jnp.float32(config.augment.target),
        augment_speed=jnp.float32(images / config.augment.adaptive_images),
        history_share=jnp.float32(config.history.share),
        d_threshold=jnp.float32(config.schedule.d_threshold),
        g_threshold=jnp.float32(config.schedule.g_threshold),
        huber_delta=jnp.float32(config.baseline.delta),
        beta=jnp.float32(config.baseline.beta),
        decoder_std=jnp.float32(config.baseline.std),
        most_turned=jnp.float32(config.baseline.angle),
        most_scaled=jnp.float32(config.baseline.scale),
    )


def convolutional(config):
    """Say whether a network of this config convolves."""
    return any(
        networks.NETWORKS[options.name].convolutional
        for options in (config.generator, config.discriminator)
    )


def abstract_state(gan, image_shape):
    """Give the form of a state, as `jax.ShapeDtypeStruct`, without running."""
    return jax.eval_shape(
        lambda key: game.init(gan, key, image_shape), jax.random.key(0)
    )


def step(gan, feed, **options):
    """Bind a GAN and a feed to the step that `parallel.train_call` runs.

    Args:
        gan: a `game.GAN`.
        feed: as of `feed`.
        options: `loop` and `due` of `adversarial.train_step`.

    Returns:
        Function of (state, constants, fed, key, `parallel.Across`).
    """

    def run(state, constants, fed, key, across):
        real = batch(gan, feed, constants, fed)
        return adversarial.train_step(
            gan, constants.hyperparams, state, real, key,
            mean=across.mean, gather=across.gather, **options,
        )

    return run


def part_of_step(part, gan, feed, **options):
    """Bind one of `adversarial`'s parts of a step, likewise.

    Its updates are numbered from `constants.number`.
    """

    def run(state, constants, fed, key, across):
        real = batch(gan, feed, constants, fed)
        return part(
            gan, constants.hyperparams, state, real, key, constants.number,
            mean=across.mean, gather=across.gather, **options,
        )

    return run


def batch(gan, feed, constants, fed):
    """Give the `game.Batch` of what a feed was fed."""
    images, labels = feed.select(constants.resident, fed)
    told = gan.num_classes or gan.baseline == 'given'
    labels = labels if told else None
    numbers = fed if gan.baseline == 'glo' else None  # of a resident feed
    return game.Batch(images, labels, constants.slots, numbers)
