"""One step of an autoencoder with a discriminator: its losses and updates.

Encoder and decoder move first, then D, on the reconstructions from before they
moved. The authors' codes of VQ-GAN and latent diffusion make them anew, with
the moved autoencoder. `adversarial_autoencoder` says what each kind is made of.
Pure.
"""

import functools

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import codebook
from gan_jax.algorithms import codes as codes_lib
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import freezing
from gan_jax.algorithms import updates
from gan_jax.algorithms.game import D
from gan_jax.algorithms.reconstruction import DECODER, ENCODER
from gan_jax.objectives import penalties
from gan_jax.objectives import reconstructions
from gan_jax.ops import averaging

WAITS = 'discriminator waits'  # in `Variant.due` of a step before the start
MOST_WEIGHT, LEAST_NORM = 1e4, 1e-4  # of the adaptive weight


def flatten(codes):
    """Reshape codes to [B, D]."""
    return codes.reshape(codes.shape[0], -1)


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

    size is the number of values of an image: beside the error of pixels, kl has
    the weight that it has beside an error summed over the image, as in latent
    diffusion's code. A reaches the encoder through the decoder in
    kl_autoencoder and vq_gan, directly in aae, and in vae_gan, as in the paper,
    not at all.

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
        two phases, with an optimizer each, are one update here. Larsen et al.
        give each kind of fakes the weight of the real images; here the losses
        are means over both kinds.
    """
    this, state, hyperparams = ctx.gan, ctx.state, ctx.hyperparams
    decoder, encoder = state.players[DECODER], state.players[ENCODER]
    (codes, cost), to_encoder, (encoder_stats, metrics, counts) = jax.vjp(
        lambda params: _encode(ctx, params, encoder.stats, real, sample_index),
        encoder.params, has_aux=True,
    )
    decode = functools.partial(_decode, ctx, sample_index=sample_index)
    images, to_decoder, decoder_stats = jax.vjp(
        lambda params, codes: decode(params, decoder.stats, codes),
        decoder.params, codes, has_aux=True,
    )
    (error, errors), error_slope = jax.value_and_grad(
        functools.partial(_error, ctx, real), has_aux=True
    )(images)
    metrics = {**metrics, **errors, 'g/loss': error + cost}
    fakes = (jax.lax.stop_gradient(
        images if this.parts.judges == 'images' else flatten(codes)
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
            weight *= _adaptive_weight(ctx, to_decoder, error_slope, slope)
            metrics['g/weight'] = weight
        if this.parts.judges == 'codes':
            code_slope = weight * slope.reshape(codes.shape)
        elif this.parts.prior:
            z = discriminator_inputs.draw_latents(ctx, sample_index)
            samples, to_prior, decoder_stats = jax.vjp(
                lambda params: decode(params, decoder_stats, this._shaped(z)),
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
        {DECODER: decoder_stats, ENCODER: encoder_stats}, metrics, counts,
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
        key = jax.random.fold_in(ctx.key, discriminator_inputs.CODE_KEY)
        outputs, kl = codes_lib.sample_gaussian(key, outputs, sample_index)
        kl = kl.mean()
        cost = hyperparams.kl * kl / real[0].size
        metrics['codes/kl'] = kl
    codes = jax.lax.stop_gradient(flatten(outputs))
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
    if getattr(module, 'dropout', 0):
        module = module.clone(dropout=0.0)
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

    The mean over layers of E (F(x) - F(y))^2 / E F(x)^2. Larsen et al. compare
    one layer, without units. With units, the error does not grow when D's
    outputs do.

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


def _adaptive_weight(ctx, to_decoder, error_slope, slope):
    """Compute the ratio of gradients at the decoder's last layer.

    |grad of the error| / (|grad of G's loss| + 1e-4), at most 1e4; both are
    gradients of means over the global batch.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        to_decoder: (slope) -> (gradients of the decoder's parameters, ...). The
            compiler drops all that the last kernel's do not need.
        error_slope, slope: gradients with respect to the images.

    References:
        Esser et al., Taming Transformers for High-Resolution Image Synthesis,
        https://arxiv.org/abs/2012.09841, 2020, equation 7, with the bounds of
        the authors' code. The code of latent diffusion has the same bounds for
        an error that is summed over an image; in units of our mean, its largest
        weight would be 1e4 / size.
    """
    norms = [
        updates.global_norm(grads) for grads in ctx.collectives.mean([
            leaf(to_decoder(one)[0], ctx.gan.last_kernel)
            for one in (error_slope, slope)
        ])
    ]
    return jnp.clip(norms[0] / (norms[1] + LEAST_NORM), 0, MOST_WEIGHT)


def leaf(tree, path):
    """Return the leaf of a tree of dicts at a path of names."""
    return functools.reduce(lambda node, name: node[name], path, tree)


def discriminator_update(ctx, real, fakes, sample_index):
    """Update D once; encoder and decoder stay.

    Its loss is the mean over the kinds of fakes, see `autoencoder_update`.
    Penalties are those of the
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
