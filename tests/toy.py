"""A complete example algorithm with four players and two data sources.

    python tests/toy.py FOLDER [STEPS]        # trains in FOLDER/run

A linear CycleGAN, as a template for a new family of GANs. Source `a` has no
labels; `b` is drawn in pairs with it and has classes, which condition its
discriminator.
"""

import pathlib
import sys
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import updates
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.training import train

TX = optax.scale_by_adam()
CYCLE = 10.0


class Linear(nn.Module):
    """A linear layer of images [B, H, W, C], with labels if there are any."""

    size: int
    classes: int = 0

    @nn.compact
    def __call__(self, images, *, train, labels=None):
        x = images.reshape(len(images), -1)
        if labels is not None:
            x = jnp.concatenate([x, jax.nn.one_hot(labels, self.classes)], 1)
        return nn.Dense(self.size)(x)


class Hyperparams(NamedTuple):
    learning_rate: jax.Array
    ema_decay: jax.Array


class Toy(NamedTuple):
    """The algorithm; see `algorithm.Algorithm`."""

    shape: tuple
    classes: int

    name, moves, monitors = 'toy', 'of all four', None
    players = ('g_ab', 'g_ba', 'd_a', 'd_b')
    sources, draws = {'a': 'a', 'b': 'a'}, 1
    num_classes = latent_size = num_styles = 0
    latent, weight_names = '', ('ema', 'raw')
    encodes = searchable = False
    summary = tuple((name, name, 'linear') for name in players)

    def modules(self):
        to_image = Linear(int(np.prod(self.shape)))
        return {'g_ab': to_image, 'g_ba': to_image, 'd_a': Linear(1),
                'd_b': Linear(1, self.classes)}

    def init(self, key, shapes, hyperparams):
        labels = {'d_b': jnp.zeros(2, jnp.int32)}
        players = {
            name: algorithm.init_player(
                module, TX, jax.random.fold_in(key, place), algorithm.Inputs(
                    jnp.zeros((2, *self.shape)), labels.get(name)
                ),
            ) for place, (name, module) in enumerate(self.modules().items())
        }
        averages = {
            n: algorithm.copy_weights(players[n]) for n in self.players[:2]
        }
        return algorithm.initial_state(
            players, averages, {'mean_b': jnp.float32(0)}
        )

    def train_step(self, hyperparams, state, batch, key, number=0, *,
                   variant=algorithm.Variant(),
                   collectives=algorithm.SINGLE_DEVICE, loop=None):
        images = {name: algorithm.to_unit_range(source.images[0])
                  for name, source in batch.sources.items()}
        labels, modules = batch.sources['b'].labels[0], self.modules()

        def apply(name, params, images, labels=None):
            return modules[name].apply({'params': params}, images, train=True,
                                       labels=labels)

        def losses(params):
            fake_b = apply('g_ab', params['g_ab'], images['a'])
            fake_a = apply('g_ba', params['g_ba'], images['b'])
            back = apply('g_ba', params['g_ba'], fake_b)
            fixed, loss = jax.lax.stop_gradient(params), {}
            loss['g'] = (
                jnp.square(apply('d_b', fixed['d_b'], fake_b, labels) - 1)
                + jnp.square(apply('d_a', fixed['d_a'], fake_a) - 1)
                + CYCLE * jnp.abs(back - images['a'].reshape(back.shape))
                .mean(1, keepdims=True)
            ).mean()
            for name, real, fake, condition in (
                    ('d_a', images['a'], fake_a, None),
                    ('d_b', images['b'], fake_b, labels)):
                fake = jax.lax.stop_gradient(fake)
                loss[name] = (
                    jnp.square(apply(name, params[name], real, condition) - 1)
                    + jnp.square(apply(name, params[name], fake, condition))
                ).mean()
            return sum(loss.values()), loss

        params = {k: player.params for k, player in state.players.items()}
        grads, loss = collectives.mean(jax.grad(losses, has_aux=True)(params))
        metrics = {f'{name}/loss': value for name, value in loss.items()}
        players = {
            k: updates.apply_updates(
                player, TX, grads[k], hyperparams.learning_rate, player.stats
            )
            for k, player in state.players.items()
        }
        mean = collectives.mean(images['b'].mean())
        new = state.replace(
            step=state.step + 1, position=state.position + 1, players=players,
            memory={'mean_b': 0.9 * state.memory['mean_b'] + 0.1 * mean},
        )
        new = algorithm.update_averages(
            new, self.players[:2], hyperparams.ema_decay
        )
        if variant.part == algorithm.TRACE:
            return nan_trace.trace(state, batch, collectives, lambda note: new)
        return algorithm.keep_if_finite(state, new, metrics)

    def plan(self, step, fast_control_flow, read):
        yield algorithm.Call(algorithm.Variant(), 1)

    def is_single_call(self, step, fast_control_flow):
        return True

    def cadences(self):
        return ()

    def inputs(self, seeds, labels=None, **options):
        return algorithm.Inputs(np.stack([
            np.random.RandomState(seed).uniform(-1, 1, self.shape)
            for seed in seeds
        ]).astype(np.float32))

    def weights(self, state, name):
        if name == 'ema':
            return state.averages['g_ab']
        return algorithm.weights_of(state.players['g_ab'])

    def collections(self, weights):
        return algorithm.collections(weights)

    def apply(self, weights, inputs):
        outputs = algorithm.evaluate(self.modules()['g_ab'], weights, inputs)
        return outputs.reshape(-1, *self.shape)

    def pictures(self, state, examples, apply):
        images = np.float32(examples['a']) / 127.5 - 1
        outputs = apply(
            self, self.weights(state, 'ema'), algorithm.Inputs(images)
        )
        return {'': algorithm.Picture(outputs)}


builders.ALGORITHMS['toy'] = builders.Entry(
    Toy.sources,
    lambda config, specs, memory: Toy(specs['a'].shape, specs['b'].num_classes),
    lambda config: Hyperparams(
        jnp.float32(config.g_optimizer.learning_rate),
        jnp.float32(config.ema_decay),
    ),
)


def config_of(folder, num_steps=40):
    """Write both sources to a folder; return the config that trains on them."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (48, 4, 4, 1)).astype(np.uint8)
    np.save(folder / 'a.npy', images)
    np.savez(folder / 'b.npz', images=255 - images, labels=np.arange(48) % 3)
    config = defaults.default_config()
    config.algorithm, config.num_steps, config.batch_size = 'toy', num_steps, 8
    config.data = defaults.grouped_data('a', 'b')
    config.data.a.path = str(folder / 'a.npy')
    config.data.b.path = str(folder / 'b.npz')
    config.log_every, config.checkpoint_every, config.sample_every = 5, 4, 20
    config.g_optimizer.learning_rate = 1e-2
    return config


if __name__ == '__main__':
    FOLDER = pathlib.Path(sys.argv[1])
    train.train(config_of(FOLDER, *map(int, sys.argv[2:])), FOLDER / 'run')
