"""VAE-GAN, KL autoencoder, VQ-GAN and adversarial autoencoder.

An encoder, a decoder and a discriminator. The discriminator D judges images,
or in the adversarial autoencoder codes. Until the step `start` there is no
adversarial loss, and D does not move; an error of its layers is there from step
0. `autoencoder_updates` has the updates of a step. Pure.
"""

import functools
from typing import Any, Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import autoencoder_updates
from gan_jax.algorithms import codebook
from gan_jax.algorithms import codes as codes_lib
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import latents
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms.game import D
from gan_jax.algorithms.reconstruction import DECODER, ENCODER, REAL
from gan_jax.core import errors
from gan_jax.core import options as options_lib
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.objectives import reconstructions

NUM_PATHS, PATH_STEPS = 8, 10  # of the picture of interpolations
BARS = 64, 256  # height and least width of the picture of the codes' use


class Kind(NamedTuple):
    """The parts that make one of the algorithms.

    Attributes:
        code: what a code is: 'plain', the encoder's output; 'gaussian', a
            sample of N(m, s^2), of which the outputs are m and log s^2; or
            'codebook', the nearest vectors of a codebook.
        judges: what D judges: 'images' or 'codes'.
        prior: whether D judges decoded samples of the prior too.
        adaptive: whether G's loss can have an adaptive weight.
        latents: allowed distributions of z.
    """

    code: str
    judges: str = 'images'
    prior: bool = False
    adaptive: bool = False
    latents: Tuple = ('gaussian', 'fitted')


KINDS = {
    'aae': Kind('plain', 'codes', latents=('gaussian', 'sphere', 'uniform')),
    'kl_autoencoder': Kind('gaussian', adaptive=True),
    'vae_gan': Kind('gaussian', prior=True),
    'vq_gan': Kind('codebook', adaptive=True, latents=('fitted',)),
}
# Penalties that are computed from the inputs and outputs of one D.
PENALTIES = (
    'd_historical_averaging', 'd_orthogonal', 'dragan', 'drift',
    'gradient_penalty', 'gradient_penalty_one_sided', 'lecam', 'r1', 'r2',
    'zero_centered',
)
# Config keys that have no effect.
UNUSED_KEYS = (
    'anneal.', 'augment.', 'clip_weights', 'd_steps', 'discriminator.condition',
    'ema_ramp', 'fresh_reals', 'g_steps', 'generator.condition', 'history.',
    'instance_noise.', 'joint_batch', 'labels.', 'num_microbatches', 'packing',
    'population', 'reuse_fakes', 'schedule.name', 'snapshots.',
)

_Option = options_lib.Option
_COMMON = (
    _Option('error', 'l2', 'one of reconstructions.RECONSTRUCTIONS',
            reconstructions.RECONSTRUCTIONS),
    *reconstructions.OPTIONS['huber'],
    _Option('adversarial', 1.0,
            "weight of the adversarial loss, or factor of its adaptive weight",
            options_lib.POSITIVE),
    _Option('start', 0, 'step at which D begins to judge and to learn',
            options_lib.STEPS._replace(words='a number of steps')),
)
_JUDGED = (
    *_COMMON,
    _Option('pixels', 1.0, 'weight of the error of pixels',
            options_lib.NOT_NEGATIVE),
    _Option('features', 0.0,
            "weight of the error of the outputs of D's layers; 0 is off",
            options_lib.NOT_NEGATIVE),
)
_ADAPTIVE = _Option(
    'adaptive', True, 'the weight of the adversarial loss is the ratio of '
    "gradients at the decoder's last layer", options_lib.ANY,
)
_KL = _Option(
    'kl', 1e-6, 'weight of the KL divergence, beside the summed error of an '
    'image', options_lib.NOT_NEGATIVE,
)
# Config options of each kind, beside its name.
OPTIONS = {
    'aae': _COMMON,
    'kl_autoencoder': (*_JUDGED, _ADAPTIVE, _KL),
    'vae_gan': (*_JUDGED, _KL, _Option(
        'decoder_error', 1.0, "weight of the error in the decoder's loss alone",
        options_lib.NOT_NEGATIVE,
    )),
    'vq_gan': (
        *_JUDGED, _ADAPTIVE,
        _Option('num_codes', 256, 'number of vectors of the codebook',
                options_lib.count(least=2, most=2**16)),
        _Option('codebook', 'ema', 'how its vectors move', codebook.UPDATES),
        _Option('codebook_decay', 0.99, 'decay of their moving averages',
                options_lib.BELOW_1),
        _Option('commitment', 0.25, "weight of the outputs' distance to their "
                'vectors', options_lib.NOT_NEGATIVE),
        _Option('restart', 0.1, 'share of the mean use below which a vector '
                'starts again from an output; 0 is off', options_lib.BELOW_1),
    ),
}


class Hyperparams(NamedTuple):
    """Hyper-parameters that can change without recompilation: float32 scalars.

    Attributes:
        g_learning_rate: of encoder and decoder.
        d_learning_rate: of D.
        ema_decay: decay of the averages of encoder and decoder after the
            warm-up.
        loss_options, penalty_weights: as in `game.Hyperparams`.
        huber_delta: see `reconstructions.huber`.
        others: the options of `OPTIONS` of these names.
    """

    g_learning_rate: Any
    d_learning_rate: Any
    ema_decay: Any
    loss_options: Any = None
    penalty_weights: Any = None
    huber_delta: Any = 0.1
    adversarial: Any = 1.0
    pixels: Any = 1.0
    features: Any = 0.0
    kl: Any = 1e-6
    decoder_error: Any = 1.0
    commitment: Any = 0.25
    codebook_decay: Any = 0.99
    restart: Any = 0.1


class AdversarialAutoencoder(NamedTuple):
    """An encoder, a decoder and a discriminator; static.

    Attributes:
        kind: one of `KINDS`.
        generator: the decoder, module (codes, train) -> samples.
        encoder: module (images, train) -> outputs of the shape of a code, with
            twice the channels if codes are Gaussian; with a codebook an
            `encoders.WithCodebook`.
        discriminator: module (images, or codes [B, D]; train) ->
            `layers.Output`.
        g_tx, d_tx: optax transforms without a learning rate, of encoder and
            decoder, and of D.
        loss: `losses.Loss`.
        code_shape: of a code, (D,) or (h, w, c).
        last_kernel: path of the decoder's last kernel, see
            `layers.last_kernel`; for the adaptive weight.
        latent: distribution of z when sampling, one of `latents.LATENTS`.
        reconstruction: one of `reconstructions.RECONSTRUCTIONS`.
        start: step at which D begins to judge and to learn.
        adaptive: whether the weight of G's loss is adaptive.
        features: whether the error of D's features is minimised.
        num_codes: size of the codebook; 0 without one.
        learned_codebook: whether its vectors move by their gradient.
        penalties, lazy, frozen, g_schedule, d_schedule, flip, dequantize,
            g_name, d_name: as in `adversarial.Adversarial`; g_ is encoder and
            decoder.
    """

    kind: str
    generator: nn.Module
    encoder: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    code_shape: Tuple
    last_kernel: Tuple = ()
    latent: str = 'gaussian'
    reconstruction: str = 'l2'
    start: int = 0
    adaptive: bool = False
    features: bool = False
    num_codes: int = 0
    learned_codebook: bool = False
    penalties: Tuple[str, ...] = ()
    lazy: Tuple[Tuple[str, int], ...] = ()
    frozen: Tuple = ()
    g_schedule: Optional[Callable] = None
    d_schedule: Optional[Callable] = None
    flip: bool = False
    dequantize: bool = False
    g_name: str = ''
    d_name: str = ''

    players = (DECODER, D, ENCODER)
    sources = {REAL: REAL}
    draws = 1
    num_microbatches = 1
    num_classes = num_styles = 0
    weight_names = ('ema', 'raw')
    encodes = True
    code_weights = 'ema'  # of `encode` and `decode`
    monitors = None

    @property
    def name(self):
        """Return the kind."""
        return self.kind

    @property
    def parts(self):
        """Return the `Kind`."""
        return KINDS[self.kind]

    @property
    def positions(self):
        """Return the number of vectors of a code."""
        return int(np.prod(self.code_shape[:-1]))

    @property
    def code_size(self):
        """Return the number of values of a code."""
        return self.positions * self.code_shape[-1]

    @property
    def latent_size(self):
        """Return the length of z: a value for each position of a codebook."""
        return self.positions if self.num_codes else self.code_size

    @property
    def searchable(self):
        """Return whether z can be optimised; codes of a codebook jump."""
        return not self.num_codes

    @property
    def summary(self):
        """Return labels, players and names of the networks."""
        return (
            ('G', DECODER, self.g_name), ('Encoder', ENCODER, self.g_name),
            ('D', D, self.d_name),
        )

    @property
    def moves(self):
        """Describe the updates in one step."""
        begins = f', D from step {self.start:,} on' if self.start else ''
        return f'of all three networks ({self.kind}){begins}'

    def init(self, key, shapes, hyperparams):
        """Return the state at step 0."""
        del hyperparams
        keys = jax.random.split(key, 3)
        images = jnp.zeros((2, *shapes[REAL]))
        codes = jnp.zeros((2, *self.code_shape))
        judged = images if self.parts.judges == 'images' else (
            autoencoder_updates.flatten(codes)
        )
        players = {
            name: algorithm.init_player(
                module, tx, key, algorithm.Inputs(inputs)
            ) for name, module, tx, key, inputs in (
                (DECODER, self.generator, self.g_tx, keys[0], codes),
                (ENCODER, self.encoder, self.g_tx, keys[1], images),
                (D, self.discriminator, self.d_tx, keys[2], judged),
            )
        }
        memory = {
            name: penalties.PENALTIES[name].init(players[D].params)
            for name in self.penalties
            if penalties.PENALTIES[name].init is not None
        }
        if self.lazy:
            memory['latest'] = {name: jnp.float32(0) for name, _ in self.lazy}
        if self.num_codes:
            memory['codebook'] = codebook.init(
                self.positions, self.num_codes, self.code_shape[-1]
            )
        else:
            memory['codes'] = codes_lib.init(
                self.code_size, self.code_shape[-1]
            )
        return algorithm.initial_state(players, {
            name: algorithm.copy_weights(players[name])
            for name in (DECODER, ENCODER)
        }, memory)

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=algorithm.Variant(), collectives=algorithm.SINGLE_DEVICE,
        loop=None,
    ):
        """Update encoder and decoder once, then D."""
        del number
        ctx = discriminator_inputs.UpdateContext(
            self, hyperparams, state,
            jax.random.fold_in(jax.random.fold_in(key, state.step), 0),
            collectives, loop or discriminator_inputs.unrolled_scan,
            due=variant.due,
        )
        images = batch.sources[REAL].images[0]
        notes = []
        new, metrics = autoencoder_updates.update(
            ctx, images, batch.sample_index,
            note=lambda *values: notes.append(values),
        )
        if variant.part == algorithm.TRACE:

            def play(note):
                for values in notes:
                    note(*values)
                return new

            return nan_trace.trace(state, batch, collectives, play)
        new = new.replace(
            step=state.step + 1, position=state.position + self.draws
        )
        return algorithm.keep_if_finite(state, new, metrics)

    def plan(self, step, fast_control_flow, read):
        """Yield the single call of a step; `due` says whether D waits."""
        del read
        due = None if fast_control_flow else frozenset(
            name for name, every in self.lazy if step % every == 0
        )
        if step < self.start:
            due = frozenset({autoencoder_updates.WAITS})
        yield algorithm.Call(
            algorithm.Variant(algorithm.STEP, due), self.draws
        )

    def is_single_call(self, step, fast_control_flow):
        """Return whether a call can have this step and the one before it."""
        return step != self.start and (fast_control_flow or not self.lazy)

    def cadences(self):
        """Return no periods: the plan differs at one step only."""
        return ()

    def inputs(self, seeds, labels=None, **options):
        """Return the z of each seed.

        Raises:
            errors.ConfigError: for a truncation with a codebook, whose codes
                have no order.
        """
        if self.num_codes and options.get('truncation') is not None:
            raise errors.ConfigError(
                f'truncation={options["truncation"]} is not supported: '
                f'algorithm={self.name!r} draws the codes of a codebook, which '
                'have no order'
            )
        return latents.inputs(self, seeds, labels, **options)

    def weights(self, state, name):
        """Return the decoder's `algorithm.Weights` and the map of z to codes.

        The map is that of `codes.fit`, or None if z is itself a code; with a
        codebook, the use of its codes at each position and its vectors.
        """
        decoder = latents.weights(state, DECODER, name)
        if self.num_codes:
            vectors = latents.weights(state, ENCODER, name).params['codebook']
            return decoder, (state.memory['codebook']['use'], vectors)
        fitted = None
        if self.latent == 'fitted':
            fitted = codes_lib.fit(state.memory['codes'])
        return decoder, fitted

    def codes(self, weights, z):
        """Return the codes [B, code_size] of z [B, latent_size]."""
        if self.num_codes:
            use, vectors = weights[1]
            return autoencoder_updates.flatten(vectors[codebook.sample(use, z)])
        return codes_lib.transform(weights[1], z)

    def apply(self, weights, inputs):
        """Return the samples of z, decoded with the running statistics."""
        return self._evaluate(
            weights[0], self.codes(weights, inputs.main), inputs
        )

    def standing_statistics(self, weights, inputs, number):
        """Return weights with the decoder's mean statistics over batches."""
        codes = self._shaped(self.codes(weights, inputs.main))
        decoder = algorithm.standing_statistics(
            self.generator, weights[0], inputs._replace(main=codes), number
        )
        return decoder and (decoder, *weights[1:])

    def collections(self, weights):
        """Return the parameters and statistics of the decoder."""
        return algorithm.collections(weights[0])

    def encode(self, state, images):
        """Return the codes [B, code_size] of images or points.

        Those of Gaussians are the means, those of a codebook its vectors. The
        encoder is the moving average.
        """
        encoder = state.averages[ENCODER]
        outputs = self._outputs(encoder, images)
        if self.num_codes:
            outputs = _quantised(encoder, outputs)
        return autoencoder_updates.flatten(outputs[..., :self.code_shape[-1]])

    def indices(self, state, images):
        """Return the numbers [B, h, w] of the codes of a codebook."""
        encoder = state.averages[ENCODER]
        return codebook.nearest(
            self._outputs(encoder, images), encoder.params['codebook']
        )

    def _outputs(self, encoder, images):
        return algorithm.evaluate(
            self.encoder, encoder,
            algorithm.Inputs(algorithm.to_unit_range(images)),
        )

    def decode(self, state, codes):
        """Return the samples of codes, by the moving average of the decoder."""
        return self._evaluate(state.averages[DECODER], codes)

    def pictures(self, state, examples, apply):
        """Return grids of samples, reconstructions and interpolations.

        Interpolations lead from one image to another, through codes on the
        line between theirs; those of a codebook are replaced by its vectors.
        """
        inputs = self.inputs(range(len(examples[REAL])))
        grids = {'': algorithm.Picture(
            apply(self, self.weights(state, 'ema'), inputs)
        )}
        images = examples.get('held_out', examples[REAL])
        if images.ndim > 2:
            grids['reconstructed'] = reconstruction.reconstruction_grid(
                self, state, images
            )
            grids['interpolated'] = algorithm.Picture(
                np.asarray(_interpolate(self, state, images[:2 * NUM_PATHS])),
                PATH_STEPS,
            )
        if self.num_codes:
            grids['codes'] = usage_picture(state.memory['codebook']['use'])
        return grids

    def _shaped(self, codes):
        return codes.reshape(codes.shape[0], *self.code_shape)

    def _evaluate(self, weights, codes, inputs=algorithm.Inputs(None)):
        return algorithm.evaluate(
            self.generator, weights, inputs._replace(main=self._shaped(codes))
        )


def _quantised(encoder, outputs):
    """Replace outputs [..., c] of an encoder by its nearest vectors."""
    vectors = encoder.params['codebook']
    return vectors[codebook.nearest(outputs, vectors)]


@functools.partial(jax.jit, static_argnums=0)
def _interpolate(this, state, images):
    """Return the images [N / 2 * PATH_STEPS, ...] between pairs of images."""
    codes = this.encode(state, images)
    shares = jnp.linspace(0, 1, PATH_STEPS)[:, None]
    count = len(codes) // 2
    paths = jax.vmap(
        lambda first, last: (1 - shares) * first + shares * last
    )(codes[:count], codes[count:2 * count]).reshape(-1, codes.shape[1])
    if this.num_codes:
        paths = autoencoder_updates.flatten(
            _quantised(state.averages[ENCODER], this._shaped(paths))
        )
    return this.decode(state, paths)


def usage_picture(use):
    """Draw the share of each code of a codebook, the most used one first.

    Args:
        use: [positions, K].

    Returns:
        `algorithm.Picture` of one image, with a bar for each code. The gray
        line is at 1 / K, a quarter of the height.
    """
    shares = np.sort(np.asarray(use).mean(0))[::-1]
    height, width = BARS
    shares = np.repeat(shares, -(-width // len(shares)))
    bars = np.minimum(shares * use.shape[1] * height / 4, height)
    rows = np.arange(height, 0, -1)[:, None]
    picture = np.where(rows <= bars, 1.0, -1.0).astype(np.float32)
    line = height - height // 4
    picture[line] = np.where(picture[line] > 0, 1.0, 0.0)
    return algorithm.Picture(picture[None, ..., None], 1)
