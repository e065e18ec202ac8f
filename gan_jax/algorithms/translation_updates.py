"""One step of CycleGAN or pix2pix: its losses and updates.

Generators move first, then discriminators, with gradients at the state before
the step. Pure.
"""

import functools
import math

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import freezing
from gan_jax.algorithms import history
from gan_jax.algorithms import updates
from gan_jax.networks import convolutions
from gan_jax.objectives import penalties
from gan_jax.ops import augment
from gan_jax.ops import averaging

DOMAINS = A, B = 'a', 'b'  # the sources
DIRECTIONS = {'a_to_b': (A, B), 'b_to_a': (B, A)}  # (source, target)
LARGE = 2**15  # pixels of the largest pass of several batches on CPU


def players_of(direction):
    """Return the names of a direction's generator and discriminator."""
    return f'generator_{direction}', f'discriminator_{DIRECTIONS[direction][1]}'


def back(direction):
    """Return the other direction."""
    return '_to_'.join(reversed(DIRECTIONS[direction]))


def update(ctx, images, sample_index):
    """Update all networks once.

    The gradients of generators and discriminators are those at the state before
    the step. This equals the authors' order, generators first: they update the
    discriminators on fakes from before the generators' update.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        images: {source: [b, H, W, C] uint8}.
        sample_index: [b] int32.

    Returns:
        (`algorithm.TrainState` with networks, averages and histories updated,
        metrics).
    """
    this, state, hyperparams = ctx.gan, ctx.state, ctx.hyperparams
    g_names, d_names = zip(*map(players_of, this.directions))
    params = {name: player.params for name, player in state.players.items()}

    def gradients(stats, images, sample_index):
        real = _real_images(ctx, images, sample_index)
        g_grads, (stats, metrics, fakes) = jax.grad(
            functools.partial(
                _generator_objective, ctx, stats, params, real, sample_index
            ), has_aux=True,
        )({name: params[name] for name in g_names})
        fakes, memory = _replay(ctx, fakes, sample_index)
        d_grads, (stats, d_metrics) = jax.grad(
            functools.partial(
                _discriminator_objective, ctx, stats, real, fakes, sample_index
            ), has_aux=True,
        )({name: params[name] for name in d_names})
        return {**g_grads, **d_grads}, (
            stats, {**metrics, **d_metrics, **memory}
        )

    grads, (stats, metrics) = updates.over_microbatches(
        ctx, gradients,
        {name: player.stats for name, player in state.players.items()},
        (images, sample_index),
    )
    memory = {name: metrics.pop(name) for name in state.memory}
    grads, stats, metrics = ctx.collectives.mean((grads, stats, metrics))
    grads = {
        name: freezing.without(this.frozen, name, own)
        for name, own in grads.items()
    }
    players = {}
    for letter, names in (('g', g_names), ('d', d_names)):
        metrics[f'{letter}/grad_norm'] = updates.global_norm(
            {name: grads[name] for name in names}
        )
        rate = updates.scheduled_learning_rate(
            getattr(hyperparams, f'{letter}_learning_rate'),
            getattr(this, f'{letter}_schedule'), state,
        )
        for name in names:
            players[name] = freezing.hold(
                this.frozen, name, state.players[name], updates.apply_updates(
                    state.players[name], getattr(this, f'{letter}_tx'),
                    grads[name], rate, stats[name],
                ),
            )
    state = state.replace(players=players, memory=memory)
    decay = averaging.ema_decay_at(state.step, hyperparams.ema_decay)
    return algorithm.update_averages(
        state, g_names, decay, this.frozen
    ), metrics


def _real_images(ctx, images, sample_index):
    """Scale images to [-1, 1]; crop and mirror them, pairs alike."""
    this, real = ctx.gan, {}
    for place, (name, source) in enumerate(images.items()):
        key = ctx.key if this.paired else jax.random.fold_in(ctx.key, place)
        size = this._shape(name)[:2]
        if source.shape[1:3] != size:
            source = augment.random_crop(
                source, jax.random.fold_in(key, discriminator_inputs.CROP_KEY),
                sample_index, size,
            )
        if name in this.flip:
            source = augment.mirror(
                source, jax.random.fold_in(key, discriminator_inputs.FLIP_KEY),
                sample_index,
            )
        real[name] = algorithm.to_unit_range(source)
    return real


def _generator_objective(ctx, stats, fixed, real, sample_index, params):
    """Return the loss of all generators, with statistics, metrics and fakes.

    For each direction: the adversarial loss, and cycle |F(G(x)) - x| + identity
    |G(y) - y| for CycleGAN, l1 |G(x) - y| for pix2pix, plus penalties. x are
    images of the source, y of the target, F is the other generator, and |.| a
    mean over values.

    References:
        Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent
        Adversarial Networks, https://arxiv.org/abs/1703.10593, 2017, equations
        1 to 3 and section 5.2; Isola et al., Image-to-Image Translation with
        Conditional Adversarial Networks, https://arxiv.org/abs/1611.07004,
        2016, equation 4.
    """
    this, weights = ctx.gan, ctx.hyperparams
    stats, metrics, fakes, same, total = dict(stats), {}, {}, {}, 0.0
    count = iter(range(3 * len(this.directions)))  # of the generators' passes

    def noise_keys():
        key = jax.random.fold_in(
            ctx.key, discriminator_inputs.NETWORK_NOISE_KEY
        )
        own = ctx._replace(key=jax.random.fold_in(key, next(count)))
        return discriminator_inputs.sample_keys(own, 0, sample_index)

    def translate(direction, *batches):
        module = this.generators[this.directions.index(direction)]
        name, outputs = players_of(direction)[0], []
        for group in _passes(stats[name], batches, batches):
            keys = None
            if algorithm.takes_keys(module):
                keys = jnp.concatenate([noise_keys() for _ in group])
            images, stats[name] = algorithm.forward(
                module, (params[name], stats[name]),
                algorithm.Inputs(jnp.concatenate(group), keys=keys),
            )
            outputs += jnp.split(images, len(group))
        return outputs

    def error(name, images, others):
        metrics[f'g/{name}'] = value = jnp.abs(images - others).mean()
        return value

    for direction in this.directions:
        source, target = DIRECTIONS[direction]
        kept = [real[target]] if this.identity and not this.paired else []
        fakes[target], *same[target] = translate(
            direction, real[source], *kept
        )
    for place, direction in enumerate(this.directions):
        source, target = DIRECTIONS[direction]
        generator, player = players_of(direction)
        judge = functools.partial(
            _judge, ctx, place, fixed[player], real[source], stats[player]
        )
        output = {
            'real': judge(real[target])[0], 'fake': judge(fakes[target])[0]
        }
        loss = this.loss.generator(
            output['real'].logits, output['fake'].logits,
            **(weights.loss_options or {}),
        )
        metrics[f'g/gan_{target}'] = loss
        total += loss + _penalty(
            ctx, place, 'generator', judge, params[generator], real, fakes,
            sample_index, output, metrics,
        )
        if this.paired:
            total += weights.l1 * error('l1', fakes[target], real[target])
            continue
        cycled, = translate(back(direction), fakes[target])
        total += weights.cycle * error(
            f'cycle_{source}', cycled, real[source]
        )
        for image in same[target]:
            total += weights.identity * error(
                f'identity_{target}', image, real[target]
            )
    metrics['g/loss'] = total
    return total, (stats, metrics, jax.lax.stop_gradient(fakes))


def _replay(ctx, fakes, sample_index):
    """Return fakes of which some are past ones, and {owner: new history}."""
    this, memory = ctx.gan, {}
    if not this.history:
        return fakes, memory
    fakes = dict(fakes)
    for place, direction in enumerate(this.directions):
        _, target = DIRECTIONS[direction]
        _, player = players_of(direction)
        key = jax.random.fold_in(ctx.key, discriminator_inputs.HISTORY_KEY)
        fakes[target], memory[player] = history.replay(
            ctx.state.memory[player], fakes[target],
            jax.random.fold_in(key, place), sample_index,
            ctx.hyperparams.history_share, ctx.collectives.gather,
        )
    return fakes, memory


def _discriminator_objective(ctx, stats, real, fakes, sample_index, params):
    """Return the sum of the discriminators' losses, statistics and metrics."""
    this = ctx.gan
    stats, metrics, total = dict(stats), {}, 0.0
    for place, direction in enumerate(this.directions):
        source, target = DIRECTIONS[direction]
        _, name = players_of(direction)
        judge = functools.partial(
            _judge, ctx, place, params[name], real[source]
        )
        images, output = {'real': real[target], 'fake': fakes[target]}, {}
        for kinds in _passes(stats[name], images.values(), tuple(images)):
            judged, stats[name] = judge(
                stats[name], jnp.concatenate([images[kind] for kind in kinds])
            )
            parts = jax.tree.map(
                lambda value: value.reshape(
                    len(kinds), -1, *value.shape[1:]
                ), judged,
            )
            for number, kind in enumerate(kinds):
                output[kind] = jax.tree.map(lambda part: part[number], parts)
        for kind, own in output.items():
            metrics[f'd/{kind}_logits_{target}'] = own.logits.mean()
        loss = this.loss.discriminator(
            output['real'].logits, output['fake'].logits,
            **(ctx.hyperparams.loss_options or {}),
        )
        metrics[f'd/loss_{target}'] = loss
        total += loss + _penalty(
            ctx, place, 'discriminator', functools.partial(judge, stats[name]),
            params[name], real, fakes, sample_index, output, metrics,
        )
    metrics['d/loss'] = sum(
        metrics[f'd/loss_{DIRECTIONS[d][1]}'] for d in this.directions
    )
    return total, (stats, metrics)


def _passes(stats, batches, names):
    """Group the batches that a network is applied to in one pass.

    All at once take less time than one after the other, but for large batches
    on CPU. A batch norm, whose statistics are those of a pass, has a pass for
    each.

    Args:
        stats: of the network.
        batches: arrays [b, H, W, C].
        names: of the batches, or themselves.

    Returns:
        List of tuples of names.
    """
    pixels = sum(math.prod(batch.shape[:3]) for batch in batches)
    large = convolutions.on_cpu() and pixels > LARGE
    if large or algorithm.BATCH_STATS in stats:
        return [(name,) for name in names]
    return [names]


def _judge(ctx, place, params, source, stats, images):
    """Return a discriminator's output on images, and its new statistics.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        place: of the direction.
        params, stats: of the discriminator of the target.
        source: [b, H, W, C], images of the source.
        images: [k b, H, W, C'], k images of the target for each of them.
    """
    condition = None
    if ctx.gan.paired:
        condition = jnp.concatenate([source] * (len(images) // len(source)))
    return algorithm.forward(
        ctx.gan.discriminators[place], (params, stats),
        algorithm.Inputs(images, condition=condition),
    )


def _penalty(
    ctx, place, player, judge, params, real, fakes, sample_index, output,
    metrics,
):
    """Return the sum of a player's penalties; add them to the metrics."""
    _, target = DIRECTIONS[ctx.gan.directions[place]]
    context = penalties.Context(
        params=params,
        discriminator_fn=lambda images, fake=True: judge(images)[0],
        real_images=real[target], fake_images=fakes[target],
        raw_real_images=real[target], raw_fake_images=fakes[target],
        preprocess_fn=lambda images, fake: images,
        sample_index=sample_index, z_sample_index=sample_index,
        real=output['real'], fake=output['fake'],
    )
    total, values = updates.sum_penalties(
        ctx._replace(key=jax.random.fold_in(ctx.key, place)), player, context
    )
    metrics |= {f'{name}_{target}': value for name, value in values.items()}
    return total
