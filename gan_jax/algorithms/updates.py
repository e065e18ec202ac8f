"""One update of one player: forward, penalties, gradient, optimizer.

Pure, like all of algorithms/; means over devices reach it as a function.
"""

import functools

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms.game import D, G
from gan_jax.objectives import regularizers
from gan_jax.objectives import targets as labels_lib
from gan_jax.ops import augment
from gan_jax.ops import transforms

FAKE_LOGITS = 'g/fake_logits'  # for the loss's memory alone; not shown
NOTES = 'notes of '  # likewise, for that of a penalty


def discriminator_update(turn, images, slots, labels=None):
    """Update D once on real images and on fakes of the present G.

    Real and fake images pass through D apart, so that BatchNorm normalises
    each with its own statistics; together where the GAN says so.

    Args:
        turn: a `discriminator_inputs.Turn`.
        images: [b, H, W, C] uint8, real.
        slots: [b] int32.
        labels: [b] int32, or None.

    Returns:
        (`algorithm.TrainState` with a new discriminator, metrics).
    """
    gan, state = turn.gan, turn.state
    player, generator = state.players[D], state.players[G]

    def make(slots, labels):
        if turn.fakes is not None:
            return turn.fakes.z, turn.fakes.images
        z = discriminator_inputs.draw_latents(turn, slots)
        fakes, _ = discriminator_inputs.generate(
            turn, generator.params, generator.stats, z, slots, labels
        )
        return z, jax.lax.stop_gradient(fakes)

    if gan.history:
        z, fakes = make(slots, labels)
        fakes, history = discriminator_inputs.remind(turn, fakes, slots)

    def gradients(stats, images, slots, labels):
        shown = (z, fakes) if gan.history else make(slots, labels)
        sides = discriminator_inputs.sides_of(
            turn, generator.params, generator.stats, images, slots, labels,
            *shown,
        )
        objective = functools.partial(
            _discriminator_objective, turn, stats, sides
        )
        return jax.grad(objective, has_aux=True)(player.params)

    grads, (stats, metrics) = turn.across.mean(
        over_microbatches(
            turn, gradients, player.stats, (images, slots, labels)
        )
    )
    metrics['d/grad_norm'] = norm(grads)
    player = _descend_discriminator(turn, player, grads, stats)
    memory = _remember(turn, D, player, metrics)
    if gan.loss.memory is not None:
        memory['real_logits'] = metrics['d/real_logits']
    if gan.adaptive_augmentation:
        memory['augment'] = metrics['d/augment_probability'] = augment.adapt(
            memory['augment'], metrics['d/real_signs'],
            turn.hyperparams.augment_target, turn.hyperparams.augment_speed,
        )
    if gan.history:
        memory['history'] = history
    state = algorithm.replace_player(state, D, player)
    return state.replace(memory=memory), metrics


def generator_update(turn, images, slots, labels=None):
    """Update G once through the present D, then its moving average.

    D normalises with the statistics of this batch of fakes, and its running
    statistics stay as its own updates left them.

    Args:
        turn: a `discriminator_inputs.Turn`.
        images: [b, H, W, C] uint8, real; used by relativistic losses, by some
            penalties and by unrolling.
        slots: [b] int32.
        labels: [b] int32, or None.

    Returns:
        (`algorithm.TrainState` with a new generator and EMA, metrics).
    """
    gan, state = turn.gan, turn.state
    player = state.players[G]

    def gradients(stats, images, slots, labels):
        def objective(params, fakes, z):
            sides = discriminator_inputs.sides_of(
                turn, params, stats, images, slots, labels, z, fakes
            )
            opponent = _unroll(turn, sides)
            discriminator_fn = functools.partial(
                _logits, turn, opponent.params, opponent.stats, sides
            )
            real = discriminator_fn(sides.real_images, fake=False)
            fake = discriminator_fn(sides.fake_images)
            loss = gan.loss.generator(
                real.logits, fake.logits, **_loss_arguments(turn)
            )
            context = regularizers.Context(
                params=params,
                discriminator_fn=discriminator_fn,
                generator_fn=lambda z: discriminator_inputs.generate(
                    turn, params, stats, z, slots, labels
                )[0],
                generator_method=functools.partial(
                    _method, gan.generator, params, stats
                ),
                **_shown(turn, sides), real=real, fake=fake,
            )
            total, penalties = _penalties(turn, G, context)
            metrics = {'g/loss': loss, **penalties}
            if gan.loss.memory is not None:
                metrics[FAKE_LOGITS] = fake.logits.mean()
            return loss + total if penalties else loss, metrics

        def loss_fn(params):
            z = discriminator_inputs.draw_latents(turn, slots)
            fakes, new_stats = discriminator_inputs.generate(
                turn, params, stats, z, slots, labels
            )
            loss, metrics = objective(params, fakes, z)
            return loss, (new_stats, metrics)

        if turn.fakes is None:
            return jax.grad(loss_fn, has_aux=True)(player.params)
        z, fakes, new_stats, pullback = turn.fakes
        (own, slopes), metrics = jax.grad(
            objective, argnums=(0, 1), has_aux=True
        )(player.params, fakes, z)
        through, = pullback(slopes)
        return jax.tree.map(jnp.add, own, through), (new_stats, metrics)

    grads, (stats, metrics) = turn.across.mean(
        over_microbatches(
            turn, gradients, player.stats, (images, slots, labels)
        )
    )
    metrics['g/grad_norm'] = norm(grads)
    player = descend(
        player, gan.g_tx, grads,
        rate(turn.hyperparams.g_learning_rate, gan.g_schedule, state), stats,
    )
    memory = _remember(turn, G, player, metrics)
    if gan.loss.memory is not None:
        memory['loss'], more = gan.loss.memory.update(
            memory['loss'], memory['real_logits'], metrics.pop(FAKE_LOGITS),
            **turn.hyperparams.loss_options,
        )
        metrics.update(more)
    state = algorithm.replace_player(state, G, player)
    decay = transforms.ema_decay_at(state.step, turn.hyperparams.ema_decay)
    return algorithm.average(
        state.replace(memory=memory), (G,), decay
    ), metrics


def _discriminator_objective(turn, stats, sides, params):
    """Give (D's loss with its penalties, (new stats, metrics))."""
    gan = turn.gan
    arguments = _loss_arguments(turn)
    if gan.treat_labels:
        targets = labels_lib.draw(
            jax.random.fold_in(turn.key, discriminator_inputs.LABEL_KEY),
            sides.slots,
            turn.hyperparams.label_treatment,
        )
    real, fake, new_stats = _judge(turn, params, stats, sides)
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
    context = regularizers.Context(
        params=params,
        discriminator_fn=functools.partial(
            _logits, turn, params, stats, sides
        ),
        generator_fn=sides.generator_fn,
        **_shown(turn, sides), real=real, fake=fake,
    )
    total, penalties = _penalties(turn, D, context)
    return loss + total if penalties else loss, (
        new_stats, {**metrics, **penalties}
    )


def _shown(turn, sides):
    """Return what a penalty of either player is given of both sides."""
    return {
        'augmented': bool(turn.gan.augmentations),
        **{name: getattr(sides, name) for name in (
            'real_images', 'fake_images', 'raw_real_images', 'raw_fake_images',
            'view_fn', 'z', 'slots', 'z_slots', 'labels',
        )},
    }


def _judge(turn, params, stats, sides):
    """Pass both sides through D; returns (real, fake, new stats)."""
    discriminator = turn.gan.discriminator
    keys = functools.partial(
        discriminator_inputs.discriminator_keys, turn, sides
    )
    real = (sides.real_images, sides.labels, keys(fake=False))
    fake = (sides.fake_images, sides.labels, keys(fake=True))
    if turn.gan.together:
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), real, fake)
        output, stats = _judge_one(discriminator, params, stats, *both)
        count = len(sides.real_images)
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


def _unroll(turn, sides):
    """Give D as `unroll_steps` updates on these sides would make it.

    Each is D's own update, optimizer included, and G's gradient passes through
    all of them. One batch serves every step, as in the authors' demonstration.

    References:
        Metz et al., Unrolled Generative Adversarial Networks,
        https://arxiv.org/abs/1611.02163, 2016.
    """
    player = turn.state.players[D]
    for _ in range(turn.gan.unroll_steps):
        objective = functools.partial(
            _discriminator_objective, turn, player.stats, sides
        )
        grads, _ = jax.grad(objective, has_aux=True)(player.params)
        player = _descend_discriminator(
            turn, player, turn.across.mean(grads), player.stats
        )
    return player


def _logits(turn, params, stats, sides, images, fake=True):
    """Give D's output and forget what its statistics would become."""
    return _judge_one(
        turn.gan.discriminator, params, stats, images, sides.labels,
        discriminator_inputs.discriminator_keys(turn, sides, fake=fake),
    )[0]


def _loss_arguments(turn):
    """Give the keyword arguments that both sides of the loss take."""
    arguments = {
        option.name: turn.hyperparams.loss_options[option.name]
        for option in turn.gan.loss.options
    }
    if turn.gan.loss.memory is not None:
        arguments['memory'] = turn.state.memory['loss']
    return arguments


def _own(gan, player):
    """Give (place, name, regularizer) of those that join a player's loss."""
    for place, name in enumerate(gan.regularizers):
        regularizer = regularizers.REGULARIZERS[name]
        if regularizer.player == player:
            yield place, name, regularizer


def _penalties(turn, player, context):
    """Sum a player's weighted penalties; returns (sum, metrics).

    A lazy one counts k times at each k-th step and not at all between.
    """
    total, metrics, lazy = 0.0, {}, dict(turn.gan.lazy)
    for place, name, regularizer in _own(turn.gan, player):
        penalty = functools.partial(
            regularizer.penalty, context, turn.state.memory.get(name),
            jax.random.fold_in(
                turn.key, discriminator_inputs.FIRST_PENALTY_KEY + place
            ),
        )
        weight = turn.hyperparams.penalty_weights[name]
        if name not in lazy:
            joined, metrics[name] = _noted(penalty())
        elif turn.due is None:
            due = _is_due(turn, name)
            nothing = jax.tree.map(
                lambda form: jnp.zeros(form.shape, form.dtype),
                jax.eval_shape(penalty),
            )
            joined, value = _noted(
                jax.lax.cond(due, penalty, lambda: nothing)
            )
            latest = turn.state.memory['latest'][name]
            metrics[name] = jnp.where(due, value, latest)
        elif name in turn.due:
            joined, metrics[name] = _noted(penalty())
        else:
            continue
        if joined.notes is not None:
            metrics[NOTES + name] = joined.notes
        total += weight * lazy.get(name, 1) * joined.value
    return total, {f'{player[0]}/{n}': value for n, value in metrics.items()}


def _noted(given):
    """Return what a penalty gave as `regularizers.Noted`, and its value."""
    if not isinstance(given, regularizers.Noted):
        given = regularizers.Noted(given, None)
    return given, given.value


def _is_due(turn, name):
    """Return whether a lazy penalty joins, where the device decides."""
    return turn.state.step % dict(turn.gan.lazy)[name] == 0


def _remember(turn, player, network, metrics):
    """Let a player's penalties look at its new parameters and the means.

    Adds to the metrics the last value of lazy penalties that did not join, and
    takes from them what penalties noted.
    """
    memory = dict(turn.state.memory)
    for _, name, regularizer in _own(turn.gan, player):
        notes = metrics.pop(f'{player[0]}/{NOTES}{name}', None)
        given = (network.params, metrics)
        if notes is not None:
            new = regularizer.update(memory[name], *given, notes)
            if name in dict(turn.gan.lazy) and turn.due is None:
                due = _is_due(turn, name)
                new = algorithm.choose(due, new, memory[name])
            memory[name] = new
        elif regularizer.update is not None and not regularizer.notes:
            memory[name] = regularizer.update(memory[name], *given)
        if name in dict(turn.gan.lazy):
            latest = metrics.setdefault(
                f'{player[0]}/{name}', memory['latest'][name]
            )
            memory['latest'] = {**memory['latest'], name: latest}
    return memory


def over_microbatches(turn, gradients, stats, batch):
    """Average gradients and metrics over the parts of a batch, in turn.

    Args:
        turn: a `discriminator_inputs.Turn`.
        gradients: (stats, *batch) -> (grads, (stats, metrics)).
        stats: passed from each part to the next.
        batch: tuple of arrays [b, ...], or None.

    Returns:
        As `gradients` of the whole batch.
    """
    parts = turn.gan.num_microbatches
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

    (stats, total), _ = turn.loop(body, (stats, total), batch)
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


def rate(learning_rate, schedule, state):
    """Give the learning rate of this step."""
    return learning_rate if schedule is None else (
        learning_rate * schedule(state.step)
    )


def descend(player, tx, grads, learning_rate, stats):
    """Apply one optax update to a player."""
    direction, opt_state = tx.update(grads, player.opt_state, player.params)
    params = jax.tree.map(
        lambda p, d: p - learning_rate * d, player.params, direction
    )
    return player.replace(params=params, stats=stats, opt_state=opt_state)


def _descend_discriminator(turn, player, grads, stats):
    """Apply one optax update to D, and clip its weights where the GAN does."""
    gan, hyperparams = turn.gan, turn.hyperparams
    player = descend(
        player, gan.d_tx, grads,
        rate(hyperparams.d_learning_rate, gan.d_schedule, turn.state), stats,
    )
    if not gan.clip_weights:
        return player
    return player.replace(params=transforms.clip_weights(
        player.params, hyperparams.clip_limit
    ))
