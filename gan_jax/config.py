"""Every config key with its default; what is allowed is in checks.py."""

import re

from ml_collections import ConfigDict
from PIL import ImageColor

from gan_jax import augment
from gan_jax import diagnose
from gan_jax import errors
from gan_jax import losses
from gan_jax import mixtures
from gan_jax import networks
from gan_jax import regularizers
from gan_jax.data import arrays
from gan_jax.data import sources
from gan_jax.steps import game

# Keys that do not change what is learnt: they may change when a run goes on,
# and are no part of the name of its folder.
FREE_KEYS = (
    'allow_bad_setup',
    'checkpoint_every',
    'data.data_dir',
    'data.feed',
    'data.max_bad',
    'data.resident_share',
    'eval_every',
    'eval_features',
    'eval_metrics',
    'eval_samples',
    'keep_best',
    'keep_checkpoints',
    'keep_every',
    'log_every',
    'max_restarts',
    'num_steps',
    'on_collapse',
    'on_nan',
    'report',
    'sample_every',
    'diagnosis.on',
    *(f'diagnosis.{name}' for name in diagnose.THRESHOLDS),
)


def default_config():
    """Make a config with every key; recipes start from it."""
    config = ConfigDict()
    config.seed = 0  # of weights, noise and the order of the data
    config.num_steps = 2000  # of the game: d_steps of D, then g_steps of G
    config.batch_size = 64  # real images per update, over all devices
    config.num_microbatches = 1  # parts of it, whose gradients are averaged
    config.d_steps = 1  # discriminator updates in a step
    config.g_steps = 1  # generator updates in a step
    config.dtype = 'float32'  # of computations; parameters stay float32
    config.latent = 'gaussian'  # what z is drawn from: one of latents.LATENTS
    config.latent_size = 100  # length of z
    config.ema_decay = 0.999  # of the averaged generator that samples
    config.ema_half_life = 0  # ... as images till the half is new; 0: as above
    config.together = False  # D sees real and fake as one batch (BatchNorm!)
    config.share_fakes = False  # G learns by the fakes that D was just shown
    config.population = 1  # GANs of seeds from `seed` on, trained at once
    config.packing = 1  # samples that D judges as one (PacGAN)

    config.snapshots = ConfigDict()  # plain average of G beside the EMA
    config.snapshots.count = 0  # last snapshots that it averages; 0 is off
    config.snapshots.every = 100  # steps between snapshots

    config.history = ConfigDict()  # past fakes that D is reminded of
    config.history.size = 0  # how many are kept; 0 is off
    config.history.share = 0.5  # chance of one in place of a new fake

    config.augment = ConfigDict()  # on all that D sees, in its and G's updates
    for name in sorted(augment.AUGMENTATIONS):
        config.augment[name] = False
    config.augment.probability = 1.0  # of each, for each image
    config.augment.adaptive = False  # let D's outputs move it, from 0
    config.augment.target = 0.6  # adaptive: mean sign of D on real images
    config.augment.adaptive_images = 500_000  # adaptive: from 0 to 1

    config.instance_noise = ConfigDict()  # on all that D sees
    config.instance_noise.std = 0.0  # at step 0, of images in [-1, 1]; 0 is off
    config.instance_noise.decay_steps = 0  # falls to 0 till then; 0 never falls

    config.schedule = ConfigDict()  # who moves when
    config.schedule.name = 'alternating'  # one of adversarial.SCHEDULES
    config.schedule.d_threshold = 0.0  # adaptive: D moves while its loss is
    config.schedule.g_threshold = 0.0  # ... above; G likewise
    config.schedule.unroll_steps = 5  # unrolled: D's updates that G foresees
    config.schedule.burst_steps = 100  # wgan: D's updates, in place of d_steps,
    config.schedule.burst_first = 25  # ... in each of so many steps at first
    config.schedule.burst_every = 500  # ... and again every so many; 0: never

    config.loss = ConfigDict()
    config.loss.name = 'non_saturating'  # one of losses.LOSSES
    for loss in losses.LOSSES.values():
        for option in loss.options:
            config.loss[option.name] = option.default

    config.baseline = ConfigDict()  # what is trained in place of the game
    config.baseline.name = ''  # one of baselines.BASELINES; '' is a GAN
    config.baseline.reconstruction = 'l2'  # reconstructions.RECONSTRUCTIONS
    config.baseline.delta = 0.1  # huber: error above which it is linear
    config.baseline.beta = 1.0  # vae: weight of the KL divergence
    config.baseline.std = 0.5  # vae: deviation of the decoder's Gaussian
    config.baseline.angle = 0.5  # given: most radians that images are turned by
    config.baseline.scale = 0.25  # given: most that their scale differs from 1

    config.labels = ConfigDict()  # D's targets; the defaults are hard labels
    config.labels.real_low = 1.0  # real targets are uniform from here ...
    config.labels.real_high = 1.0  # ... to here: 0.9 and 0.9 smooth one side
    config.labels.fake_low = 0.0
    config.labels.fake_high = 0.0
    config.labels.flip_probability = 0.0  # chance of a target of the other kind

    config.regularizers = ConfigDict()  # any of regularizers.REGULARIZERS
    for name in sorted(regularizers.REGULARIZERS):
        # every: joins each k-th step alone, at k times the weight; weight 0
        # is off.
        config.regularizers[name] = ConfigDict({'weight': 0.0, 'every': 1})
    config.clip_weights = 0.0  # D's weights to [-c, c] (0.01 in WGAN); 0 is off

    config.generator = _network_config()
    config.generator.condition = 'none'  # conditioning.GENERATOR_CONDITIONS
    config.generator.leak = 0.0  # slope of hidden layers below 0; 0 is ReLU
    config.generator.output = 'auto'  # last layer: one of activations.OUTPUTS
    config.generator.upsampling = 'transposed'  # dcgan: resampling.UPSAMPLINGS
    config.discriminator = _network_config()
    config.discriminator.condition = 'none'  # ... .DISCRIMINATOR_CONDITIONS
    config.discriminator.leak = 0.2  # slope of hidden layers below 0
    config.discriminator.downsampling = 'strided'  # ... .DOWNSAMPLINGS
    config.discriminator.minibatch_features = 0  # of a sample among the others
    config.discriminator.minibatch_stddev = False  # dcgan: a map of spread
    config.discriminator.code_size = 64  # autoencoders: length of the code
    config.discriminator.energy = 'euclidean'  # one of autoencoder.ENERGIES
    config.g_optimizer = _optimizer_config()
    config.d_optimizer = _optimizer_config()

    config.data = ConfigDict()
    config.data.name = 'digits'  # sources.DATASETS, URIs, or MIXTURES
    config.data.path = ''  # folder, archive, array or pack, in place of name
    config.data.split = 'train'  # 'train', 'test'; of TFDS 'train[:1000]' too
    config.data.data_dir = ''  # of prepared TFDS sets; '' is TFDS's default
    config.data.image_size = ''  # '64' or '48x80' (height x width); '' as is
    config.data.channels = 0  # 1, 3 or 4; 0: 1 where all are grey, else 3
    config.data.crop = 'center'  # one of pictures.CROPS: to other proportions
    config.data.background = 'white'  # behind transparency, beside padding
    config.data.flip = False  # mirror each real image with chance 1/2
    config.data.dequantize = False  # noise of one level on real images
    config.data.classes = ''  # names of those to keep, such as '3,7'; '' is all
    config.data.test_share = 0.0  # held out as split 'test'; not of TFDS
    config.data.limit = 0  # most images, evenly drawn; 0 is all
    config.data.max_bad = 0.01  # largest share of bad files; more stop the run
    config.data.feed = 'auto'  # one of build.FEEDS: 'resident' or 'streaming'
    config.data.resident_share = 0.25  # of memory that resident images may take
    config.data.modes = 10  # manifold: number of modes
    config.data.dimension = 2  # manifold: of the plane that the modes lie in
    config.data.ambient = 16  # manifold: coordinates of a point
    config.data.std = 0.05  # manifold: deviation of a mode along its plane

    config.log_every = 50  # steps between lines of metrics; 0 is off
    config.sample_every = 250  # steps between grids of samples; 0 is off
    config.checkpoint_every = 500  # steps between saves; 0: at the end alone
    config.eval_every = 0  # steps between measured samples; 0 is off
    config.eval_metrics = ''  # such as 'fid,kid', more of measures.MEASURES
    config.eval_features = 'classifier'  # what they compare images by
    config.eval_samples = 1000  # and as many real images, at most
    config.keep_checkpoints = 3  # newest ones to keep
    config.keep_every = 0  # steps of which multiples are kept too; 0 is none
    config.keep_best = ''  # metric whose best step is kept, of costs.COSTS
    config.on_nan = 'stop'  # one of checks.ON_NAN; rollback is bounded
    config.report = True  # leave report.html when the training ends
    config.on_collapse = 'warn'  # one of checks.ON_COLLAPSE, where modes do
    config.max_restarts = 3  # on_collapse=restart: with other seeds, at most
    config.allow_bad_setup = False  # only warn where a setup cannot work

    config.diagnosis = ConfigDict()  # what goes wrong is named
    config.diagnosis.on = True  # False: no probes, no findings
    for name, value in sorted(diagnose.THRESHOLDS.items()):
        config.diagnosis[name] = value  # configs/DIAGNOSIS.md
    return config


def _network_config():
    network = ConfigDict()
    network.name = 'dcgan'  # one of networks.NETWORKS
    network.width = 64  # dcgan: channels at full size; mlp: hidden units
    network.depth = 2  # mlp: hidden layers; dcgan follows the image size
    network.kernel_size = 4  # dcgan: side of the kernels
    network.norm = 'batch'  # one of layers.NORMS
    network.spectral_norm = False  # every layer's weights by their spectral one
    network.attention = 0  # dcgan, resnet: side of the map with it; 0 is off
    network.prelu = False  # learn that slope, one for each channel
    network.maxout = 0  # mlp: linear pieces whose maximum a unit is; 0 is off
    network.init_std = 0.0  # mlp: of its first weights; 0: 1 / sqrt(inputs)
    network.norm_momentum = 0.9  # mlp: share of the past in BatchNorm's average
    network.dropout = 0.0  # chance of a hidden unit to be dropped in training
    return network


def _optimizer_config():
    optimizer = ConfigDict()
    optimizer.name = 'adam'  # one of OPTIMIZERS
    optimizer.learning_rate = 2e-4
    optimizer.b1 = 0.5  # adam: decay of the first moment
    optimizer.b2 = 0.999  # adam: decay of the second moment
    optimizer.momentum = 0.0  # sgd: decay of the accumulated gradient
    optimizer.decay = 0.99  # rmsprop: decay of the squares (WGAN's authors')
    optimizer.clip_norm = 0.0  # largest norm of the gradient; 0 is off
    optimizer.schedule = 'constant'  # one of schedules.SCHEDULES
    optimizer.schedule_steps = 0  # G updates until cosine or linear reach 0
    optimizer.warmup_steps = 0  # G updates over which the rate rises; 0 is off
    return optimizer


def image_size(config):
    """Parse data.image_size into (height, width), or None where it is ''.

    Raises:
        errors.ConfigError: where it is neither '64' nor '48x80'.
    """
    text = config.data.image_size
    if not text:
        return None
    match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    if not match or '0' in (match[1], match[2]):
        raise errors.ConfigError(
            f"data.image_size={text!r} is not a size such as '64' or '48x80' "
            '(height x width)'
        )
    return int(match[1]), int(match[2] or match[1])


def discriminator_name(config):
    """Name D's network: as an autoencoder where the loss is about energies."""
    name = config.discriminator.name
    if losses.LOSSES[config.loss.name].energies:
        return networks.NETWORKS[name].autoencoder or name
    return name


def encoder(config):
    """Give the module class that encodes for a baseline.

    None for a GAN, and for codes that are a table or given.
    """
    if config.baseline.name not in game.ENCODED:
        return None
    return networks.NETWORKS[config.discriminator.name].encoder


def is_conditional(config):
    """Say whether the players are told the classes of images."""
    return config.generator.condition != 'none'


def images_per_batch(config):
    """Count the real images of one batch: D judges `packing` as one."""
    return config.batch_size * config.packing


def has_mixture(config):
    """Say whether the data are points, made on the fly."""
    return not config.data.path and config.data.name in mixtures.MIXTURES


def source(config):
    """Give the name or URI of the data, of `data.sources` or a mixture."""
    if config.data.path:
        return sources.of_path(config.data.path)
    return config.data.name


def has_points(config):
    """Say whether the data are points: made on the fly, or a table's rows.

    A table is known by its file's header; where the file is not there, as on a
    machine that only samples, it counts as images.
    """
    scheme, _, path = source(config).partition(':')
    if scheme in ('npy', 'npz'):
        return arrays.axes(path) == 2
    return has_mixture(config)


def classes(config):
    """Parse data.classes into names; () is all."""
    return tuple(
        name.strip() for name in config.data.classes.split(',') if name.strip()
    )


def eval_metrics(config):
    """Parse eval_metrics into names."""
    return tuple(
        name.strip() for name in config.eval_metrics.split(',') if name.strip()
    )


def background(config):
    """Parse data.background into (red, green, blue).

    Raises:
        errors.ConfigError: where it is no colour.
    """
    try:
        return ImageColor.getrgb(config.data.background)[:3]
    except ValueError as error:
        raise errors.ConfigError(
            f'data.background={config.data.background!r} is not a colour such '
            "as 'white' or '#808080'"
        ) from error


def treats_labels(config):
    """Say whether D's targets differ from the hard labels."""
    return config.labels.to_dict() != default_config().labels.to_dict()


def active_augmentations(config):
    """List the augmentations that are on, sorted by name."""
    return tuple(
        name for name in sorted(augment.AUGMENTATIONS) if config.augment[name]
    )


def active_regularizers(config):
    """List the regularizers with a weight, sorted by name."""
    return tuple(
        name for name, options in sorted(config.regularizers.items())
        if options.weight > 0
    )


def flatten(config):
    """Give {'loss.name': value, ...}, one entry a leaf, sorted by key."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, dict)):
            nested = flatten(value)
            flat.update({f'{key}.{k}': v for k, v in nested.items()})
        else:
            flat[key] = value
    return dict(sorted(flat.items()))


def differences(stored, config):
    """List the keys in which two configs would train differently.

    Args:
        stored: ConfigDict of an earlier start of the run.
        config: ConfigDict of this one.

    Returns:
        'key: stored value -> new value' for each, `FREE_KEYS` left out.
    """
    old, new = flatten(stored), flatten(config)
    return [
        f'{key}: {old.get(key)!r} -> {new.get(key)!r}'
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in FREE_KEYS
    ]


def run_name(recipe, overrides):
    """Name the folder of a run after its recipe and what it changes.

    Args:
        recipe: 'path/to/dcgan.py' or 'path/to/dcgan.py:mnist'.
        overrides: {key: value} given on the command line.

    Returns:
        str such as 'dcgan-mnist-d_steps=5'; characters that a file system may
        refuse become '_'.
    """
    path, _, argument = recipe.partition(':')
    name = re.split(r'[/\\]', path)[-1].removesuffix('.py')
    parts = [name] + ([argument] if argument else [])
    for key, value in sorted(overrides.items()):
        if key not in FREE_KEYS:
            parts.append(f'{key}={value}')
    return re.sub(r'[^\w.=+-]', '_', '-'.join(parts))
