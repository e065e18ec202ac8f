"""Builders of algorithms: networks, optimizers, schedules, hyper-parameters.

Turns the names in a config into Flax modules, losses and optax transforms. Of
the data it knows only `builders.DataSpec`, of devices only the size of their
memory.
"""

import math

import jax
import jax.numpy as jnp
import optax

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import annealing
from gan_jax.algorithms import game
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.config import size_checks
from gan_jax.core import errors
from gan_jax import networks
from gan_jax.networks import encoders
from gan_jax.networks import layers
from gan_jax.networks import translators
from gan_jax.objectives import losses
from gan_jax.objectives import targets
from gan_jax.ops import optimizers
from gan_jax.ops import schedules

TRACED_SAMPLES = 2  # in the check of a decoder's sizes


def build_adversarial(config, specs, memory):
    """Build an `adversarial.Adversarial`, as of `builders.algorithm`."""
    spec = specs[adversarial.REAL]
    image_shape, classes = spec.shape, {}
    if defaults.is_conditional(config):
        if not spec.num_classes:
            raise errors.ConfigError(
                f'generator.condition={config.generator.condition!r} needs '
                'labels, and the data have none'
            )
        classes['num_classes'] = spec.num_classes
    name = defaults.discriminator_name(config)
    schedule = config.schedule
    gan = adversarial.Adversarial(
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
        **_shared_fields(config),
        d_tx=optimizer(
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
        joint_batch=config.joint_batch or _judges_independently(config),
        reuse_fakes=config.reuse_fakes,
        fresh_reals=config.fresh_reals,
        packing=config.packing,
        history=config.history.size,
        treat_labels=defaults.treats_labels(config),
        clip_weights=config.clip_weights > 0,
        annealed=defaults.annealed(config),
        ema_ramp=config.ema_ramp > 0,
        penalties=defaults.active_penalties(config),
        lazy=_lazy(config),
        burst_steps=schedule.burst_steps,
        burst_first=schedule.burst_first,
        burst_every=schedule.burst_every,
        d_name=name,
    )
    players = size_checks.check_sizes(config, gan, image_shape)
    if memory is not None:
        size_checks.check_memory(config, image_shape, players, memory)
    return gan


def build_reconstruction(config, specs, memory):
    """Build a `reconstruction.Reconstruction`, as of `builders.algorithm`."""
    spec, kind = specs[reconstruction.REAL], config.algorithm
    size = config.latent_size
    if kind == 'pose_decoder':
        if not spec.num_classes:
            raise errors.ConfigError(
                "algorithm='pose_decoder' needs labels, and the data have none"
            )
        size = spec.num_classes + reconstruction.POSE_VALUES
    if kind == 'glo':
        encoder, name = encoders.Codes(spec.count, size), 'one for each image'
    elif kind == 'pose_decoder':
        encoder, name = encoders.PoseCodes(), 'pose_decoder'
    else:
        name = config.discriminator.name
        encoder = _network(
            config, config.discriminator, networks.NETWORKS[name].encoder,
            code_size=(2 if kind == 'vae' else 1) * size,
        )
    built = reconstruction.Reconstruction(
        kind=kind,
        generator=_network(
            config, config.generator,
            networks.NETWORKS[config.generator.name].generator,
            image_shape=spec.shape,
        ),
        encoder=encoder,
        **_shared_fields(config),
        d_tx=optimizer(config.d_optimizer),
        latent_size=size,
        reconstruction=config.reconstruction.error,
        d_name=name,
    )
    player = size_checks.check_samples(
        config, built.generator, size, spec.shape, TRACED_SAMPLES
    )
    if memory is not None:
        size_checks.check_memory(
            config, spec.shape, {'generator': player}, memory
        )
    return built


def build_autoencoder(config, specs, memory):
    """Build an `adversarial_autoencoder.AdversarialAutoencoder`.

    The encoder belongs to the decoder's family and has its options. Args,
    raises: as of `builders.algorithm`.
    """
    shape, options = specs[adversarial.REAL].shape, config.reconstruction
    kind = adversarial_autoencoder.KINDS[config.algorithm]
    family = networks.FAMILIES[config.generator.name]
    size = config.latent_size
    encoder = _network(
        config, config.generator, family.encoder,
        code_size=size * (2 if kind.code == 'gaussian' else 1),
    )
    decoder = _network(
        config, config.generator, family.generator, image_shape=shape
    )
    traced = size_checks.check_encoder(config, encoder, shape)
    code_shape = (*traced.output.shape[1:-1], size)
    fields = {}
    if kind.code == 'codebook':
        encoder = encoders.WithCodebook(encoder, options.num_codes, size)
        fields = {
            'num_codes': options.num_codes,
            'learned_codebook': options.codebook == 'gradient',
        }
    built = adversarial_autoencoder.AdversarialAutoencoder(
        kind=config.algorithm,
        generator=decoder,
        encoder=encoder,
        discriminator=_network(
            config, config.discriminator,
            networks.FAMILIES[config.discriminator.name].discriminator,
        ),
        d_tx=optimizer(config.d_optimizer),
        loss=losses.LOSSES[config.loss.name],
        code_shape=code_shape,
        last_kernel=layers.last_kernel(
            decoder, jax.ShapeDtypeStruct((2, *code_shape), jnp.float32)
        ),
        reconstruction=options.error,
        start=options.start,
        adaptive=kind.adaptive and options.adaptive,
        features=options.features > 0,
        penalties=defaults.active_penalties(config),
        lazy=_lazy(config),
        d_name=config.discriminator.name,
        **fields,
        **{key: value for key, value in _shared_fields(config).items()
           if key not in ('snapshots', 'snapshot_every', 'num_microbatches')},
    )
    players = {
        'encoder': traced,
        **size_checks.check_autoencoder(config, built, shape),
    }
    if memory is not None:
        size_checks.check_memory(config, shape, players, memory)
    return built


def build_translation(config, specs, memory):
    """Build a `translation.Translation`, as of `builders.algorithm`."""
    shapes = tuple(specs[name].shape for name in translation.DOMAINS)
    size_checks.check_domains(config, shapes)
    generator = networks.FAMILIES[config.generator.name].generator
    fields = {}
    if 'num_downs' in generator.__dataclass_fields__ and (
            not config.generator.num_downs):  # also for images of other sizes
        fields['num_downs'] = translators.num_halvings(shapes[0][:2])
    directions = translation.KINDS[config.algorithm]
    targets = [
        shapes[translation.DOMAINS.index(translation.DIRECTIONS[name][1])]
        for name in directions
    ]
    built = translation.Translation(
        kind=config.algorithm,
        generators=tuple(
            _network(
                config, config.generator, generator, channels=shape[-1],
                **fields,
            ) for shape in targets
        ),
        discriminators=len(directions) * (_network(
            config, config.discriminator,
            networks.FAMILIES[config.discriminator.name].discriminator,
        ),),
        shapes=shapes,
        loss=losses.LOSSES[config.loss.name],
        penalties=defaults.active_penalties(config),
        identity=config.translation.identity > 0,
        history=config.history.size,
        flip=tuple(
            name for name in translation.DOMAINS if config.data[name].flip
        ),
        own_statistics=config.batch_size == 1,
        d_tx=optimizer(config.d_optimizer),
        d_name=config.discriminator.name,
        **_trained_fields(config),
    )
    players = size_checks.check_translation(config, built)
    if memory is not None:
        size_checks.check_memory(config, shapes[0], players, memory)
    return built


def _lazy(config):
    """Return ((penalty, k), ...), those that are applied every k-th step."""
    return tuple(
        (name, config.penalties[name].every)
        for name in defaults.active_penalties(config)
        if config.penalties[name].every > 1
    )


def _shared_fields(config):
    """Return the fields that algorithms with latents have."""
    return {
        **_trained_fields(config),
        'latent': config.latent,
        'flip': config.data.flip,
        'dequantize': config.data.dequantize,
        'snapshots': config.snapshots.count,
        'snapshot_every': config.snapshots.every,
    }


def _trained_fields(config):
    """Return the fields that all algorithms have."""
    return {
        'g_tx': optimizer(config.g_optimizer),
        'g_schedule': _schedule(config.g_optimizer),
        'd_schedule': _schedule(config.d_optimizer),
        'num_microbatches': config.num_microbatches,
        'frozen': defaults.frozen(config),
        'g_name': config.generator.name,
    }


def _network(config, options, module, **fields):
    """Build a Flax module; its fields come from `fields`, then `options`."""
    for key, value in options.items():
        if key in module.__dataclass_fields__ and key != 'name':
            fields.setdefault(key, value)
    return module(dtype=jnp.dtype(config.dtype), **fields)


def optimizer(options, differentiable=False):
    """Build an optax transform without its learning rate.

    Args:
        options: ConfigDict of one optimizer.
        differentiable: whether gradients flow through the updates.
    """
    kind = optimizers.OPTIMIZERS[options.name]
    direction = kind.make(differentiable, **{
        option.name: options[option.name] for option in kind.options
    })
    if not options.clip_norm:
        return direction
    return optax.chain(
        optax.clip_by_global_norm(options.clip_norm), direction
    )


def _schedule(options):
    """Build the schedule of a learning rate; None if it is constant."""
    return schedules.make(
        options.schedule, options.schedule_steps, options.warmup_steps,
        options.hold_steps,
    )


def _judges_independently(config):
    """Return whether D is dense and its output depends on one sample alone.

    Then one pass over real and fake samples equals two passes, in less time.
    Spectral normalization is excluded, because it updates its vectors once a
    pass.
    """
    options = config.discriminator
    return not (
        defaults.convolutional(config) or options.norm == 'batch'
        or options.minibatch_features or options.spectral_norm
    )


def adversarial_hyperparams(config):
    """Return the `game.Hyperparams` of a config."""
    images = defaults.images_per_batch(config)
    return game.Hyperparams(
        **_shared_hyperparams(config),
        noise_std=jnp.float32(config.instance_noise.std),
        noise_steps=jnp.float32(config.instance_noise.decay_steps),
        **_weights(config),
        label_treatment=targets.Treatment(
            **{k: jnp.float32(v) for k, v in config.labels.items()}
        ),
        clip_limit=jnp.float32(config.clip_weights),
        augment_probability=jnp.float32(config.augment.probability),
        augment_target=jnp.float32(config.augment.target),
        augment_speed=jnp.float32(images / config.augment.adaptive_images),
        d_threshold=jnp.float32(config.schedule.d_threshold),
        g_threshold=jnp.float32(config.schedule.g_threshold),
        **_moving_hyperparams(config),
    )


def _weights(config):
    """Return options of the loss and weights of penalties."""
    return {
        'loss_options': {
            option.name: jnp.float32(config.loss[option.name])
            for option in losses.LOSSES[config.loss.name].options
        },
        'penalty_weights': {
            name: jnp.float32(config.penalties[name].weight)
            for name in defaults.active_penalties(config)
        },
        'history_share': jnp.float32(config.history.share),
    }


def translation_hyperparams(config):
    """Return the `translation.Hyperparams` of a config."""
    return translation.Hyperparams(
        **_shared_hyperparams(config), **_weights(config),
        **{k: jnp.float32(v) for k, v in config.translation.items()},
    )


def autoencoder_hyperparams(config):
    """Return the `adversarial_autoencoder.Hyperparams` of a config."""
    weights = _weights(config)
    weights.pop('history_share')
    return adversarial_autoencoder.Hyperparams(
        **_shared_hyperparams(config), **weights,
        huber_delta=jnp.float32(config.reconstruction.delta),
        **{name: jnp.float32(config.reconstruction[name]) for name in (
            'adversarial', 'pixels', 'features', 'kl', 'decoder_error',
            'commitment', 'codebook_decay', 'restart',
        )},
    )


def _moving_hyperparams(config):
    """Return the hyper-parameters of `annealing`; images become steps."""
    images, last = defaults.images_per_batch(config), config.anneal
    first_b2 = {
        f'{player}_b2': jnp.float32(config[f'{player}_optimizer'].b2)
        for player in ('g', 'd') if last.b2
    }
    return {
        **first_b2,
        'ema_half_life': jnp.float32(config.ema_half_life / images),
        'ema_ramp': jnp.float32(config.ema_ramp),
        'anneal_steps': jnp.float32((last.images or math.inf) / images),
        'anneal_to': annealing.Last(
            learning_rate=jnp.float32(last.learning_rate),
            penalties=jnp.float32(last.penalties),
            b2=jnp.float32(last.b2),
            ema_half_life=jnp.float32(last.ema_half_life / images),
            augment=jnp.float32(last.augment),
        ),
    }


def reconstruction_hyperparams(config):
    """Return the `reconstruction.Hyperparams` of a config."""
    return reconstruction.Hyperparams(
        **_shared_hyperparams(config),
        huber_delta=jnp.float32(config.reconstruction.delta),
        beta=jnp.float32(config.reconstruction.beta),
        decoder_std=jnp.float32(config.reconstruction.std),
        max_angle=jnp.float32(config.reconstruction.angle),
        max_scale_change=jnp.float32(config.reconstruction.scale),
    )


def _shared_hyperparams(config):
    """Return the hyper-parameters that all algorithms have."""
    images = defaults.images_per_batch(config)
    ema_decay = config.ema_decay
    if config.ema_half_life:
        ema_decay = 0.5 ** (images / config.ema_half_life)
    return {
        'g_learning_rate': jnp.float32(config.g_optimizer.learning_rate),
        'd_learning_rate': jnp.float32(config.d_optimizer.learning_rate),
        'ema_decay': jnp.float32(ema_decay),
    }
