"""Write samples from a run folder.

    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-63 --out=grid.png
    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-8 --between=10
    python -m gan_jax sample --workdir=runs/dcgan --truncation=0.7 --out=a.npz
    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-999 --out=samples/

The second has a row for each way from one seed to the next. The third keeps
arrays: samples, z, seeds and labels. The last writes one PNG for each seed.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string('seeds', '0-63', "Such as '0-63' or '3,7,10-12'.")
OUT = flags.DEFINE_string(
    'out', 'grid.png', 'PNG file to write; an .npz file; or, ending in /, a '
    'folder of one PNG for each seed.'
)
COLUMNS = flags.DEFINE_integer(
    'columns', None, 'Images in a row; a square grid by default.', lower_bound=1
)
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()
BETWEEN = flags.DEFINE_integer(
    'between', None, 'Images of the way from each seed to the next.',
    lower_bound=2,
)
PATH = flags.DEFINE_enum(
    'path', 'slerp', ['lerp', 'slerp'], 'Arc or line, for --between.'
)


def main(argv):
    """Sample --seeds from --workdir into --out."""
    from gan_jax.core import errors
    from gan_jax.runs import sampling

    seeds = sampling.parse_seeds(SEEDS.value)
    if BETWEEN.value and len(seeds) < 2:
        raise errors.ConfigError(
            f'--between={BETWEEN.value} needs two or more --seeds'
        )
    if BETWEEN.value and not _is_grid():
        raise errors.ConfigError('--between needs an --out that is a PNG file')
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
        images = sampling.sample(algorithm, state, seeds, **options)
    with app.written('--out', OUT.value):
        _save(algorithm, seeds, images, options['labels'])
    told = run_flags.told(state)
    app.say(f'{len(images)} samples of {told} are in {OUT.value}')


def _is_grid():
    return not OUT.value.endswith(('.npz', '/'))


def _save(algorithm, seeds, images, labels):
    """Write what the ending of --out asks for."""
    from gan_jax.algorithms import latents
    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.runtime import writer

    if OUT.value.endswith('.npz'):
        labels = latents.labels_of(algorithm, seeds, labels)
        writer.save_arrays(
            OUT.value, samples=images, seeds=seeds,
            z=sampling.latents_of(algorithm, seeds, TRUNCATION.value),
            **({} if labels is None else {'labels': labels}),
        )
    elif images.ndim == 2 and not _is_grid():
        raise errors.ConfigError(
            f'--out={OUT.value} asks for images, and these are points'
        )
    elif not _is_grid():
        for seed, image in zip(seeds, writer.to_uint8(images)):
            writer.save_png(f'{OUT.value}{seed:06d}.png', image)
    elif images.ndim == 2:
        writer.save_png(OUT.value, writer.scatter(images))
    else:
        columns = COLUMNS.value or BETWEEN.value
        writer.save_png(OUT.value, writer.grid(images, columns))
