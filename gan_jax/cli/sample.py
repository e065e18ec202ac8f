"""Generate samples from a trained run and write them to files.

    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-63 --out=grid.png
    python -m gan_jax sample --workdir=runs/cgan --labels=7 --out=sevens.png
    python -m gan_jax sample --workdir=runs/dcgan --truncation=0.7 --out=a.npz
    python -m gan_jax sample --workdir=runs/biggan --truncation=0.7 \
        --standing=16 --out=grid.png
    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-999 --out=samples/
    python -m gan_jax sample --workdir=runs/dcgan --seeds=0-8 --between=10
    python -m gan_jax sample --workdir=runs/stylegan2 --truncation=0.7 \
        --noise=random --out=grid.png
    python -m gan_jax sample --workdir=runs/stylegan2 \
        --latents=reconstructed.npz --out=again.png

The same seed gives the same z in every tool. The ending of --out chooses what
is written: a grid (.png), arrays of samples, z, seeds and labels (.npz), the
samples alone as the data have them (.npy), or one file for each seed (a folder,
ending in /): a PNG, or an .npy file of a run on such files. The .npz of a
style-based generator has w too. --latents samples from such a file, or from one
of reconstruct, instead of from seeds. With --between the grid has one row of
interpolations from each seed to the next; `python -m gan_jax interpolate` does
the same with loops and films.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string(
    'seeds', '0-63', "Seeds to sample, such as '0-63' or '3,7,10-12'."
)
OUT = flags.DEFINE_string(
    'out', 'grid.png', 'File to write (.png, .npy or .npz), or a folder (ending'
    ' in /) for one file for each seed.'
)
COLUMNS = flags.DEFINE_integer(
    'columns', None, 'Columns of the grid; by default it is about square.',
    lower_bound=1
)
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()
NOISE = flags.DEFINE_enum(
    'noise', 'fixed', ['fixed', 'random'], 'Noise maps of a style-based '
    "generator: 'fixed' are its own, 'random' are drawn from the seed."
)
LATENTS = flags.DEFINE_string(
    'latents', None, 'An .npz file with z, or w of a style-based generator, to '
    'sample from instead of from --seeds.'
)
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

    if LATENTS.value is not None:
        _sample_latents(argv)
        return

    seeds = sampling.parse_seeds(SEEDS.value)
    if BETWEEN.value and len(seeds) < 2:
        raise errors.ConfigError(
            f'--between={BETWEEN.value} needs two or more --seeds'
        )
    for flag, default in (('standing', 0), ('noise', 'fixed')):
        value = flags.FLAGS[flag].value
        if BETWEEN.value and value != default:
            raise errors.ConfigError(f'--{flag}={value} is not for --between')
    if BETWEEN.value and not _is_grid():
        raise errors.ConfigError('--between needs a PNG file as --out')
    algorithm, state = run_flags.open_run(argv)
    options = {
        'labels': run_flags.labels(LABELS, len(seeds)),
        'weights': run_flags.WEIGHTS.value, **TRUNCATION(),
    }
    if BETWEEN.value:
        images = sampling.interpolate(
            algorithm, state, seeds, BETWEEN.value, path=PATH.value, **options
        )
    else:
        images = sampling.sample(
            algorithm, state, seeds, standing=STANDING.value,
            noise=NOISE.value, **options
        )
    arrays = {}
    if OUT.value.endswith('.npz'):
        arrays = _arrays(algorithm, state, seeds, options)
    _write(state, images, seeds, arrays)


def _sample_latents(argv):
    """Sample from the latents of the file --latents and write --out."""
    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.tools import latent_files

    for flag in ('seeds', 'labels', 'truncation', 'truncated_styles', 'noise',
                 'standing', 'between'):
        if flags.FLAGS[flag].present:
            raise errors.ConfigError(
                f'--{flag}={flags.FLAGS[flag].value} is not for --latents, '
                'which are used as they are'
            )
    algorithm, state = run_flags.open_run(argv)
    latents = latent_files.load(LATENTS.value, algorithm)
    images = sampling.generate(
        algorithm, state, latents.values, latents.labels,
        weights=run_flags.WEIGHTS.value,
    )
    arrays = {latents.name: latents.values}
    if latents.labels is not None:
        arrays['labels'] = latents.labels
    _write(state, images, range(len(images)), arrays)


def _arrays(algorithm, state, seeds, options):
    """Return the arrays that an .npz file has besides the samples."""
    from gan_jax.algorithms import latents
    from gan_jax.runs import sampling

    labels = latents.labels_from_seeds(algorithm, seeds, options['labels'])
    arrays = {} if labels is None else {'labels': labels}
    if algorithm.num_styles:
        arrays['w'] = sampling.styles_of(algorithm, state, seeds, **options)
    z = sampling.latents_of(algorithm, seeds, options['truncation'])
    return {'seeds': seeds, 'z': z, **arrays}


def _write(state, images, names, arrays):
    """Write samples to --out, and print that."""
    with app.written('--out', OUT.value):
        _save(images, names, arrays)
    app.say(
        f'Wrote {len(images)} samples of {run_flags.describe(state)} to '
        f'{OUT.value}'
    )


def _is_grid():
    """Return whether --out is a single picture."""
    return not OUT.value.endswith(('.npy', '.npz', '/'))


def _save(images, names, arrays):
    """Write the samples in the form that the ending of --out selects.

    Args:
        images: [N, H, W, C], or points [N, D].
        names: N ints, names of single files.
        arrays: {name: array}, of an .npz file.
    """
    from gan_jax.core import errors
    from gan_jax.runtime import writer

    units = run_flags.units()
    if OUT.value.endswith('.npy'):
        writer.save_array(OUT.value, _as_data(images, units))
    elif OUT.value.endswith('.npz'):
        writer.save_arrays(OUT.value, samples=images, **arrays)
    elif images.ndim == 2 and not _is_grid():
        raise errors.ConfigError(
            f'--out={OUT.value} needs a run on images, not points; use .npz'
        )
    elif not _is_grid() and units is not None:
        for name, image in zip(names, units.decode(images)):
            writer.save_array(f'{OUT.value}{name:06d}.npy', image)
    elif not _is_grid():
        for name, image in zip(names, writer.to_uint8(images)):
            writer.save_png(f'{OUT.value}{name:06d}.png', image)
    elif images.ndim == 2:
        writer.save_png(OUT.value, writer.scatter(images))
    else:
        columns = COLUMNS.value or BETWEEN.value
        writer.save_png(OUT.value, writer.grid(images, columns, units=units))


def _as_data(images, units):
    """Return samples as the data have them: pixels, points, or in units."""
    from gan_jax.runtime import writer

    if units is not None:
        return units.decode(images)
    return images if images.ndim == 2 else writer.to_uint8(images)
