"""Shared helpers of tests: small configs and networks, the command line."""

import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import warnings

from absl import flags
import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import config_flags
import numpy as np
import optax
import pytest

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.objectives import losses
from gan_jax.runs import run_folder
from gan_jax.training import train

SHAPE = (2, 2, 1)  # of the images of `batch`


def tiny(config):
    """Shrink a config so that its nets compile and run in seconds."""
    lacks = reconstruction.WITHOUT.get(config.algorithm, ())
    if config.algorithm in translation.KINDS:
        lacks = ('latent_size',)
    for player in ('generator', 'discriminator'):
        if f'{player}.' not in lacks:
            config[player].width = 4
            if config[player].name == 'mlp':
                config[player].depth = 1
    config.batch_size = 8
    if 'latent_size' not in lacks:
        config.latent_size = 3
    config.num_steps = 4
    config.log_every = 2
    config.sample_every = 2
    config.checkpoint_every = 2
    config.report = False
    return config


def tiny_mlp():
    """Return a config of small dense networks that train in a second."""
    config = tiny(defaults.default_config())
    config.generator.name = config.discriminator.name = 'mlp'
    config.generator.norm = config.discriminator.norm = 'none'
    config.generator.depth = config.discriminator.depth = 1
    return config


def tiny_stylegan2():
    """Return a config of a small conditional StyleGAN2."""
    config = tiny(defaults.default_config())
    changes = {
        'generator.name': 'stylegan2', 'discriminator.name': 'stylegan2',
        'generator.condition': 'concat',
        'discriminator.condition': 'projection',
        'generator.width': 8, 'discriminator.width': 8, 'latent_size': 6,
    }
    config.update_from_flattened_dict(changes)
    unused_keys.leave_out(config, changes)
    return config


def tiny_translation(kind='cyclegan', **changes):
    """Return a config of small networks between two domains of arrays.

    Args:
        kind: 'cyclegan', or 'pix2pix' with dropout for sides from 64.
        **changes: {key: value}, with '__' for '.'.
    """
    config = defaults.default_config()
    config.algorithm, config.num_steps, config.report = kind, 4, False
    config.data = defaults.grouped_data('a', 'b')
    config.data.a.name, config.data.b.name = 'digits', 'mnist'  # not loaded
    config.generator.width = config.discriminator.width = 4
    config.discriminator.name, config.discriminator.depth = 'patchgan', 1
    if kind == 'cyclegan':
        config.generator.name, config.generator.num_blocks = (
            'resnet_translator', 1
        )
        config.generator.norm = config.discriminator.norm = 'instance'
        config.loss.name, config.batch_size = 'least_squares', 4
    else:
        config.generator.name, config.generator.dropout = 'unet', 0.5
        config.generator.norm = config.discriminator.norm = 'batch'
        config.batch_size = 1
    config.update_from_flattened_dict({
        key.replace('__', '.'): value for key, value in changes.items()
    })
    return config


def random_images(count=32, shape=(8, 8, 1), seed=0):
    """Return uint8 noise [count, *shape]."""
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (count, *shape)).astype(np.uint8)


class LinearGenerator(nn.Module):
    """One dense layer from z to 2x2 images."""

    @nn.compact
    def __call__(self, z, *, train):
        return nn.Dense(4)(z).reshape(-1, 2, 2, 1)


class MixedGenerator(nn.Module):
    """Generator with batch statistics and spectral norm vectors."""

    @nn.compact
    def __call__(self, z, *, train):
        x = layers.SpectralNorm(nn.Dense(4))(z, train=train)
        x = layers.Norm('batch')(x, train=train)
        return x.reshape(-1, 2, 2, 1)


class StyledGenerator(nn.Module):
    """Linear style-based generator: w = A z + C label, image = sum_l B_l w_l.

    Noise is added to the images; `mean` is that of w.
    """

    num_classes: int = 0

    draws_noise = has_styles = True
    num_styles = 3

    def setup(self):
        normal = nn.initializers.normal(1.0)
        self.mapping = self.param('mapping', normal, (3, 3))
        self.embedding = self.param('embedding', normal, (
            max(self.num_classes, 1), 3
        ))
        self.synthesis = self.param('synthesis', normal, (3, 3, 4))
        self.mean = self.variable(
            'styles', 'mean', lambda: jnp.array([0.5, -1.0, 2.0])
        )
        self.noise = self.variable(
            'noise', 'map', lambda: jnp.array([0.1, -0.2, 0.3, 0.4])
        )

    def __call__(
        self, z, labels=None, *, train, keys=None, truncation=None,
        truncated_styles=None,
    ):
        styles = self.map(z, labels, train=train, truncation=truncation,
                          truncated_styles=truncated_styles)
        return self.synthesize(styles, train=train, keys=keys)

    def map(
        self, z, labels=None, keys=None, *, train=False, truncation=None,
        truncated_styles=None,
    ):
        del train, keys
        w = z @ self.mapping
        if labels is not None:
            w = w + self.embedding[labels]
        styles = jnp.repeat(w[:, None], self.num_styles, 1)
        if truncation is None:
            return styles
        moved = self.mean.value + truncation * (styles - self.mean.value)
        if truncated_styles is None:
            return moved
        first = jnp.arange(self.num_styles) < truncated_styles
        return jnp.where(first[:, None], moved, styles)

    def synthesize(self, styles, keys=None, *, train=False):
        del train
        noise = self.noise.value if keys is None else jax.vmap(
            lambda key: 0.1 * jax.random.normal(key, (4,))
        )(keys)
        images = jnp.einsum('bld,ldp->bp', styles, self.synthesis) + noise
        return images.reshape(-1, *SHAPE)


def styled_gan(num_classes=0):
    """Return a GAN whose generator is style-based and linear, with its state.

    Returns:
        (`Adversarial`, `TrainState`); the raw weights are not the averages.
    """
    gan = linear_gan(
        generator=StyledGenerator(num_classes), num_classes=num_classes
    )
    state = start(gan)
    player = state.players[game.G]
    raw = player.replace(params=jax.tree.map(lambda x: 1.5 * x, player.params))
    return gan, algorithm.replace_player(state, game.G, raw)


class LinearDiscriminator(nn.Module):
    """One dense layer from images to the logit; labels are not used."""

    @nn.compact
    def __call__(self, images, labels=None, *, train):
        features = images.reshape(len(images), -1)
        return layers.Output(nn.Dense(1)(features)[:, 0], features)


def linear_gan(**changes):
    """Return a GAN whose updates can be computed by hand: linear nets, SGD."""
    gan = adversarial.Adversarial(
        generator=LinearGenerator(),
        discriminator=LinearDiscriminator(),
        g_tx=optax.identity(),
        d_tx=optax.identity(),
        loss=losses.LOSSES['non_saturating'],
        latent_size=3,
    )
    return gan._replace(**changes)


def hyperparams(**changes):
    """Return hyper-parameters with learning rate 0.1 and EMA decay 0.5."""
    values = game.Hyperparams(
        jnp.float32(0.1), jnp.float32(0.1), jnp.float32(0.5)
    )
    return values._replace(**changes)


def batch(d_steps=1, size=6, seed=0):
    """Return real images of `SHAPE` for one step."""
    images = random_images(d_steps * size, SHAPE, seed)
    return real_batch(jnp.asarray(images.reshape(d_steps, size, *SHAPE)))


def images_of(given, number=0):
    """Return the real images of one draw of a batch."""
    return given.sources['real'].images[number]


def real_batch(images, labels=None, numbers=None):
    """Return the batch of one source, images [K, b, ...]."""
    source = algorithm.Source(images, labels, numbers)
    return algorithm.Batch({'real': source}, jnp.arange(images.shape[1]))


def start(gan):
    """Return the initial state for images of `SHAPE`."""
    return game.init(gan, jax.random.key(1), SHAPE)


def abstract_state(config, shape):
    """Return the abstract state of a config, for data of a shape."""
    specs = builders.single_source_specs(shape)
    algorithm = builders.algorithm(config, specs)
    return builders.abstract_state(config, algorithm, specs)


def step(gan, state, given, **changes):
    """Make one step with hyper-parameters changed."""
    return adversarial.train_step(
        gan, hyperparams(**changes), state, given, jax.random.key(2)
    )


def leaves_equal(a, b):
    """Return whether two pytrees are equal bit for bit."""
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def mlp_gan(**changes):
    """Return a GAN of small dense nets, whose D is not linear."""
    return linear_gan(**{
        'generator': mlp.Generator(image_shape=SHAPE, width=4, depth=1),
        'discriminator': mlp.Discriminator(width=4, depth=1), **changes,
    })


def typed(stem, *words):
    """Return the config of a recipe with changes of the command line.

    Args:
        stem: name of the recipe, with :argument if it has one.
        words: 'key=value', changes of the config.

    Raises:
        errors.UserError: as in the command, also for values that absl or
            ml_collections refuse.
    """
    name, _, argument = stem.partition(':')
    root = pathlib.Path(__file__).parent.parent
    path = f'{root}/configs/{name}.py' + (f':{argument}' if argument else '')
    argv = ['main', f'--config={path}', *(f'--config.{word}' for word in words)]
    own = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(flags, 'FLAGS', own)
        # ml_collections loads recipes by a deprecated function.
        warnings.filterwarnings('ignore', category=DeprecationWarning)
        try:
            config_flags.DEFINE_config_file(
                'config', None, 'A recipe.', flag_values=own, sys_argv=argv
            )
            app._check_repeated_keys(argv)
            left = own(argv)
        except errors.UserError:
            raise
        except Exception as error:  # as `app._parse`
            raise errors.ConfigError(app._message(error)) from error
        return app.config_of(left)


def load_script(name, folder='benchmarks'):
    """Import a script; returns it with a parser of its own flags.

    Args:
        name: file name without its suffix.
        folder: relative to the root of the repository.

    Returns:
        (module, parse). parse(*arguments) sets the given flags, resets all
        others to their defaults and returns the remaining arguments.
    """
    path = pathlib.Path(__file__).parent.parent / folder / f'{name}.py'
    own = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # scripts import their neighbours
        for kind in (
            'bool', 'enum', 'float', 'integer', 'list', 'multi_enum',
            'multi_string', 'string',
        ):
            define = getattr(flags, f'DEFINE_{kind}')
            patch.setattr(flags, f'DEFINE_{kind}', functools.partial(
                define, flag_values=own
            ))
        patch.setattr(config_flags, 'DEFINE_config_file', functools.partial(
            config_flags.DEFINE_config_file, flag_values=own
        ))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

    def parse(*arguments):
        own.unparse_flags()
        for flag in own:
            own[flag].unparse()
        return own([name, *arguments])

    return module, parse


def commands(lists, cwd=None):
    """Run command lines by `command_worker.py`, which imports only once.

    Args:
        lists: of lists of arguments; the first may name the command.
        cwd: folder to run them in.

    Returns:
        List of [exit code, stdout, stderr].
    """
    worker = pathlib.Path(__file__).parent / 'command_worker.py'
    done = subprocess.run(
        [sys.executable, worker],
        input=json.dumps([list(map(str, line)) for line in lists]),
        env=environment(), capture_output=True, text=True, cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def untrained(config, workdir, images=None, labels=None):
    """Create a run folder of step 4 without training or compilation.

    Weights, averages, statistics and moments of codes are random and all
    different, so that code which uses the wrong ones is detected.

    Args:
        config: ConfigDict of the run.
        workdir: folder to create.
        images: uint8 images, {source: images} for several sources, or None for
            the data of the config.
        labels: of the images, if there is one source.

    Returns:
        `train.Run`.
    """
    if images is None:
        datasets = builders.datasets(config)
    elif isinstance(images, dict):
        datasets = {name: sources.from_arrays(
            own, request=builders.request(defaults.of_source(config, name))
        ) for name, own in images.items()}
    else:
        datasets = {builders.REAL: sources.from_arrays(
            images, labels, request=builders.request(config)
        )}
    specs = builders.data_specs(datasets)
    algorithm = builders.algorithm(config, specs)
    state = builders.initial_state(config, algorithm, specs)
    random = np.random.RandomState(0)

    def draw(leaf):
        if leaf.dtype != np.float32:
            return leaf
        spread = 0.4 if leaf.ndim > 1 else 0.1
        return leaf + random.uniform(0, spread, leaf.shape).astype(leaf.dtype)

    def redrawn(player):
        change = getattr(player, '_replace', None) or player.replace
        return change(
            params=jax.tree.map(draw, player.params),
            stats=jax.tree.map(draw, player.stats),
        )

    memory = dict(state.memory)
    if 'codes' in memory:
        factor = random.normal(size=memory['codes']['second'].shape)
        memory['codes'] = {
            'mean': np.full_like(memory['codes']['mean'], 0.3),
            'second': np.float32(factor @ factor.T) + 1,
        }
    state = state.replace(
        step=np.int32(4), memory=memory,
        players={k: redrawn(one) for k, one in state.players.items()},
        averages={k: redrawn(one) for k, one in state.averages.items()},
    )
    workdir = run_folder.at(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    checkpoints = run_folder.open_checkpoints(workdir, config, datasets, False)
    checkpoints.save(4, state)
    checkpoints.close()
    return train.Run(workdir, algorithm, state)


def run(*arguments, devices=1, timeout=300, **kwargs):
    """Run `python -m ...` with virtual devices; returns the process."""
    return subprocess.run(
        [sys.executable, '-m', *map(str, arguments)],
        env=environment(devices),
        capture_output=True,
        text=True,
        timeout=timeout,
        **kwargs,
    )


def last_of_each(*flags):
    """Drop flags that a later flag overrides, because duplicates are errors."""
    return list({flag.partition('=')[0]: flag for flag in flags}.values())


def environment(devices=1):
    """Return os.environ for a process with virtual CPU devices."""
    flag = f'--xla_force_host_platform_device_count={devices}'
    return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag}


def cases(values, *slow):
    """Return the parameters of a test, some of them marked as slow."""
    return [
        pytest.param(value, marks=[pytest.mark.slow] * (value in slow))
        for value in values
    ]
