"""Generate samples from a trained run and write them to files.

    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-63 --out=grid.png
    python -m gan_jax sample --workdir=runs/cgan --labels=7 --out=sevens.png
    python -m gan_jax sample --workdir=runs/dcgan --truncation=0.7 --out=a.npz
    python -m gan_jax sample --workdir=runs/biggan --truncation=0.7 \
        --standing=16 --out=grid.png
    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-999 --out=samples/
    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-8 --between=10

The same seed gives the same z in every tool. The ending of --out chooses what
is written: a grid (.png), arrays of samples, z, seeds and labels (.npz), or one
PNG for each seed (a folder, ending in /). With --between the grid has one row
of interpolations from each seed to the next; `python -m gan_jax interpolate`
does the same with loops and films.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string(
    'seeds', '0-63', "Seeds to sample, such as '0-63' or '3,7,10-12'."
)
OUT = flags.DEFINE_string(
    'out', 'grid.png', 'File to write (.png or .npz), or a folder (ending in '
    '/) for one PNG for each seed.'
)
COLUMNS = flags.DEFINE_integer(
    'columns', None, 'Columns of the grid; by default it is about square.',
    lower_bound=1
)
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()
STANDING = flags.DEFINE_integer(
    'standing', 0, "Batches of 64 other samples whose statistics BatchNorm "
    'gets (BigGAN, with --truncation); 0 keeps the running ones.',
    lower_bound=0, upper_bound=10_000,
)
BETWEEN = flags.DEFINE_integer(
    'between', None, 'Images from each seed to the next, both included; the '
    'command interpolate has more options.', lower_bound=2,
)
PATH = flags.DEFINE_enum(
    'path', 'slerp', ['lerp', 'slerp'], "Path in latent space for --between: "
    "'slerp' is an arc, 'lerp' a straight line."
)


def main(argv):
    """Sample --seeds from the run --workdir and write --out."""
    from gan_jax.core import errors
    from gan_jax.runs import sampling

    seeds = sampling.parse_seeds(SEEDS.value)
    if BETWEEN.value and len(seeds) < 2:
        raise errors.ConfigError(
            f'--between={BETWEEN.value} needs two or more --seeds'
        )
    if BETWEEN.value and STANDING.value:
        raise errors.ConfigError(
            f'--standing={STANDING.value} is not for --between'
        )
    if BETWEEN.value and not _is_grid():
        raise errors.ConfigError('--between needs a PNG file as --out')
    algorithm, state = run_flags.open_run(argv)
    options = {
        'labels': run_flags.labels(LABELS, len(seeds)),
        'weights': run_flags.WEIGHTS.value, 'truncation': TRUNCATION.value,
    }
    if BETWEEN.value:
        images = sampling.interpolate(
            algorithm, state, seeds, BETWEEN.value, path=PATH.value, **options
        )
    else:
        images = sampling.sample(
            algorithm, state, seeds, standing=STANDING.value, **options
        )
    with app.written('--out', OUT.value):
        _save(algorithm, seeds, images, options['labels'])
    app.say(
        f'Wrote {len(images)} samples of {run_flags.describe(state)} to '
        f'{OUT.value}'
    )


def _is_grid():
    """Return whether --out is a single picture."""
    return not OUT.value.endswith(('.npz', '/'))


def _save(algorithm, seeds, images, labels):
    """Write the samples in the form that the ending of --out selects."""
    from gan_jax.algorithms import latents
    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.runtime import writer

    if OUT.value.endswith('.npz'):
        labels = latents.labels_from_seeds(algorithm, seeds, labels)
        writer.save_arrays(
            OUT.value, samples=images, seeds=seeds,
            z=sampling.latents_of(algorithm, seeds, TRUNCATION.value),
            **({} if labels is None else {'labels': labels}),
        )
    elif images.ndim == 2 and not _is_grid():
        raise errors.ConfigError(
            f'--out={OUT.value} needs a run on images, not points; use .npz'
        )
    elif not _is_grid():
        for seed, image in zip(seeds, writer.to_uint8(images)):
            writer.save_png(f'{OUT.value}{seed:06d}.png', image)
    elif images.ndim == 2:
        writer.save_png(OUT.value, writer.scatter(images))
    else:
        columns = COLUMNS.value or BETWEEN.value
        writer.save_png(OUT.value, writer.grid(images, columns))
