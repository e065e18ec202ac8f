"""Write a grid of samples from a run folder.

    python -m gan_jax.sample --workdir=runs/dcgan --seeds=0-63 --out=grid.png
    python -m gan_jax.sample --workdir=runs/dcgan --seeds=0-8 --between=10

The second has a row for each way from one seed to the next.
"""

from absl import flags

from gan_jax import command

WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.')
SEEDS = flags.DEFINE_string('seeds', '0-63', "Such as '0-63' or '3,7,10-12'.")
OUT = flags.DEFINE_string('out', 'grid.png', 'PNG file to write.')
STEP = flags.DEFINE_string(
    'step', None, "A saved step, or 'best' of a run with keep_best; newest by "
    'default.'
)
WEIGHTS = flags.DEFINE_enum(
    'weights', 'ema', ['ema', 'raw', 'snapshots'],
    "The generator's moving average, itself, or its snapshots' average."
)
COLUMNS = flags.DEFINE_integer(
    'columns', None, 'Images in a row; a square grid by default.', lower_bound=1
)
LABELS = flags.DEFINE_string(
    'labels', None, "Classes asked for, such as '7' or '0-9', over and over; "
    'by default seed modulo number of classes.'
)
BETWEEN = flags.DEFINE_integer(
    'between', None, 'Images of the way from each seed to the next.',
    lower_bound=2,
)
PATH = flags.DEFINE_enum(
    'path', 'slerp', ['lerp', 'slerp'], 'Arc or line, for --between.'
)


def main(argv):
    """Sample --seeds from --workdir into --out."""
    del argv
    from gan_jax import errors
    from gan_jax import sampling
    from gan_jax.runtime import environment
    from gan_jax.runtime import writer

    if not WORKDIR.value:
        raise errors.ConfigError('name a run, such as --workdir=runs/dcgan')
    seeds = sampling.parse_seeds(SEEDS.value)
    environment.use_compilation_cache()
    gan, state = sampling.load(
        WORKDIR.value, sampling.parse_step(STEP.value)
    )
    labels = None
    if LABELS.value is not None:
        wanted = sampling.parse_seeds(LABELS.value, '--labels')
        labels = [wanted[place % len(wanted)] for place in range(len(seeds))]
    columns = COLUMNS.value
    if BETWEEN.value:
        if len(seeds) < 2:
            raise errors.ConfigError(
                f'--between={BETWEEN.value} needs two or more --seeds'
            )
        images = sampling.between(
            gan, state, seeds, BETWEEN.value, path=PATH.value, labels=labels,
            weights=WEIGHTS.value,
        )
        columns = columns or BETWEEN.value
    else:
        images = sampling.sample(
            gan, state, seeds, labels=labels, weights=WEIGHTS.value
        )
    picture = writer.scatter(images) if images.ndim == 2 else (
        writer.grid(images, columns)
    )
    command.save_png('--out', OUT.value, picture)
    print(
        f'{len(images)} samples of step {int(state.step)} '
        f'({WEIGHTS.value}) are in {OUT.value}'
    )


if __name__ == '__main__':
    command.run(main)
