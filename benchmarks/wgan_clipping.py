"""Measure the effect of the clip limit on a WGAN critic, on the ring.

    python benchmarks/wgan_clipping.py --out=runs/wgan_clipping.png

It trains configs/mixtures.py:ring as a Wasserstein GAN, five critic updates for
each of G, with the critic's weights clipped to [-c, c] (RMSProp, decay 0.99)
and, for comparison, with the gradient penalty of WGAN-GP (Adam, b1 0, b2 0.9,
weight 0.1 as in its authors' toy code). All learning rates are 5e-4
(--learning_rate). With 5e-5, as in WGAN, no c reached a W1 below 0.45 in 2,000
steps. There is one seed.

The largest absolute weight is checked after every step; the exit code is 1 if
it ever exceeds c. At 25 marks it measures, on 500 real points, always the same,
and 500 points of the current raw generator:

  W1        exact earth mover's distance; `floor` is that of other real points
  gap       E f(x) - E f(G(z)) of the critic f, on the same points
  slope     largest ||grad f|| at the real points, the fakes and random points
            between them: a lower bound of f's Lipschitz constant
  estimate  gap / slope, an upper bound of what f certifies. With the true
            constant it could not exceed W1.
  signal    mean ||grad f|| at the fakes: the gradient that G receives

Modes and high quality are of 2,500 points at the end. A second run trains the
critic alone against the initial G. Its gap grows until the weights reach their
limit, after about c / learning rate updates for a weight that starts at 0. The
number of updates to 80 % of the largest gap shows how long that takes.

A vanishing signal need not stop G here, as RMSProp divides a gradient by its
size. With c = 0.001, epsilon 1e-20 instead of 1e-8 ended at the same W1 after
1,500 steps (0.468 and 0.465), while G with plain SGD did not move (0.741 after
300 steps, as at the start).
"""

import functools
import pathlib
import sys
import time
from typing import Any, NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D
from gan_jax.algorithms import latents
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.metrics import modes
from gan_jax.runtime import environment
from gan_jax.runtime import writer

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'mixtures.py'
PENALTY = {
    'g_optimizer.b1': 0.0, 'g_optimizer.b2': 0.9,
    'd_optimizer.b1': 0.0, 'd_optimizer.b2': 0.9,
    'penalties.gradient_penalty.weight': 0.1,
}
SETTINGS = {
    **{f'c={c:g}': {
        'clip_weights': c,
        'g_optimizer.name': 'rmsprop', 'd_optimizer.name': 'rmsprop',
    } for c in (0.001, 0.01, 0.1, 1.0)},
    'penalty': PENALTY,
}
# Okabe and Ito's colours, apart for the colour-blind too.
COLOURS = dict(zip(
    SETTINGS, ('#cc79a7', '#0072b2', '#009e73', '#d55e00', '#000000')
))
GREY = '#777777'

OUT = flags.DEFINE_string('out', 'runs/wgan_clipping.png', 'PNG to write.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
CHOSEN = flags.DEFINE_multi_enum(
    'setting', list(SETTINGS), list(SETTINGS), 'Setting to train'
)
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 3000, 'Generator updates.', lower_bound=1
)
CRITIC_STEPS = flags.DEFINE_integer(
    'critic_steps', 3000, 'Critic updates with a frozen G.', lower_bound=1
)
LEARNING_RATE = flags.DEFINE_float('learning_rate', 5e-4, 'Learning rate.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed of weights, z and points.')

NUM_POINTS = 500  # real and fake points at each mark
NUM_SAMPLES = 2500  # points in which modes are counted
LEVEL = 0.8  # share of the largest gap with a frozen G


class Setup(NamedTuple):
    """Objects of one setting, and the points to measure on.

    Attributes:
        gan, hyperparams, feed, mixture: as from `builders`.
        config: config of the setting.
        real, other: [500, 2], points that are not trained on.
        z: [2500, latent_size].
        share: [500, 1] in [0, 1], positions between real and fake points.
    """

    gan: adversarial.Adversarial
    hyperparams: game.Hyperparams
    feed: Any
    mixture: Any
    config: Any
    real: np.ndarray
    other: np.ndarray
    z: jax.Array
    share: np.ndarray


def configure(name):
    """Return the recipe's config with the changes of a setting."""
    config = recipes.load(RECIPE, 'ring')
    config.update_from_flattened_dict(SETTINGS[name])
    config.loss.name, config.d_steps, config.seed = 'wasserstein', 5, SEED.value
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = LEARNING_RATE.value
    validation.validate(config)
    return config


def prepare(config):
    """Build a `Setup` of a config."""
    dataset = builders.dataset(config)
    points = np.asarray(dataset.images)
    z_key = jax.random.fold_in(jax.random.key(config.seed), 3)
    return Setup(
        gan=builders.algorithm(
            config, builders.single_source_specs(points.shape[1:])
        ),
        hyperparams=builders.hyperparams(config),
        feed=builders.feed(config, dataset),
        mixture=builders.mixture(config),
        config=config,
        real=points[:NUM_POINTS],
        other=points[NUM_POINTS:2 * NUM_POINTS],
        z=latents.draw(z_key, jnp.arange(NUM_SAMPLES), config.latent_size),
        share=np.random.RandomState(config.seed).uniform(
            size=(NUM_POINTS, 1)
        ).astype(np.float32),
    )


def earth_movers(points, other):
    """Compute the earth mover's distance W1 of two equally large sets.

    min over permutations p of 1/N sum_i ||x_i - y_p(i)||_2, exact, O(N^3).

    Args:
        points: [N, D].
        other: [N, D].

    Returns:
        float >= 0.
    """
    from scipy import optimize
    from scipy.spatial import distance

    costs = distance.cdist(points, other)
    return float(costs[optimize.linear_sum_assignment(costs)].mean())


def measure(critic_fn, real, fake, share):
    """Measure a critic on as many real points as fakes.

    Args:
        critic_fn: points [N, D] -> [N].
        real: [N, D].
        fake: [N, D].
        share: [N, 1] in [0, 1].

    Returns:
        {'gap', 'slope', 'estimate', 'signal'}, scalars; see the module.
    """

    def norms(points):
        grads = jax.grad(lambda x: critic_fn(x).sum())(points)
        return jnp.linalg.norm(grads, axis=1)

    at_fakes = norms(fake)
    at_mixtures = norms(share * real + (1 - share) * fake)
    slope = jnp.concatenate([norms(real), at_fakes, at_mixtures]).max()
    gap = critic_fn(real).mean() - critic_fn(fake).mean()
    return {
        'gap': gap, 'slope': slope, 'signal': at_fakes.mean(),
        'estimate': gap / jnp.maximum(slope, jnp.finfo(slope.dtype).tiny),
    }


@functools.partial(jax.jit, static_argnums=0)
def look(gan, state, real, z, share):
    """Return (fakes [2500, 2] of the raw generator, results of `measure`)."""

    def critic_fn(points):
        variables = {'params': state.players[D].params}
        return gan.discriminator.apply(variables, points, train=False).logits

    fake = gan.apply(gan.weights(state, 'raw'), algorithm.Inputs(z))
    return fake, measure(critic_fn, real, fake[:len(real)], share)


def largest_weight(state):
    """Return the critic's largest absolute weight."""
    leaves = jax.tree.leaves(state.players[D].params)
    return jnp.stack([jnp.abs(leaf).max() for leaf in leaves]).max()


def whole_step(gan, hyperparams, state, batch, key, number):
    """Run a step of both players, with the signature of `critic_step`."""
    del number  # the state counts these
    return adversarial.train_step(gan, hyperparams, state, batch, key)


def follow(setup, move, draws, marks):
    """Run updates one by one, checking the largest weight after each.

    Args:
        setup: `Setup`.
        move: `whole_step` or `adversarial.critic_step`.
        draws: real batches of a call.
        marks: increasing ints, numbers of calls after which to yield.

    Yields:
        (mark, `algorithm.TrainState`, largest absolute weight of the critic so
        far, including the start).
    """
    config, gan, feed = setup.config, setup.gan, setup.feed
    sample_index = jnp.arange(config.batch_size, dtype=jnp.int32)

    @jax.jit
    def advance(state, largest, hyperparams, key, fed, number):
        points, _ = feed.select(feed.resident, fed)
        batch = algorithm.Batch(
            {builders.REAL: algorithm.Source(points)}, sample_index
        )
        state, _ = move(gan, hyperparams, state, batch, key, number)
        return state, jnp.maximum(largest, largest_weight(state))

    # Keys and start as in train.py.
    init_key, key = (
        jax.random.fold_in(jax.random.key(config.seed), n) for n in (0, 1)
    )
    state = jax.jit(lambda key: game.init(
        gan, key, setup.real.shape[1:], config.clip_weights
    ))(init_key)
    largest, done = largest_weight(state), 0
    for mark in marks:
        for number in range(done, mark):
            state, largest = advance(
                state, largest, setup.hyperparams, key,
                feed.read(number * draws, draws), np.int32(number),
            )
        done = mark
        yield mark, state, float(largest)


def train(name):
    """Train one setting, then its critic alone.

    Returns:
        dict: 'game' and 'frozen', lists of measurements at marks, and the
        numbers of the table.
    """
    began = time.monotonic()
    setup = prepare(configure(name))
    seen = functools.partial(
        look, setup.gan, real=setup.real, z=setup.z, share=setup.share
    )
    play, frozen, weights = [], [], []
    marks = np.unique(np.linspace(0, NUM_STEPS.value, 25).astype(int))
    draws = setup.gan.draws
    for mark, state, largest in follow(setup, whole_step, draws, marks):
        fake, values = seen(state)
        fake = np.asarray(fake)
        w1 = earth_movers(setup.real, fake[:NUM_POINTS])
        play.append({'step': int(mark), 'w1': w1, **_floats(values)})
        weights.append(largest)
    recovered = modes.recovered(fake, setup.mixture.means, setup.mixture.std)
    marks = np.unique(np.geomspace(1, CRITIC_STEPS.value, 60).round())
    marks = [0, *marks.astype(int)]
    for mark, state, largest in follow(
            setup, adversarial.critic_step, 1, marks):
        frozen.append({'step': int(mark), **_floats(seen(state)[1])})
        weights.append(largest)
    return {
        'limit': SETTINGS[name].get('clip_weights'),
        'largest_weight': max(weights),
        'floor': earth_movers(setup.real, setup.other),
        'modes': recovered['modes'], 'high_quality': recovered['high_quality'],
        'updates': updates_to_level(frozen),
        'seconds': time.monotonic() - began,
        'game': play, 'frozen': frozen,
    }


def _floats(values):
    return {name: float(value) for name, value in values.items()}


def updates_to_level(frozen):
    """Return the first mark with `LEVEL` of the largest gap."""
    level = LEVEL * max(record['gap'] for record in frozen)
    return next(r['step'] for r in frozen if r['gap'] >= level)


def exceeded(table):
    """List the settings with a weight beyond their limit, or NaN."""
    return [
        name for name, row in table.items() if row['limit'] is not None
        and not row['largest_weight'] <= np.float32(row['limit'])
    ]


def lay_out(table):
    """Format the numbers as a table, one line for each setting."""
    columns = (
        'setting', 'max|w|', 'estimate', 'W1', 'floor', 'signal', 'modes',
        'quality', 'frozen/W1', 'updates', 'seconds',
    )
    lines = [''.join(f'{column:>10}' for column in columns)]
    for name, row in table.items():
        end, start = row['game'][-1], row['game'][0]
        share = row['frozen'][-1]['estimate'] / start['w1']
        lines.append(
            f'{name:>10}{row["largest_weight"]:>10.6g}'
            f'{end["estimate"]:>10.3f}{end["w1"]:>10.3f}{row["floor"]:>10.3f}'
            f'{end["signal"]:>10.2g}{row["modes"]:>10}'
            f'{row["high_quality"]:>10.3f}{share:>10.2f}{row["updates"]:>10}'
            f'{row["seconds"]:>10.0f}'
        )
    return '\n'.join(lines)


def draw(table):
    """Draw the training above, and G's signal and the frozen run below.

    Args:
        table: {setting: result of `train`}.

    Returns:
        uint8 [820, 1200, 3].
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(12, 8.2), dpi=100, layout='constrained')
    upper, lower = figure.subfigures(2, 1, height_ratios=(5, 6))
    _draw_game(upper.subplots(
        1, len(table), sharex=True, sharey=True, squeeze=False
    )[0], table)
    upper.legend(loc='outside upper center', ncols=3, handles=[
        Line2D([], [], color=GREY, label='estimate: gap / slope of the critic'),
        Line2D([], [], color=GREY, linestyle='--', label='exact W1'),
        Line2D([], [], color=GREY, linestyle=':', label='floor: real to real'),
    ], title='(a) estimate of the critic, and exact distance')
    _draw_rest(lower.subplots(1, 3), table)
    lower.legend(loc='outside lower center', ncols=len(table), handles=[
        Line2D([], [], color=COLOURS[name], linewidth=2, label=name)
        for name in table
    ])
    return writer.rasterize(figure)


def _column(records, name):
    return [record[name] for record in records]


def _draw_game(row, table):
    for axes, (name, measured) in zip(row, table.items()):
        records, colour = measured['game'], COLOURS[name]
        steps = _column(records, 'step')
        axes.plot(steps, _column(records, 'estimate'), color=colour)
        axes.plot(steps, _column(records, 'w1'), color=colour, linestyle='--')
        axes.axhline(measured['floor'], color=GREY, linestyle=':')
        axes.set(title=name, xlabel='G updates')
        axes.xaxis.get_major_locator().set_params(nbins=3)
        axes.grid(alpha=0.3)


def _draw_rest(row, table):
    signal, estimate, gap = row
    for name, measured in table.items():
        style = {'color': COLOURS[name]}
        records, frozen = measured['game'], measured['frozen']
        signal.plot(
            _column(records, 'step'), _column(records, 'signal'), **style
        )
        marks, gaps = _column(frozen, 'step'), _column(frozen, 'gap')
        estimate.plot(marks[1:], _column(frozen, 'estimate')[1:], **style)
        gap.plot(marks[1:], np.divide(gaps, max(gaps))[1:], **style)
    w1 = records[0]['w1']
    estimate.axhline(w1, color=GREY, linestyle='--')
    estimate.annotate(
        'exact W1', (0.02, w1), xycoords=('axes fraction', 'data'),
        xytext=(0, -4), textcoords='offset points', va='top', color=GREY,
    )
    gap.axhline(LEVEL, color=GREY, linestyle=':')
    signal.set(
        title='(b) mean |grad f| at the fakes', yscale='log',
        xlabel='G updates',
    )
    estimate.set(title='(c) G frozen: estimate = gap / slope', ylim=(0, None))
    gap.set(title='(d) G frozen: gap / its largest', ylim=(0, 1.05))
    for axes in (estimate, gap):
        axes.set(xscale='log', xlabel='critic updates')
    for axes in row:
        axes.grid(alpha=0.3)


def main(argv):
    """Train all settings, print the table and write the picture."""
    del argv
    environment.prepare()
    table = {}
    for name in CHOSEN.value:
        table[name] = train(name)
        print(f'{name}: {table[name]["seconds"]:.0f} s', flush=True)
    print(
        f'\nring, {NUM_STEPS.value} steps, learning rate '
        f'{LEARNING_RATE.value:g}; G frozen: {CRITIC_STEPS.value} critic '
        'updates\n' + lay_out(table)
    )
    if JSON.value:
        writer.write_json(JSON.value, table)
    writer.save_png(OUT.value, draw(table))
    print(f'\nWrote {OUT.value}')
    beyond = exceeded(table)
    if beyond:
        print(f'error: weights beyond the limit: {beyond}', file=sys.stderr)
    return 1 if beyond else 0


if __name__ == '__main__':
    app.run(main)
