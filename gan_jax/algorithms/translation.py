"""CycleGAN and pix2pix: the translation of images of one domain to another.

The domains are the data sources a and b. CycleGAN has a generator and a
discriminator for each direction and learns from images that are not pairs;
pix2pix has one of each and learns from pairs. `translation_updates` has the
updates of a step. Pure.
"""

from typing import Any, Callable, NamedTuple, Optional, Tuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import history
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import translation_updates
from gan_jax.algorithms.translation_updates import (
    A, B, DIRECTIONS, DOMAINS, back, players_of,
)
from gan_jax.core import errors
from gan_jax.objectives import losses

KINDS = {'cyclegan': ('a_to_b', 'b_to_a'), 'pix2pix': ('a_to_b',)}
SOURCES = {'cyclegan': {A: A, B: B}, 'pix2pix': {A: A, B: A}}
NUM_SHOWN = 10  # rows of a picture

# Penalties that are computed from images and outputs of one discriminator
# alone, and keep no memory.
PENALTIES = (
    'd_orthogonal', 'dragan', 'drift', 'feature_matching', 'g_orthogonal',
    'gradient_penalty', 'gradient_penalty_one_sided', 'r1', 'r2',
    'zero_centered',
)
# Config keys that have no effect: there is no z, and each step updates every
# network once.
UNUSED_KEYS = (
    'anneal.', 'augment.', 'clip_weights', 'd_steps', 'data.dequantize',
    'discriminator.condition', 'ema_ramp', 'eval_', 'fresh_reals', 'g_steps',
    'generator.condition', 'instance_noise.std', 'joint_batch', 'labels.',
    'latent', 'packing', 'population', 'reconstruction.', 'reuse_fakes',
    'schedule.name', 'snapshots.',
)


class Hyperparams(NamedTuple):
    """Hyper-parameters that can change without recompilation: float32 scalars.

    Attributes:
        g_learning_rate, d_learning_rate: of generators and discriminators.
        ema_decay: decay of the generators' averages after the warm-up.
        cycle, identity, l1: weights of the errors, see `translation_updates`.
        loss_options, penalty_weights, history_share: as in `game.Hyperparams`.
    """

    g_learning_rate: Any
    d_learning_rate: Any
    ema_decay: Any
    cycle: Any = 10.0
    identity: Any = 5.0
    l1: Any = 100.0
    loss_options: Any = None
    penalty_weights: Any = None
    history_share: Any = 0.5


class Translation(NamedTuple):
    """Generators from images to images and their discriminators; static.

    Attributes:
        kind: one of `KINDS`.
        generators: module (images, train, keys) -> images, for each direction.
        discriminators: module (images, train, condition) -> `layers.Output`,
            for the target of each direction. The condition of pix2pix is the
            image that is translated.
        g_tx, d_tx: optax transforms, without a learning rate.
        shapes: (height, width, channels) of the images of a and of b, as the
            networks are trained on them. Larger ones are cropped at random.
        loss: `losses.Loss`.
        penalties: names of `PENALTIES`.
        identity: whether an image of the target is to stay as it is.
        history: number of past fakes kept for each discriminator; 0 is none.
        flip: domains whose images are mirrored with probability 1/2.
        own_statistics: whether a batch norm was trained on single images, whose
            statistics it needs.
        num_microbatches, g_schedule, d_schedule, frozen: as in
            `adversarial.Adversarial`.
        g_name, d_name: names of the networks, for display.
    """

    kind: str
    generators: Tuple
    discriminators: Tuple
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    shapes: Tuple
    loss: losses.Loss
    penalties: Tuple = ()
    identity: bool = False
    history: int = 0
    flip: Tuple = ()
    own_statistics: bool = False
    num_microbatches: int = 1
    g_schedule: Optional[Callable] = None
    d_schedule: Optional[Callable] = None
    frozen: Tuple = ()
    g_name: str = ''
    d_name: str = ''

    draws = 1
    lazy = ()
    num_classes = latent_size = num_styles = 0
    latent = ''
    weight_names = ('ema', 'raw')
    encodes = searchable = False
    monitors = None

    @property
    def name(self):
        """Return the kind."""
        return self.kind

    @property
    def directions(self):
        """Return the names of the directions."""
        return KINDS[self.kind]

    @property
    def paired(self):
        """Return whether it learns from pairs."""
        return self.kind == 'pix2pix'

    @property
    def sources(self):
        """Return the sources and their partners."""
        return SOURCES[self.kind]

    @property
    def players(self):
        """Return the names of the networks."""
        return tuple(
            name for direction in self.directions
            for name in players_of(direction)
        )

    @property
    def channels(self):
        """Return the channels of images of a and of b."""
        return tuple(shape[-1] for shape in self.shapes)

    @property
    def summary(self):
        """Return labels, players and names of the networks."""
        return tuple(
            (label, player, name) for direction in self.directions
            for label, player, name in zip(
                ('G', 'D'), players_of(direction),
                (f'{self.g_name} {direction}',
                 f'{self.d_name} of {DIRECTIONS[direction][1]}'),
            )
        )

    @property
    def moves(self):
        """Describe the updates in one step."""
        return f'of all {len(self.players)} networks ({self.kind})'

    @property
    def side_multiple(self):
        """Return the number that sides of images must be multiples of."""
        return self.generators[0].side_multiple

    @property
    def smallest_side(self):
        """Return the smallest side of images."""
        return self.generators[0].smallest_side

    def init(self, key, shapes, hyperparams):
        """Return the state at step 0; `shapes` are those of this algorithm."""
        del shapes, hyperparams
        players, averages, memory = {}, {}, {}
        for place, direction in enumerate(self.directions):
            source, target = (
                jnp.zeros((2, *self._shape(domain)))
                for domain in DIRECTIONS[direction]
            )
            g_key, d_key = jax.random.split(jax.random.fold_in(key, place))
            generator, discriminator = players_of(direction)
            players[generator] = algorithm.init_player(
                self.generators[place], self.g_tx, g_key,
                algorithm.Inputs(source),
            )
            players[discriminator] = algorithm.init_player(
                self.discriminators[place], self.d_tx, d_key, algorithm.Inputs(
                    target, condition=source if self.paired else None
                ),
            )
            averages[generator] = algorithm.copy_weights(players[generator])
            if self.history:
                memory[discriminator] = history.init(
                    self.history, target.shape[1:]
                )
        return algorithm.initial_state(players, averages, memory)

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=algorithm.Variant(), collectives=algorithm.SINGLE_DEVICE,
        loop=None,
    ):
        """Update all networks once."""
        del number
        ctx = discriminator_inputs.UpdateContext(
            self, hyperparams, state,
            jax.random.fold_in(jax.random.fold_in(key, state.step), 0),
            collectives, loop or discriminator_inputs.unrolled_scan,
        )
        images = {
            name: source.images[0] for name, source in batch.sources.items()
        }
        new, metrics = translation_updates.update(
            ctx, images, batch.sample_index
        )
        if variant.part == algorithm.TRACE:

            def play(note):
                note(players_of(self.directions[0])[0], 0, new, metrics)
                return new

            return nan_trace.trace(state, batch, collectives, play)
        new = new.replace(
            step=state.step + 1, position=state.position + self.draws
        )
        return algorithm.keep_if_finite(state, new, metrics)

    def plan(self, step, fast_control_flow, read):
        """Yield the single call of a step."""
        del step, fast_control_flow, read
        yield algorithm.Call(algorithm.Variant(), self.draws)

    def is_single_call(self, step, fast_control_flow):
        """Return True: every step is a single call."""
        del step, fast_control_flow
        return True

    def cadences(self):
        """Return no periods: the plan is the same at every step."""
        return ()

    def inputs(self, seeds, labels=None, **options):
        """Raise an error: images are not made from seeds."""
        del seeds, labels, options
        raise errors.ConfigError(
            f'algorithm={self.name!r} has no latents: it translates images to '
            'images; use python -m gan_jax translate'
        )

    def weights(self, state, name):
        """Return the `algorithm.Weights` of the generator of each direction."""
        networks = {
            direction: players_of(direction)[0] for direction in self.directions
        }
        if name == 'ema':
            return {
                direction: state.averages[network]
                for direction, network in networks.items()
            }
        return {
            direction: algorithm.weights_of(state.players[network])
            for direction, network in networks.items()
        }

    def translate(self, weights, images, direction, keys=None):
        """Translate images; pure.

        A network with dropout, the noise of pix2pix, keeps it. A batch norm has
        its running statistics and no dropout, unless it was trained on single
        images: then it has those of each image.

        Args:
            weights: as of `weights`.
            images: [B, H, W, C] float32 in [-1, 1], of any size that the
                network takes.
            direction: one of `directions`.
            keys: [B] PRNG keys of dropout; by default those of seeds 0 to
                B - 1.

        Returns:
            [B, H, W, C'] float32 in [-1, 1].
        """
        module = self.generators[self.directions.index(direction)]
        own = weights[direction]
        noisy = algorithm.takes_keys(module)
        if noisy and keys is None:
            keys = jax.vmap(jax.random.key)(jnp.arange(len(images)))
        if algorithm.BATCH_STATS not in own.stats and noisy:
            return algorithm.forward(
                module, own, algorithm.Inputs(images, keys=keys)
            )[0]
        if not self.own_statistics:
            return algorithm.evaluate(module, own, algorithm.Inputs(images))

        def one(image, key):
            inputs = algorithm.Inputs(
                image[None], keys=None if key is None else key[None]
            )
            return algorithm.forward(module, own, inputs)[0][0]

        return jax.vmap(one)(images, keys if noisy else None)

    def apply(self, weights, inputs):
        """Return translations from a to b."""
        return self.translate(
            weights, inputs.main, self.directions[0], inputs.keys
        )

    def standing_statistics(self, weights, inputs, number):
        """Return None: there are no random batches to average over."""
        del weights, inputs, number

    def collections(self, weights):
        """Return the parameters and statistics of each generator."""
        return {
            f'{direction}/{name}': value for direction, own in weights.items()
            for name, value in algorithm.collections(own).items()
        }

    def pictures(self, state, examples, apply):
        """Return rows of images, translations, and cycles or true images.

        CycleGAN: a, its translation, that translated back; then the same of b.
        pix2pix: a, its translation, b.
        """
        del apply
        weights = self.weights(state, 'ema')
        images = {
            name: self._fit(algorithm.to_unit_range(
                jnp.asarray(examples[name][:NUM_SHOWN])
            ), name) for name in DOMAINS
        }
        columns = []
        for direction in self.directions:
            source, target = DIRECTIONS[direction]
            fakes = _translate(self, weights, images[source], direction)
            columns += [images[source], fakes]
            columns.append(images[target] if self.paired else _translate(
                self, weights, fakes, back(direction)
            ))
        count = min(map(len, columns))
        channels = max(self.channels)
        rows = np.stack([
            with_channels(np.asarray(column[:count]), channels)
            for column in columns
        ], axis=1)
        return {'': algorithm.Picture(
            rows.reshape(-1, *rows.shape[2:]), len(columns)
        )}

    def _shape(self, domain):
        return self.shapes[DOMAINS.index(domain)]

    def _fit(self, images, domain):
        """Return the centre of images, of the size in training."""
        height, width, _ = self._shape(domain)
        y, x = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
        return images[:, y:y + height, x:x + width]


_translate = jax.jit(Translation.translate, static_argnums=(0, 3))


def with_channels(images, channels):
    """Repeat gray images, and make added alpha opaque, to show images together.

    Args:
        images: [B, H, W, C] in [-1, 1], at most `channels` channels.
        channels: 1, 3 or 4.

    Returns:
        [B, H, W, channels].
    """
    if images.shape[-1] == 1 and channels > 1:
        images = np.repeat(images, 3, -1)
    if images.shape[-1] == 3 and channels == 4:
        images = np.concatenate([images, np.ones_like(images[..., :1])], -1)
    return images
