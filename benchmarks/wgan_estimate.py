"""Plot the WGAN critic's estimate over samples of training.

    python benchmarks/wgan_estimate.py --workdir=runs/wgan_estimate \
        --out=runs/wgan_estimate.png

It shows whether the estimate falls as samples get better. It trains
configs/wgan.py on the digits, or reads the finished run in --workdir, and draws
the critic's estimate E f(x) - E f(G(z)) at each logged step above samples of
the averaged generator, as figure 3 of Arjovsky et al., Wasserstein GAN,
https://arxiv.org/abs/1701.07875, 2017. The estimate is minus D's loss on the
batch of its last update, before that update. It is the distance up to a factor,
the largest slope of a critic with clipped weights.
"""

import json
import pathlib

from absl import flags
import numpy as np

from gan_jax.cli import app
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.training import train

WORKDIR = flags.DEFINE_string(
    'workdir', 'runs/wgan_estimate', 'Folder of the run.'
)
OUT = flags.DEFINE_string('out', 'runs/wgan_estimate.png', 'PNG to write.')
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 2000, 'Generator updates, a multiple of 4.', lower_bound=12
)

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'wgan.py'
LOOKS = 4  # grids of samples, at even intervals
SHARE = 0.1  # of the run, over which start and end are averaged
WINDOW = 9  # logged steps of the running median
COLOUR, GREY = '#0072b2', '#999999'


def configure():
    """Return the recipe's config, logged often and saved at each grid."""
    if NUM_STEPS.value % LOOKS:
        raise errors.ConfigError(
            f'--num_steps={NUM_STEPS.value} is not a multiple of {LOOKS}'
        )
    config = recipes.load(RECIPE)
    config.num_steps = NUM_STEPS.value
    config.log_every = max(1, NUM_STEPS.value // 200)
    config.checkpoint_every = NUM_STEPS.value // LOOKS
    config.keep_checkpoints, config.sample_every = LOOKS, 0
    return config


def estimates(workdir):
    """Read (steps, estimates) of a run folder, two arrays [N]."""
    lines = (pathlib.Path(workdir) / 'metrics.jsonl').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return (
        np.array([record['step'] for record in records]),
        -np.array([record['d/loss'] for record in records]),
    )


def smooth(values):
    """Compute the running median."""
    half = WINDOW // 2
    return np.array([
        np.median(values[max(0, place - half):place + half + 1])
        for place in range(len(values))
    ])


def ends(steps, values):
    """Compute the means over the first and the last tenth of the steps."""
    length = SHARE * steps[-1]
    return (
        float(values[steps <= length].mean()),
        float(values[steps > steps[-1] - length].mean()),
    )


def draw(steps, values, grids):
    """Draw the curve above grids of samples.

    Args:
        steps, values: [N].
        grids: list of (step, uint8 [H, W, 1]).

    Returns:
        uint8 [height, width, 3].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=100, layout='constrained')
    curve, pictures = figure.subfigures(2, 1, height_ratios=(3, 2))
    axes = curve.subplots()
    axes.plot(steps, values, color=GREY, linewidth=0.8, label='one batch')
    axes.plot(
        steps, smooth(values), color=COLOUR, linewidth=2,
        label=f'median of {WINDOW}',
    )
    axes.set(
        xlabel='generator updates', ylabel='E f(x) - E f(G(z))', ylim=(0, None)
    )
    axes.legend(frameon=False)
    places = pictures.subplots(1, len(grids), squeeze=False)[0]
    for axes, (step, grid) in zip(places, grids):
        axes.imshow(grid[..., 0], cmap='gray', vmin=0, vmax=255)
        axes.set_title(f'step {step}', fontsize=9)
        axes.axis('off')
    return writer.rasterize(figure)


def main(argv):
    """Train or read the run; print its start and end; write the picture."""
    del argv
    config = configure()
    train.train(config, WORKDIR.value)
    steps, values = estimates(WORKDIR.value)
    first, last = ends(steps, values)
    print(
        f'\nestimate: {first:.3f} over the first tenth of {steps[-1]} steps, '
        f'{last:.3f} over the last; largest {values.max():.3f}'
    )
    grids = []
    for look in range(1, LOOKS + 1):
        step = look * config.checkpoint_every
        gan, state = sampling.load(WORKDIR.value, step)
        samples = sampling.sample(gan, state, range(25))
        grids.append((step, writer.grid(samples)))
    writer.save_png(OUT.value, draw(steps, values, grids))
    print(f'Wrote {OUT.value}')


if __name__ == '__main__':
    app.run(main)
