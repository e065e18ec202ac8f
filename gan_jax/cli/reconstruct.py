"""Bring images back to latents, and show what is made of those.

    python -m gan_jax reconstruct --workdir=runs/dcgan --images=0-9
    python -m gan_jax reconstruct --workdir=runs/dcgan --images=a.png,b.png

Baselines with an encoder use that; else z is searched for, from several starts,
and the best is kept. The picture has each image over its reconstruction; an
.npz file beside it holds z (or the encoder's codes), images and errors.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

IMAGES = flags.DEFINE_string(
    'images', '0-9', "Numbers of the run's data, image files joined by commas, "
    'or a folder or archive.'
)
SPLIT = flags.DEFINE_enum(
    'split', '', ['', 'test', 'train'], 'Of numbers; test where there is one.'
)
BY = flags.DEFINE_enum(
    'by', '', ['', 'encoder', 'search'], 'The encoder where there is one.'
)
RESTARTS = flags.DEFINE_integer(
    'restarts', 4, 'Starts of the search for each image.', lower_bound=1
)
STEPS = flags.DEFINE_integer(
    'steps', 300, 'Steps of each search.', lower_bound=1
)
LEARNING_RATE = flags.DEFINE_float(
    'learning_rate', 0.1, 'Of the search, at its start.', lower_bound=1e-6
)
PRIOR = flags.DEFINE_float(
    'prior', 0, 'Weight of the mean square of z in the loss of the search.',
    lower_bound=0
)
SEED = flags.DEFINE_integer(
    'seed', 0, 'Of the starts.', lower_bound=0, upper_bound=2**31 - 1
)
LABELS = flags.DEFINE_string(
    'labels', None, 'Class of each image, over and over; by default that of '
    'the data.'
)
OUT = flags.DEFINE_string('out', 'reconstructed.png', 'PNG file to write.')


def main(argv):
    """Reconstruct --images of --workdir into --out."""
    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.tools import inversion

    if not OUT.value.lower().endswith('.png'):
        raise errors.ConfigError(f'--out={OUT.value} does not end in .png')
    labels = None if LABELS.value is None else (
        sampling.parse_seeds(LABELS.value, '--labels')
    )
    algorithm, state = run_flags.open_run(argv)
    given = inversion.given(
        run_flags.WORKDIR.value, IMAGES.value, SPLIT.value, labels
    )
    by = BY.value or ('encoder' if algorithm.encodes else 'search')
    if by == 'encoder':
        found = inversion.encode(algorithm, state, given.images)
    else:
        found = inversion.search(
            algorithm, state, given.images, given.labels, inversion.Asked(
                RESTARTS.value, STEPS.value, LEARNING_RATE.value, PRIOR.value,
                SEED.value,
            ), run_flags.WEIGHTS.value,
        )
    with app.written('--out', OUT.value):
        _save(given, found, by)
    _tell(given, found, by, state)


def _save(given, found, by):
    """Write the picture, and the arrays beside it."""
    from gan_jax.runtime import writer
    from gan_jax.tools import inversion

    if given.images.ndim == 2:
        picture = writer.scatter(found.images, given.images)
    else:
        picture = writer.grid(*inversion.pairs(given.images, found.images))
    writer.save_png(OUT.value, picture)
    writer.save_arrays(
        OUT.value[:-len('.png')] + '.npz',
        **{'z' if by == 'search' else 'codes': found.codes},
        images=given.images, reconstructions=found.images, error=found.error,
        **({} if given.labels is None else {'labels': given.labels}),
    )


def _tell(given, found, by, state):
    """Print the error of each image, of many the mean alone."""
    if len(given.names) <= 20:
        for name, error in zip(given.names, found.error):
            app.say(f'{name}: {error:.4f}')
    weights = run_flags.told(state) if by == 'search' else (
        f'step {int(state.step)} (raw)'
    )
    app.say(
        f'{len(given.names)} images of {given.source} by {by}, {weights}: root '
        f'mean square error {found.error.mean():.4f}, in {OUT.value}'
    )
