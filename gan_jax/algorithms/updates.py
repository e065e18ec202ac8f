"""One update of one player: forward pass, penalties, gradient, optimizer.

Pure: means over devices are a function in the context. This module does not
know the schedule that decides which player is updated.
"""

import functools

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import annealing
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import freezing
from gan_jax.algorithms.game import D, G
from gan_jax.objectives import penalties
from gan_jax.objectives import penalty_output
from gan_jax.objectives import targets as targets_lib
from gan_jax.ops import augment
from gan_jax.ops import transforms

# Metrics that carry values to the memory of a loss and of penalties; they are
# averaged over microbatches and devices like metrics, but never logged.
FAKE_LOGITS = 'g/fake_logits'
NOTES = 'notes of '


def discriminator_update(ctx, images, sample_index, labels=None):
    """Update D once on real images and on fakes of the current G.

    Real and fake images pass through D separately, so that BatchNorm normalises
    each with its own statistics, or as one batch if `joint_batch` is set.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] uint8, real.
        sample_index: [b] int32.
        labels: [b] int32, or None.

    Returns:
        (`algorithm.TrainState` with a new discriminator, metrics).
    """
    gan, state = ctx.gan, ctx.state
    player, generator = state.players[D], state.players[G]

    def sample_fakes(sample_index, labels):
        if ctx.fakes is not None:
            return ctx.fakes.z, ctx.fakes.images
        z = discriminator_inputs.draw_latents(ctx, sample_index)
        fakes, _ = discriminator_inputs.generate(
            ctx, generator.params, generator.stats, z, sample_index, labels
        )
        return z, jax.lax.stop_gradient(fakes)

    if gan.history:
        z, fakes = sample_fakes(sample_index, labels)
        fakes, history = discriminator_inputs.replay_fakes(
            ctx, fakes, sample_index
        )

    def gradients(stats, images, sample_index, labels):
        z_and_fakes = (
            (z, fakes) if gan.history else sample_fakes(sample_index, labels)
        )
        d_inputs = discriminator_inputs.make_discriminator_inputs(
            ctx, generator.params, generator.stats, images, sample_index,
            labels, *z_and_fakes,
        )
        objective = functools.partial(
            _discriminator_objective, ctx, stats, d_inputs
        )
        return jax.grad(objective, has_aux=True)(player.params)

    grads, (stats, metrics) = ctx.collectives.mean(
        over_microbatches(
            ctx, gradients, player.stats, (images, sample_index, labels)
        )
    )
    grads = freezing.without(gan.frozen, D, grads)
    metrics['d/grad_norm'] = global_norm(grads)
    player = _apply_discriminator_updates(ctx, player, grads, stats)
    memory = update_penalty_memory(ctx, D, player, metrics)
    if gan.loss.memory is not None:
        memory['real_logits'] = metrics['d/real_logits']
    if gan.adaptive_augmentation:
        memory['augment'] = metrics['d/augment_probability'] = augment.adapt(
            memory['augment'], metrics['d/real_signs'],
            ctx.hyperparams.augment_target, ctx.hyperparams.augment_speed,
        )
    if gan.history:
        memory['history'] = history
    state = algorithm.replace_player(state, D, player)
    return state.replace(memory=memory), metrics


def generator_update(ctx, images, sample_index, labels=None):
    """Update G once against the current D, then G's moving average.

    D normalises with the statistics of this batch of fakes; its running
    statistics are not changed.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] uint8, real; for relativistic losses, some
            penalties and unrolling.
        sample_index: [b] int32.
        labels: [b] int32, or None.

    Returns:
        (`algorithm.TrainState` with a new generator and EMA, metrics).
    """
    gan, state = ctx.gan, ctx.state
    player = state.players[G]

    def gradients(stats, images, sample_index, labels):
        def objective(params, fakes, z):
            d_inputs = discriminator_inputs.make_discriminator_inputs(
                ctx, params, stats, images, sample_index, labels, z, fakes
            )
            opponent = _unroll(ctx, d_inputs)
            discriminator_fn = functools.partial(
                _logits, ctx, opponent.params, opponent.stats, d_inputs
            )
            real = discriminator_fn(d_inputs.real_images, fake=False)
            fake = discriminator_fn(d_inputs.fake_images)
            loss = gan.loss.generator(
                real.logits, fake.logits, **_loss_arguments(ctx)
            )
            context = penalties.Context(
                params=params,
                discriminator_fn=discriminator_fn,
                generator_fn=lambda z: discriminator_inputs.generate(
                    ctx, params, stats, z, sample_index, labels
                )[0],
                generator_method=functools.partial(
                    _method, gan.generator, params, stats
                ),
                **_shared_context(ctx, d_inputs), real=real, fake=fake,
            )
            penalty, values = sum_penalties(ctx, G, context)
            metrics = {'g/loss': loss, **values}
            if gan.loss.memory is not None:
                metrics[FAKE_LOGITS] = fake.logits.mean()
            total = loss + penalty if values else loss
            return total, metrics

        def loss_fn(params):
            z = discriminator_inputs.draw_latents(ctx, sample_index)
            fakes, new_stats = discriminator_inputs.generate(
                ctx, params, stats, z, sample_index, labels
            )
            loss, metrics = objective(params, fakes, z)
            return loss, (new_stats, metrics)

        if ctx.fakes is None:
            return jax.grad(loss_fn, has_aux=True)(player.params)
        # The fakes exist already: add the gradient through them, by the chain
        # rule, to the gradient of what depends on the parameters directly.
        z, fakes, new_stats, pullback = ctx.fakes
        (direct, fake_grads), metrics = jax.grad(
            objective, argnums=(0, 1), has_aux=True
        )(player.params, fakes, z)
        through_fakes, = pullback(fake_grads)
        return jax.tree.map(jnp.add, direct, through_fakes), (
            new_stats, metrics
        )

    grads, (stats, metrics) = ctx.collectives.mean(
        over_microbatches(
            ctx, gradients, player.stats, (images, sample_index, labels)
        )
    )
    grads = freezing.without(gan.frozen, G, grads)
    metrics['g/grad_norm'] = global_norm(grads)
    player = freezing.hold(gan.frozen, G, player, apply_updates(
        player, gan.g_tx, grads,
        scheduled_learning_rate(
            ctx.hyperparams.g_learning_rate, gan.g_schedule, state
        ), stats, **_adam_options(gan, ctx.hyperparams.g_b2),
    ))
    memory = update_penalty_memory(ctx, G, player, metrics)
    if gan.loss.memory is not None:
        memory['loss'], loss_metrics = gan.loss.memory.update(
            memory['loss'], memory['real_logits'], metrics.pop(FAKE_LOGITS),
            **ctx.hyperparams.loss_options,
        )
        metrics.update(loss_metrics)
    state = algorithm.replace_player(state, G, player)
    decay = annealing.ema_decay(gan, ctx.hyperparams, state.step)
    return algorithm.update_averages(
        state.replace(memory=memory), (G,), decay, gan.frozen
    ), metrics


def _discriminator_objective(ctx, stats, d_inputs, params):
    """Return (D's loss with its penalties, (new stats, metrics))."""
    gan = ctx.gan
    arguments = _loss_arguments(ctx)
    if gan.treat_labels:
        targets = targets_lib.draw(
            jax.random.fold_in(ctx.key, discriminator_inputs.LABEL_KEY),
            d_inputs.sample_index,
            ctx.hyperparams.label_treatment,
        )
    real, fake, new_stats = _apply_to_both(ctx, params, stats, d_inputs)
    if gan.treat_labels:  # one target per sample, even for a map of logits
        shape = (-1,) + (1,) * (real.logits.ndim - 1)
        arguments['targets'] = jax.tree.map(
            lambda target: target.reshape(shape), targets
        )
    loss = gan.loss.discriminator(real.logits, fake.logits, **arguments)
    metrics = {
        'd/loss': loss,
        'd/real_logits': real.logits.mean(),
        'd/fake_logits': fake.logits.mean(),
    }
    if gan.adaptive_augmentation:
        metrics['d/real_signs'] = jnp.sign(real.logits).mean()
    context = penalties.Context(
        params=params,
        discriminator_fn=functools.partial(
            _logits, ctx, params, stats, d_inputs
        ),
        generator_fn=d_inputs.generator_fn,
        **_shared_context(ctx, d_inputs), real=real, fake=fake,
    )
    penalty, values = sum_penalties(ctx, D, context)
    total = loss + penalty if values else loss
    return total, (new_stats, {**metrics, **values})


def _shared_context(ctx, d_inputs):
    """Return the fields of `penalties.Context` common to both players."""
    return {
        'augmented': bool(ctx.gan.augmentations),
        **{name: getattr(d_inputs, name) for name in (
            'real_images', 'fake_images', 'raw_real_images', 'raw_fake_images',
            'preprocess_fn', 'z', 'sample_index', 'z_sample_index', 'labels',
        )},
    }


def _apply_to_both(ctx, params, stats, d_inputs):
    """Apply D to real and fake images; return (real, fake, new stats)."""
    discriminator = ctx.gan.discriminator
    keys = functools.partial(
        discriminator_inputs.discriminator_keys, ctx, d_inputs
    )
    real = (d_inputs.real_images, d_inputs.labels, keys(fake=False))
    fake = (d_inputs.fake_images, d_inputs.labels, keys(fake=True))
    if ctx.gan.joint_batch:
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), real, fake)
        output, stats = _apply_discriminator(
            discriminator, params, stats, *both
        )
        count = len(d_inputs.real_images)
        return (
            jax.tree.map(lambda value: value[:count], output),
            jax.tree.map(lambda value: value[count:], output), stats,
        )
    real, stats = _apply_discriminator(discriminator, params, stats, *real)
    fake, stats = _apply_discriminator(discriminator, params, stats, *fake)
    return real, fake, stats


def _method(module, params, stats, name, *arrays):
    """Call a method of a module in training mode; discard new statistics."""
    return module.apply(
        {'params': params, **stats}, *arrays, train=True, method=name,
        mutable=list(stats),
    )[0]


def _apply_discriminator(discriminator, params, stats, images, labels, keys):
    """Apply D to images; return (output, new stats)."""
    return algorithm.forward(
        discriminator, (params, stats),
        algorithm.Inputs(images, labels, keys=keys),
    )


def _unroll(ctx, d_inputs):
    """Return D after `unroll_steps` updates on these inputs.

    The updates include D's optimizer, and G's gradient passes through all of
    them. Every update uses the same batch, as in the authors' demonstration.

    References:
        Metz et al., Unrolled Generative Adversarial Networks,
        https://arxiv.org/abs/1611.02163, 2016.
    """
    player = ctx.state.players[D]
    for _ in range(ctx.gan.unroll_steps):
        objective = functools.partial(
            _discriminator_objective, ctx, player.stats, d_inputs
        )
        grads, _ = jax.grad(objective, has_aux=True)(player.params)
        grads = freezing.without(ctx.gan.frozen, D, grads)
        player = _apply_discriminator_updates(
            ctx, player, ctx.collectives.mean(grads), player.stats
        )
    return player


def _logits(ctx, params, stats, d_inputs, images, fake=True):
    """Return D's output; discard its new statistics."""
    return _apply_discriminator(
        ctx.gan.discriminator, params, stats, images, d_inputs.labels,
        discriminator_inputs.discriminator_keys(ctx, d_inputs, fake=fake),
    )[0]


def _loss_arguments(ctx):
    """Return the keyword arguments of the losses of both players."""
    arguments = {
        option.name: ctx.hyperparams.loss_options[option.name]
        for option in ctx.gan.loss.options
    }
    if ctx.gan.loss.memory is not None:
        arguments['memory'] = ctx.state.memory['loss']
    return arguments


def _penalties_of(gan, player):
    """Yield (place, name, penalty) of the penalties in a player's loss."""
    for place, name in enumerate(gan.penalties):
        penalty = penalties.PENALTIES[name]
        if penalty.player == player:
            yield place, name, penalty


def sum_penalties(ctx, player, context):
    """Sum a player's weighted penalties; return (sum, metrics).

    A lazy penalty is applied at every k-th step only, with k times its weight.
    """
    total, metrics, lazy = 0.0, {}, dict(ctx.gan.lazy)
    for place, name, penalty in _penalties_of(ctx.gan, player):
        penalty_fn = functools.partial(
            penalty.fn, context, ctx.state.memory.get(name),
            jax.random.fold_in(
                ctx.key, discriminator_inputs.FIRST_PENALTY_KEY + place
            ),
        )
        weight = ctx.hyperparams.penalty_weights[name]
        if name not in lazy:
            output, metrics[name] = _as_noted(penalty_fn())
        elif ctx.due is None:
            due = _is_due(ctx, name)
            zeros = jax.tree.map(
                lambda form: jnp.zeros(form.shape, form.dtype),
                jax.eval_shape(penalty_fn),
            )
            output, value = _as_noted(
                jax.lax.cond(due, penalty_fn, lambda: zeros)
            )
            latest = ctx.state.memory['latest'][name]
            metrics[name] = jnp.where(due, value, latest)
        elif name in ctx.due:
            output, metrics[name] = _as_noted(penalty_fn())
        else:
            continue
        if output.notes is not None:
            metrics[NOTES + name] = output.notes
        total += weight * lazy.get(name, 1) * output.value
    return total, {f'{player[0]}/{n}': value for n, value in metrics.items()}


def _as_noted(output):
    """Return (a penalty's output as `PenaltyOutput`, its value)."""
    if not isinstance(output, penalty_output.PenaltyOutput):
        output = penalty_output.PenaltyOutput(output, None)
    return output, output.value


def _is_due(ctx, name):
    """Return whether a lazy penalty applies, if the device decides."""
    return ctx.state.step % dict(ctx.gan.lazy)[name] == 0


def update_penalty_memory(ctx, player, network, metrics):
    """Return the memory after the penalties of a player have updated theirs.

    Adds to `metrics` the last value of lazy penalties that were not applied,
    and removes the notes of penalties from it.
    """
    memory = dict(ctx.state.memory)
    for _, name, penalty in _penalties_of(ctx.gan, player):
        notes = metrics.pop(f'{player[0]}/{NOTES}{name}', None)
        arguments = (network.params, metrics)
        if notes is not None:
            new = penalty.update(memory[name], *arguments, notes)
            if name in dict(ctx.gan.lazy) and ctx.due is None:
                due = _is_due(ctx, name)
                new = algorithm.select(due, new, memory[name])
            memory[name] = new
        elif penalty.update is not None and not penalty.notes:
            memory[name] = penalty.update(memory[name], *arguments)
        if name in dict(ctx.gan.lazy):
            latest = metrics.setdefault(
                f'{player[0]}/{name}', memory['latest'][name]
            )
            memory['latest'] = {**memory['latest'], name: latest}
    return memory


def over_microbatches(ctx, gradients, stats, batch):
    """Average gradients and metrics over the microbatches of a batch.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        gradients: (stats, *batch) -> (grads, (stats, metrics)).
        stats: passed from each microbatch to the next.
        batch: tuple of arrays [b, ...], or None.

    Returns:
        (mean grads, (stats after the last microbatch, mean metrics)).
    """
    parts = ctx.gan.num_microbatches
    if parts == 1:
        return gradients(stats, *batch)
    batch = jax.tree.map(
        lambda array: array.reshape(parts, -1, *array.shape[1:]), batch
    )
    grads, (_, metrics) = jax.eval_shape(
        gradients, stats, *jax.tree.map(lambda array: array[0], batch)
    )
    total = jax.tree.map(jnp.zeros_like, (grads, metrics))

    def body(carry, part):
        stats, total = carry
        grads, (stats, metrics) = gradients(stats, *part)
        return (stats, jax.tree.map(jnp.add, total, (grads, metrics))), None

    (stats, total), _ = ctx.loop(body, (stats, total), batch)
    grads, metrics = jax.tree.map(lambda value: value / parts, total)
    return grads, (stats, metrics)


def global_norm(tree):
    """Compute the Euclidean norm of a pytree; 0 if it is empty.

    Uses `jnp.vdot`, because on CPU a sum of squares compiles to two kernels per
    leaf and is slower.
    """
    squares = [
        jnp.vdot(leaf, leaf, precision='highest')
        for leaf in jax.tree.leaves(tree)
    ]
    return jnp.sqrt(sum(squares, jnp.float32(0)))


def scheduled_learning_rate(learning_rate, schedule, state):
    """Return the learning rate of this step."""
    return learning_rate if schedule is None else (
        learning_rate * schedule(state.step)
    )


def _adam_options(gan, b2):
    """Return the arguments of Adam that move during training."""
    return {'b2': b2} if 'b2' in gan.annealed else {}


def apply_updates(player, tx, grads, learning_rate, stats, **options):
    """Apply one optax update, with its extra arguments, to a player."""
    direction, opt_state = tx.update(
        grads, player.opt_state, player.params, **options
    )
    params = jax.tree.map(
        lambda p, d: p - learning_rate * d, player.params, direction
    )
    return player.replace(params=params, stats=stats, opt_state=opt_state)


def _apply_discriminator_updates(ctx, player, grads, stats):
    """Apply one optax update to D, then clip its weights if enabled."""
    gan, hyperparams, old = ctx.gan, ctx.hyperparams, player
    player = apply_updates(
        player, gan.d_tx, grads,
        scheduled_learning_rate(
            hyperparams.d_learning_rate, gan.d_schedule, ctx.state
        ), stats, **_adam_options(gan, hyperparams.d_b2),
    )
    if gan.clip_weights:
        player = player.replace(params=transforms.clip_weights(
            player.params, hyperparams.clip_limit
        ))
    return freezing.hold(gan.frozen, D, old, player)
