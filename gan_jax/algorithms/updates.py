"""One update of one player: forward, penalties, gradient, optimizer.

Pure, like all of algorithms/; means over devices reach it as a function.
"""

import functools

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms.game import D, G
from gan_jax.objectives import penalties
from gan_jax.objectives import targets as labels_lib
from gan_jax.ops import augment
from gan_jax.ops import transforms

FAKE_LOGITS = 'g/fake_logits'  # for the loss's memory alone; not shown
NOTES = 'notes of '  # likewise, for that of a penalty


def discriminator_update(ctx, images, sample_index, labels=None):
    """Update D once on real images and on fakes of the present G.

    Real and fake images pass through D apart, so that BatchNorm normalises
    each with its own statistics; together where the GAN says so.

    Args:
        ctx: an `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] uint8, real.
        sample_index: [b] int32.
        labels: [b] int32, or None.

    Returns:
        (`algorithm.TrainState` with a new discriminator, metrics).
    """
    gan, state = ctx.gan, ctx.state
    player, generator = state.players[D], state.players[G]

    def make(sample_index, labels):
        if ctx.fakes is not None:
            return ctx.fakes.z, ctx.fakes.images
        z = discriminator_inputs.draw_latents(ctx, sample_index)
        fakes, _ = discriminator_inputs.generate(
            ctx, generator.params, generator.stats, z, sample_index, labels
        )
        return z, jax.lax.stop_gradient(fakes)

    if gan.history:
        z, fakes = make(sample_index, labels)
        fakes, history = discriminator_inputs.replay_fakes(
            ctx, fakes, sample_index
        )

    def gradients(stats, images, sample_index, labels):
        shown = (z, fakes) if gan.history else make(sample_index, labels)
        d_inputs = discriminator_inputs.make_discriminator_inputs(
            ctx, generator.params, generator.stats, images, sample_index,
            labels, *shown,
        )
        objective = functools.partial(
            _discriminator_objective, ctx, stats, d_inputs
        )
        return jax.grad(objective, has_aux=True)(player.params)

    grads, (stats, metrics) = ctx.across.mean(
        over_microbatches(
            ctx, gradients, player.stats, (images, sample_index, labels)
        )
    )
    metrics['d/grad_norm'] = norm(grads)
    player = _descend_discriminator(ctx, player, grads, stats)
    memory = _remember(ctx, D, player, metrics)
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
    """Update G once through the present D, then its moving average.

    D normalises with the statistics of this batch of fakes, and its running
    statistics stay as its own updates left them.

    Args:
        ctx: an `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] uint8, real; used by relativistic losses, by some
            penalties and by unrolling.
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
                **_shown(ctx, d_inputs), real=real, fake=fake,
            )
            total, values = _penalties(ctx, G, context)
            metrics = {'g/loss': loss, **values}
            if gan.loss.memory is not None:
                metrics[FAKE_LOGITS] = fake.logits.mean()
            return loss + total if values else loss, metrics

        def loss_fn(params):
            z = discriminator_inputs.draw_latents(ctx, sample_index)
            fakes, new_stats = discriminator_inputs.generate(
                ctx, params, stats, z, sample_index, labels
            )
            loss, metrics = objective(params, fakes, z)
            return loss, (new_stats, metrics)

        if ctx.fakes is None:
            return jax.grad(loss_fn, has_aux=True)(player.params)
        z, fakes, new_stats, pullback = ctx.fakes
        (own, slopes), metrics = jax.grad(
            objective, argnums=(0, 1), has_aux=True
        )(player.params, fakes, z)
        through, = pullback(slopes)
        return jax.tree.map(jnp.add, own, through), (new_stats, metrics)

    grads, (stats, metrics) = ctx.across.mean(
        over_microbatches(
            ctx, gradients, player.stats, (images, sample_index, labels)
        )
    )
    metrics['g/grad_norm'] = norm(grads)
    player = apply_updates(
        player, gan.g_tx, grads,
        scheduled_learning_rate(
            ctx.hyperparams.g_learning_rate, gan.g_schedule, state
        ), stats,
    )
    memory = _remember(ctx, G, player, metrics)
    if gan.loss.memory is not None:
        memory['loss'], more = gan.loss.memory.update(
            memory['loss'], memory['real_logits'], metrics.pop(FAKE_LOGITS),
            **ctx.hyperparams.loss_options,
        )
        metrics.update(more)
    state = algorithm.replace_player(state, G, player)
    decay = transforms.ema_decay_at(state.step, ctx.hyperparams.ema_decay)
    return algorithm.average(
        state.replace(memory=memory), (G,), decay
    ), metrics


def _discriminator_objective(ctx, stats, d_inputs, params):
    """Give (D's loss with its penalties, (new stats, metrics))."""
    gan = ctx.gan
    arguments = _loss_arguments(ctx)
    if gan.treat_labels:
        targets = labels_lib.draw(
            jax.random.fold_in(ctx.key, discriminator_inputs.LABEL_KEY),
            d_inputs.sample_index,
            ctx.hyperparams.label_treatment,
        )
    real, fake, new_stats = _judge(ctx, params, stats, d_inputs)
    if gan.treat_labels:  # one for each sample, whatever its map of logits
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
        **_shown(ctx, d_inputs), real=real, fake=fake,
    )
    total, values = _penalties(ctx, D, context)
    return loss + total if values else loss, (
        new_stats, {**metrics, **values}
    )


def _shown(ctx, d_inputs):
    """Return what a penalty of either player is given of both sides."""
    return {
        'augmented': bool(ctx.gan.augmentations),
        **{name: getattr(d_inputs, name) for name in (
            'real_images', 'fake_images', 'raw_real_images', 'raw_fake_images',
            'view_fn', 'z', 'sample_index', 'z_sample_index', 'labels',
        )},
    }


def _judge(ctx, params, stats, d_inputs):
    """Pass both sides through D; returns (real, fake, new stats)."""
    discriminator = ctx.gan.discriminator
    keys = functools.partial(
        discriminator_inputs.discriminator_keys, ctx, d_inputs
    )
    real = (d_inputs.real_images, d_inputs.labels, keys(fake=False))
    fake = (d_inputs.fake_images, d_inputs.labels, keys(fake=True))
    if ctx.gan.joint_batch:
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), real, fake)
        output, stats = _judge_one(discriminator, params, stats, *both)
        count = len(d_inputs.real_images)
        return (
            jax.tree.map(lambda value: value[:count], output),
            jax.tree.map(lambda value: value[count:], output), stats,
        )
    real, stats = _judge_one(discriminator, params, stats, *real)
    fake, stats = _judge_one(discriminator, params, stats, *fake)
    return real, fake, stats


def _method(module, params, stats, name, *arrays):
    """Call a method of a module in training mode; its statistics are lost."""
    return module.apply(
        {'params': params, **stats}, *arrays, train=True, method=name,
        mutable=list(stats),
    )[0]


def _judge_one(discriminator, params, stats, images, labels, keys):
    """Pass images through D; returns (output, new stats)."""
    return algorithm.forward(
        discriminator, (params, stats),
        algorithm.Inputs(images, labels, keys=keys),
    )


def _unroll(ctx, d_inputs):
    """Give D as `unroll_steps` updates on these sides would make it.

    Each is D's own update, optimizer included, and G's gradient passes through
    all of them. One batch serves every step, as in the authors' demonstration.

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
        player = _descend_discriminator(
            ctx, player, ctx.across.mean(grads), player.stats
        )
    return player


def _logits(ctx, params, stats, d_inputs, images, fake=True):
    """Give D's output and forget what its statistics would become."""
    return _judge_one(
        ctx.gan.discriminator, params, stats, images, d_inputs.labels,
        discriminator_inputs.discriminator_keys(ctx, d_inputs, fake=fake),
    )[0]


def _loss_arguments(ctx):
    """Give the keyword arguments that both sides of the loss take."""
    arguments = {
        option.name: ctx.hyperparams.loss_options[option.name]
        for option in ctx.gan.loss.options
    }
    if ctx.gan.loss.memory is not None:
        arguments['memory'] = ctx.state.memory['loss']
    return arguments


def _own(gan, player):
    """Yield (place, name, penalty) of those that join a player's loss."""
    for place, name in enumerate(gan.penalties):
        penalty = penalties.PENALTIES[name]
        if penalty.player == player:
            yield place, name, penalty


def _penalties(ctx, player, context):
    """Sum a player's weighted penalties; returns (sum, metrics).

    A lazy one counts k times at each k-th step and not at all between.
    """
    total, metrics, lazy = 0.0, {}, dict(ctx.gan.lazy)
    for place, name, penalty in _own(ctx.gan, player):
        penalty_fn = functools.partial(
            penalty.fn, context, ctx.state.memory.get(name),
            jax.random.fold_in(
                ctx.key, discriminator_inputs.FIRST_PENALTY_KEY + place
            ),
        )
        weight = ctx.hyperparams.penalty_weights[name]
        if name not in lazy:
            joined, metrics[name] = _noted(penalty_fn())
        elif ctx.due is None:
            due = _is_due(ctx, name)
            nothing = jax.tree.map(
                lambda form: jnp.zeros(form.shape, form.dtype),
                jax.eval_shape(penalty_fn),
            )
            joined, value = _noted(
                jax.lax.cond(due, penalty_fn, lambda: nothing)
            )
            latest = ctx.state.memory['latest'][name]
            metrics[name] = jnp.where(due, value, latest)
        elif name in ctx.due:
            joined, metrics[name] = _noted(penalty_fn())
        else:
            continue
        if joined.notes is not None:
            metrics[NOTES + name] = joined.notes
        total += weight * lazy.get(name, 1) * joined.value
    return total, {f'{player[0]}/{n}': value for n, value in metrics.items()}


def _noted(given):
    """Return what a penalty gave as `penalties.Noted`, and its value."""
    if not isinstance(given, penalties.Noted):
        given = penalties.Noted(given, None)
    return given, given.value


def _is_due(ctx, name):
    """Return whether a lazy penalty joins, where the device decides."""
    return ctx.state.step % dict(ctx.gan.lazy)[name] == 0


def _remember(ctx, player, network, metrics):
    """Let a player's penalties look at its new parameters and the means.

    Adds to the metrics the last value of lazy penalties that did not join, and
    takes from them what penalties noted.
    """
    memory = dict(ctx.state.memory)
    for _, name, penalty in _own(ctx.gan, player):
        notes = metrics.pop(f'{player[0]}/{NOTES}{name}', None)
        given = (network.params, metrics)
        if notes is not None:
            new = penalty.update(memory[name], *given, notes)
            if name in dict(ctx.gan.lazy) and ctx.due is None:
                due = _is_due(ctx, name)
                new = algorithm.choose(due, new, memory[name])
            memory[name] = new
        elif penalty.update is not None and not penalty.notes:
            memory[name] = penalty.update(memory[name], *given)
        if name in dict(ctx.gan.lazy):
            latest = metrics.setdefault(
                f'{player[0]}/{name}', memory['latest'][name]
            )
            memory['latest'] = {**memory['latest'], name: latest}
    return memory


def over_microbatches(ctx, gradients, stats, batch):
    """Average gradients and metrics over the parts of a batch, in turn.

    Args:
        ctx: an `discriminator_inputs.UpdateContext`.
        gradients: (stats, *batch) -> (grads, (stats, metrics)).
        stats: passed from each part to the next.
        batch: tuple of arrays [b, ...], or None.

    Returns:
        As `gradients` of the whole batch.
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


def norm(tree):
    """Give the Euclidean norm of all values of a pytree, 0 where it is empty.

    By products: on CPU a sum of squares takes two kernels a leaf, and is the
    slower one.
    """
    squares = [
        jnp.vdot(leaf, leaf, precision='highest')
        for leaf in jax.tree.leaves(tree)
    ]
    return jnp.sqrt(sum(squares, jnp.float32(0)))


def scheduled_learning_rate(learning_rate, schedule, state):
    """Give the learning rate of this step."""
    return learning_rate if schedule is None else (
        learning_rate * schedule(state.step)
    )


def apply_updates(player, tx, grads, learning_rate, stats):
    """Apply one optax update to a player."""
    direction, opt_state = tx.update(grads, player.opt_state, player.params)
    params = jax.tree.map(
        lambda p, d: p - learning_rate * d, player.params, direction
    )
    return player.replace(params=params, stats=stats, opt_state=opt_state)


def _descend_discriminator(ctx, player, grads, stats):
    """Apply one optax update to D, and clip its weights where the GAN does."""
    gan, hyperparams = ctx.gan, ctx.hyperparams
    player = apply_updates(
        player, gan.d_tx, grads,
        scheduled_learning_rate(
            hyperparams.d_learning_rate, gan.d_schedule, ctx.state
        ), stats,
    )
    if not gan.clip_weights:
        return player
    return player.replace(params=transforms.clip_weights(
        player.params, hyperparams.clip_limit
    ))
