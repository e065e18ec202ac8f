"""VAE-GAN, KL autoencoder, VQ-GAN and adversarial autoencoder.

An encoder, a decoder and a discriminator. The discriminator D judges images,
or in the adversarial autoencoder codes. Each step has one update of encoder and
decoder and then one of D, whose gradients are those at the state before the
step. Until the step `start` D neither acts nor moves. Pure.
"""

import functools
from typing import Any, Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import codebook
from gan_jax.algorithms import codes as codes_lib
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import freezing
from gan_jax.algorithms import latents
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import updates
from gan_jax.algorithms.game import D
from gan_jax.algorithms.reconstruction import DECODER, ENCODER, REAL
from gan_jax.core import options as options_lib
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.objectives import reconstructions
from gan_jax.ops import averaging

WAITS = 'discriminator waits'  # in `Variant.due`: the step is before the start
LOG_VARIANCES = -30.0, 20.0  # least and largest
MOST_WEIGHT, LEAST_NORM = 1e4, 1e-4  # of the adaptive weight
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
    _Option('start', 0, 'step at which D begins to act and to learn',
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
        start: step at which D begins.
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
        judged = images if self.parts.judges == 'images' else _flat(codes)
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
        new, metrics = update(
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
            due = frozenset({WAITS})
        yield algorithm.Call(
            algorithm.Variant(algorithm.STEP, due), self.draws
        )

    def is_single_call(self, step, fast_control_flow):
        """Return whether the program of the step before can go on."""
        return step != self.start and (fast_control_flow or not self.lazy)

    def cadences(self):
        """Return no periods: the plan differs at one step only."""
        return ()

    def inputs(self, seeds, labels=None, **options):
        """Return the z of each seed."""
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
            return _flat(vectors[codebook.sample(use, z)])
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
        return self.encode_with(state.averages[ENCODER], images)

    def encode_with(self, encoder, images):
        """Return the codes [B, code_size] by the `Weights` of an encoder."""
        outputs = self._outputs(encoder, images)
        if self.num_codes:
            vectors = encoder.params['codebook']
            outputs = vectors[codebook.nearest(outputs, vectors)]
        return _flat(outputs[..., :self.code_shape[-1]])

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

    def decode_with(self, decoder, codes):
        """Return the samples of codes by the `Weights` of a decoder."""
        return self._evaluate(decoder, codes)

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


def _flat(codes):
    """Reshape codes to [B, D]."""
    return codes.reshape(codes.shape[0], -1)


@functools.partial(jax.jit, static_argnums=0)
def _interpolate(this, state, images):
    """Return the images [N / 2 * PATH_STEPS, ...] between pairs of images."""
    encoder = state.averages[ENCODER]
    codes = this.encode_with(encoder, images)
    shares = jnp.linspace(0, 1, PATH_STEPS)[:, None]
    count = len(codes) // 2
    paths = jax.vmap(
        lambda first, last: (1 - shares) * first + shares * last
    )(codes[:count], codes[count:2 * count]).reshape(-1, codes.shape[1])
    if this.num_codes:
        vectors = encoder.params['codebook']
        rows = this._shaped(paths)
        paths = _flat(vectors[codebook.nearest(rows, vectors)])
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
    shares = np.repeat(shares, max(1, width // len(shares)))
    bars = np.minimum(shares * use.shape[1] * height / 4, height)
    rows = np.arange(height, 0, -1)[:, None]
    picture = np.where(rows <= bars, 1.0, -1.0).astype(np.float32)
    line = height - height // 4
    picture[line] = np.where(picture[line] > 0, 1.0, 0.0)
    return algorithm.Picture(picture[None, ..., None], 1)


def waits(ctx):
    """Return whether the step is before D's start."""
    return WAITS in (ctx.due or ())


def update(ctx, images, sample_index, note=lambda *values: None):
    """Update encoder and decoder once, and D unless it waits.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] uint8, or points [b, D].
        sample_index: [b] int32.
        note: as of `nan_trace.trace`.

    Returns:
        (`algorithm.TrainState`, metrics).
    """
    real = discriminator_inputs.real_images(ctx, images, sample_index)
    state, metrics, fakes = autoencoder_update(ctx, real, sample_index)
    note(DECODER, 0, state, metrics)
    note(ENCODER, 0, state, {})
    if waits(ctx):
        return state, metrics
    if ctx.gan.parts.judges == 'codes':
        real = discriminator_inputs.draw_latents(ctx, sample_index)
    state, d_metrics = discriminator_update(
        ctx._replace(state=state), real, fakes, sample_index
    )
    note(D, 0, state, d_metrics)
    return state, {**metrics, **d_metrics}


def autoencoder_update(ctx, real, sample_index):
    """Update encoder and decoder once; D stays.

    With e = pixels |x - y| + features |F(x) - F(y)|, y the reconstruction of x,
    F the layers of D, A the adversarial loss and w its weight:

        kl_autoencoder  both:    e + w A(y) + kl KL / size
        vq_gan          both:    e + w A(y) + commitment |z - e_k|^2
        vae_gan         encoder: e + kl KL / size
                        decoder: decoder_error e + w (A(y) + A(G(z))) / 2
        aae             encoder: e + w A(E(x)); decoder: e

    size is the number of values of an image, so that kl is the weight beside a
    sum of errors, as in the authors' codes. The gradient of A with respect to
    the encoder's outputs passes through the decoder, but in vae_gan, as in the
    paper, not at all.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        real: [b, ...] float32 in [-1, 1].
        sample_index: [b] int32.

    Returns:
        (`algorithm.TrainState`, metrics, fakes: a tuple of what D judges, from
        before the update).

    References:
        Larsen et al., Autoencoding beyond pixels using a learned similarity
        metric, https://arxiv.org/abs/1512.09300, 2015, algorithm 1; Rombach et
        al., High-Resolution Image Synthesis with Latent Diffusion Models,
        https://arxiv.org/abs/2112.10752, 2021, appendix G; Esser et al., Taming
        Transformers for High-Resolution Image Synthesis,
        https://arxiv.org/abs/2012.09841, 2020, section 3.1; Makhzani et al.,
        Adversarial Autoencoders, https://arxiv.org/abs/1511.05644, 2015, whose
        two phases, with an optimizer each, are one update here.
    """
    this, state, hyperparams = ctx.gan, ctx.state, ctx.hyperparams
    decoder, encoder = state.players[DECODER], state.players[ENCODER]
    (codes, cost), to_encoder, (e_stats, metrics, counts) = jax.vjp(
        lambda params: _encode(ctx, params, encoder.stats, real, sample_index),
        encoder.params, has_aux=True,
    )
    decode = functools.partial(_decode, ctx, sample_index=sample_index)
    images, to_decoder, d_stats = jax.vjp(
        lambda params, codes: decode(params, decoder.stats, codes),
        decoder.params, codes, has_aux=True,
    )
    (error, errors), error_slope = jax.value_and_grad(
        functools.partial(_error, ctx, real), has_aux=True
    )(images)
    metrics = {**metrics, **errors, 'g/loss': error + cost}
    fakes = (jax.lax.stop_gradient(
        images if this.parts.judges == 'images' else _flat(codes)
    ),)
    # Slopes of the losses with respect to images and codes.
    for_decoder, for_encoder = error_slope, error_slope
    code_slope, extra = None, None
    if this.kind == 'vae_gan':
        for_decoder = hyperparams.decoder_error * error_slope
    if not waits(ctx):
        judged = functools.partial(_adversarial, ctx, real, sample_index)
        loss, slope = jax.value_and_grad(judged)(fakes[0])
        weight = hyperparams.adversarial
        if this.adaptive:
            weight *= _adaptive_weight(
                ctx, decode, codes, error_slope, slope
            )
            metrics['g/weight'] = weight
        if this.parts.judges == 'codes':
            code_slope = weight * slope.reshape(codes.shape)
        elif this.parts.prior:
            z = discriminator_inputs.draw_latents(ctx, sample_index)
            samples, to_prior, d_stats = jax.vjp(
                lambda params: decode(params, d_stats, this._shaped(z)),
                decoder.params, has_aux=True,
            )
            prior_loss, prior_slope = jax.value_and_grad(judged)(samples)
            loss = (loss + prior_loss) / 2
            for_decoder += weight / 2 * slope
            extra, = to_prior(weight / 2 * prior_slope)
            fakes = (*fakes, jax.lax.stop_gradient(samples))
        else:
            for_decoder = for_encoder = error_slope + weight * slope
        metrics['g/gan'] = loss
        metrics['g/loss'] += weight * loss
    decoder_grads, codes_grads = to_decoder(for_decoder)
    if for_decoder is not for_encoder:
        _, codes_grads = to_decoder(for_encoder)
    if extra is not None:
        decoder_grads = jax.tree.map(jnp.add, decoder_grads, extra)
    if code_slope is not None:
        codes_grads += code_slope
    encoder_grads, = to_encoder((codes_grads, jnp.float32(1)))
    gathered = counts.pop('outputs', None)
    grads, stats, metrics, counts = ctx.collectives.mean((
        {DECODER: decoder_grads, ENCODER: encoder_grads},
        {DECODER: d_stats, ENCODER: e_stats}, metrics, counts,
    ))
    rate = updates.scheduled_learning_rate(
        hyperparams.g_learning_rate, this.g_schedule, state
    )
    for name, letter in ((DECODER, 'g'), (ENCODER, 'e')):
        player = state.players[name]
        own = freezing.without(this.frozen, name, grads[name])
        metrics[f'{letter}/grad_norm'] = updates.global_norm(own)
        state = algorithm.replace_player(state, name, freezing.hold(
            this.frozen, name, player, updates.apply_updates(
                player, this.g_tx, own, rate, stats[name]
            ),
        ))
    if this.num_codes:
        state, statistics = _move_codebook(ctx, state, counts, gathered)
        metrics |= statistics
    else:
        state = state.replace(memory={**state.memory, 'codes': codes_lib.update(
            state.memory['codes'], counts, state.step
        )})
    decay = averaging.ema_decay_at(state.step, hyperparams.ema_decay)
    state = algorithm.update_averages(
        state, (DECODER, ENCODER), decay, this.frozen
    )
    if this.num_codes:  # vectors that start again have no meaningful average
        average = state.averages[ENCODER]
        vectors = state.players[ENCODER].params['codebook']
        state = state.replace(averages={
            **state.averages, ENCODER: average._replace(
                params={**average.params, 'codebook': vectors}
            ),
        })
    return state, metrics, fakes


def _encode(ctx, params, stats, real, sample_index):
    """Encode images.

    Returns:
        ((codes, cost: weighted KL or commitment), (new stats, metrics, counts:
        the moments of codes, or of the codebook with 'outputs')).
    """
    this, hyperparams = ctx.gan, ctx.hyperparams
    keys = None
    if algorithm.takes_keys(this.encoder):
        own = ctx._replace(key=jax.random.fold_in(
            ctx.key, discriminator_inputs.ENCODER_KEY
        ))
        keys = discriminator_inputs.sample_keys(own, 0, sample_index)
    outputs, stats = algorithm.forward(
        this.encoder, (params, stats), algorithm.Inputs(real, keys=keys)
    )
    if this.num_codes:
        return _quantise(ctx, params['codebook'], outputs, stats)
    cost, metrics = jnp.float32(0), {}
    if this.parts.code == 'gaussian':
        mean, log_variance = jnp.split(outputs, 2, axis=-1)
        log_variance = jnp.clip(log_variance, *LOG_VARIANCES)
        noise = codes_lib.standard_noise(
            jax.random.fold_in(ctx.key, discriminator_inputs.CODE_KEY),
            mean.shape[1:], sample_index,
        )
        outputs = mean + jnp.exp(log_variance / 2) * noise
        kl = reconstructions.kl_from_standard_normal(
            _flat(mean), _flat(log_variance)
        ).mean()
        cost = hyperparams.kl * kl / real[0].size
        metrics['codes/kl'] = kl
    codes = jax.lax.stop_gradient(_flat(outputs))
    block = len(ctx.state.memory['codes']['second'])
    return (outputs, cost), (stats, metrics, codes_lib.moments(codes, block))


def _quantise(ctx, vectors, outputs, stats):
    """Replace the encoder's outputs by the vectors nearest to them."""
    this, hyperparams = ctx.gan, ctx.hyperparams
    constant = jax.lax.stop_gradient(outputs)
    indices = codebook.nearest(constant, jax.lax.stop_gradient(vectors))
    quantised = vectors[indices]
    commitment = jnp.square(
        outputs - jax.lax.stop_gradient(quantised)
    ).mean()
    cost = hyperparams.commitment * commitment
    if this.learned_codebook:
        cost += jnp.square(constant - quantised).mean()
    rows = constant.reshape(len(outputs), -1, outputs.shape[-1])
    counts = codebook.count(
        rows, indices.reshape(len(outputs), -1), this.num_codes
    )
    codes = codebook.straight_through(outputs, quantised)
    return (codes, cost), (stats, {'codes/commitment': commitment}, {
        **counts, 'outputs': rows.reshape(-1, outputs.shape[-1]),
    })


def _move_codebook(ctx, state, counts, outputs):
    """Return the state with the codebook of a step, and its statistics."""
    this, hyperparams = ctx.gan, ctx.hyperparams
    player = state.players[ENCODER]
    old = player
    decay = averaging.ema_decay_at(state.step, hyperparams.codebook_decay)
    memory = averaging.ema(state.memory['codebook'], counts, decay)
    vectors = player.params['codebook']
    if not this.learned_codebook:
        vectors = codebook.move(memory, vectors)
    memory, vectors = codebook.restart(
        memory, vectors, ctx.collectives.gather(outputs),
        jax.random.fold_in(ctx.key, discriminator_inputs.CODE_KEY),
        hyperparams.restart,
    )
    player = freezing.hold(this.frozen, ENCODER, old, player.replace(
        params={**player.params, 'codebook': vectors}
    ))
    state = algorithm.replace_player(state, ENCODER, player)
    return state.replace(
        memory={**state.memory, 'codebook': memory}
    ), codebook.statistics(memory['use'].mean(0))


def _decode(ctx, params, stats, codes, sample_index):
    """Return the decoder's images in training mode, and its statistics."""
    return discriminator_inputs.generate(
        ctx, params, stats, codes, sample_index, None
    )


def _error(ctx, real, images):
    """Return the weighted error of reconstructions, and metrics."""
    this, hyperparams = ctx.gan, ctx.hyperparams
    options = {'delta': hyperparams.huber_delta} if (
        this.reconstruction == 'huber') else {}
    error = reconstructions.RECONSTRUCTIONS[this.reconstruction](
        real, images, **options
    ).mean()
    metrics = {'g/reconstruction': error}
    if this.parts.judges == 'codes':
        return error, metrics
    total = hyperparams.pixels * error
    if this.features:
        player = ctx.state.players[D]
        targets = jax.lax.stop_gradient(
            layer_outputs(this.discriminator, player, real)
        )
        metrics['g/features'] = distance = layer_distance(
            targets, layer_outputs(this.discriminator, player, images),
            ctx.collectives.mean,
        )
        total += hyperparams.features * distance
    return total, metrics


def layer_outputs(module, player, images):
    """Return the outputs of a network's layers but the last, in training mode.

    Args:
        module: flax module; its layers are its children.
        player: `algorithm.PlayerState`; random layers are off.
        images: [b, ...].

    Returns:
        {layer: [b, ..., F]}, F > 1.
    """
    _, updated = module.apply(
        {'params': player.params, **player.stats}, images, train=True,
        mutable=[*player.stats, 'intermediates'], capture_intermediates=True,
    )
    outputs = {}
    for name, captured in updated['intermediates'].items():
        output, = captured.get('__call__', (None,)) if isinstance(
            captured, dict) else (None,)
        if getattr(output, 'ndim', 0) > 1 and output.shape[-1] > 1:
            outputs[name] = output.astype(jnp.float32)
    return outputs


def layer_distance(targets, outputs, mean=lambda tree: tree):
    """Compute the mean error of layers' outputs, in units of their size.

    The mean over layers of E (F(x) - F(y))^2 / E F(x)^2. Larsen et al. have one
    layer and no unit; so does a D that grows not make its error larger.

    Args:
        targets, outputs: as of `layer_outputs`, of real images and of others.
        mean: over devices, for the units: E F(x)^2 is of the global batch.

    Returns:
        float32 scalar, >= 0.
    """
    units = mean({
        name: jnp.square(target).mean() for name, target in targets.items()
    })
    errors = [
        jnp.square(target - outputs[name]).mean() / (units[name] + 1e-8)
        for name, target in targets.items()
    ]
    return sum(errors) / len(errors)


def _adversarial(ctx, real, sample_index, fakes):
    """Return G's loss on what D judges."""
    if ctx.gan.parts.judges == 'codes':
        real = discriminator_inputs.draw_latents(ctx, sample_index)
    player = ctx.state.players[D]
    judge = functools.partial(
        _judge, ctx, player.params, player.stats, sample_index=sample_index
    )
    return ctx.gan.loss.generator(
        judge(real, 1)[0].logits, judge(fakes, 2)[0].logits,
        **(ctx.hyperparams.loss_options or {}),
    )


def _judge(ctx, params, stats, inputs, number, sample_index):
    """Return D's output in training mode, and its new statistics."""
    module, keys = ctx.gan.discriminator, None
    if algorithm.takes_keys(module):
        keys = discriminator_inputs.sample_keys(ctx, number, sample_index)
    return algorithm.forward(
        module, (params, stats), algorithm.Inputs(inputs, keys=keys)
    )


def _adaptive_weight(ctx, decode, codes, error_slope, slope):
    """Compute the ratio of gradients at the decoder's last layer.

    |grad of the error| / (|grad of G's loss| + 1e-4), at most 1e4; both are
    gradients of means over the global batch.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        decode: (params, stats, codes) -> (images, stats).
        codes: [b, ...].
        error_slope, slope: gradients with respect to the images.

    References:
        Esser et al., Taming Transformers for High-Resolution Image Synthesis,
        https://arxiv.org/abs/2012.09841, 2020, equation 7, with the bounds of
        the authors' code.
    """
    player, path = ctx.state.players[DECODER], ctx.gan.last_kernel

    def images_of(kernel):
        params = replace_leaf(player.params, path, kernel)
        return decode(params, player.stats, jax.lax.stop_gradient(codes))[0]

    _, pullback = jax.vjp(images_of, leaf(player.params, path))
    norms = [
        updates.global_norm(grads) for grads in ctx.collectives.mean(
            [pullback(error_slope), pullback(slope)]
        )
    ]
    return jnp.clip(norms[0] / (norms[1] + LEAST_NORM), 0, MOST_WEIGHT)


def leaf(tree, path):
    """Return the leaf of a tree of dicts at a path of names."""
    return functools.reduce(lambda node, name: node[name], path, tree)


def replace_leaf(tree, path, value):
    """Return a tree of dicts with the leaf at a path of names replaced."""
    if not path:
        return value
    name, *rest = path
    return {**tree, name: replace_leaf(tree[name], rest, value)}


def discriminator_update(ctx, real, fakes, sample_index):
    """Update D once; encoder and decoder stay.

    Its loss is the mean over the kinds of fakes. Penalties are those of the
    first kind, the reconstructions.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        real: [b, ...] float32, images or samples of the prior.
        fakes: tuple of arrays of this shape.
        sample_index: [b] int32.

    Returns:
        (`algorithm.TrainState`, metrics).
    """
    this, state, hyperparams = ctx.gan, ctx.state, ctx.hyperparams
    player = state.players[D]

    def objective(params):
        judge = functools.partial(
            _judge, ctx, params, sample_index=sample_index
        )
        real_output, stats = judge(player.stats, real, 1)
        outputs = []
        for images in fakes:
            output, stats = judge(stats, images, 2)
            outputs.append(output)
        loss = sum(
            this.loss.discriminator(
                real_output.logits, output.logits,
                **(hyperparams.loss_options or {}),
            ) for output in outputs
        ) / len(fakes)
        metrics = {
            'd/loss': loss, 'd/real_logits': real_output.logits.mean(),
            'd/fake_logits': sum(
                output.logits.mean() for output in outputs
            ) / len(fakes),
        }
        penalty, values = updates.sum_penalties(ctx, D, penalties.Context(
            params=params,
            discriminator_fn=lambda images, fake=True: judge(
                stats, images, 1 + fake
            )[0],
            real_images=real, fake_images=fakes[0], raw_real_images=real,
            raw_fake_images=fakes[0], preprocess_fn=lambda images, fake: images,
            sample_index=sample_index, z_sample_index=sample_index,
            real=real_output, fake=outputs[0],
        ))
        return loss + penalty, (stats, {**metrics, **values})

    grads, (stats, metrics) = ctx.collectives.mean(
        jax.grad(objective, has_aux=True)(player.params)
    )
    grads = freezing.without(this.frozen, D, grads)
    metrics['d/grad_norm'] = updates.global_norm(grads)
    player = freezing.hold(this.frozen, D, player, updates.apply_updates(
        player, this.d_tx, grads, updates.scheduled_learning_rate(
            hyperparams.d_learning_rate, this.d_schedule, state
        ), stats,
    ))
    memory = updates.update_penalty_memory(ctx, D, player, metrics)
    state = algorithm.replace_player(state, D, player)
    return state.replace(memory=memory), metrics
