"""Find the latents of images, and draw their reconstructions.

    python -m gan_jax reconstruct --workdir=runs/dcgan --images=0-9
    python -m gan_jax reconstruct --workdir=runs/dcgan --images=a.png,b.png
    python -m gan_jax reconstruct --workdir=runs/stylegan2 --space=w+

Autoencoders use their encoder. For a GAN, Adam searches for the z whose image
has the smallest squared error, from several random starts, and the best one is
kept. The picture has each image above its reconstruction. An .npz file with the
same name holds z (w with --space=w and w+, or the encoder's codes), images,
reconstructions and errors. `python -m gan_jax sample --latents` samples from
it.

Of a style-based generator --space=w finds one w for all styles, from the mean
of w on; --space=w+ finds a w for each style, which comes nearer but lies less
among the w of samples.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

IMAGES = flags.DEFINE_string(
    'images', '0-9', "Images to reconstruct: indices into the run's data, "
    'image files joined by commas, or a folder or archive.'
)
SPLIT = flags.DEFINE_enum(
    'split', '', ['', 'test', 'train'], "Split that the indices refer to; by "
    "default 'test' if images were held out, else 'train'."
)
BY = flags.DEFINE_enum(
    'by', '', ['', 'encoder', 'search'], "Method; by default 'encoder' if the "
    "run has one, else 'search'."
)
SPACE = flags.DEFINE_enum(
    'space', 'z', ['z', 'w', 'w+'], "Space of the search: 'w' and 'w+' are "
    'those of the styles of a style-based generator.'
)
RESTARTS = flags.DEFINE_integer(
    'restarts', None, 'Random starts of the search for each image; by default '
    '4, in w and w+ 1.',
    lower_bound=1
)
STEPS = flags.DEFINE_integer(
    'steps', None, 'Updates in each search; by default 300, in w and w+ 1000.',
    lower_bound=1
)
LEARNING_RATE = flags.DEFINE_float(
    'learning_rate', 0.1, 'Initial learning rate of the search.',
    lower_bound=1e-6
)
PRIOR = flags.DEFINE_float(
    'prior', 0, "Weight of z's mean square in the search's loss; it pulls z "
    'towards 0, or w towards its mean.',
    lower_bound=0
)
FEATURE_WEIGHT = flags.DEFINE_float(
    'feature_weight', 0, "Weight of the distance of the discriminator's "
    "features in the search's loss, beside that of pixels.", lower_bound=0
)
SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of the random starts.', lower_bound=0,
    upper_bound=2**31 - 1
)
LABELS = flags.DEFINE_string(
    'labels', None, "Class of each image, such as '7' or '0-9', repeated for "
    'all images; by default that of the data.'
)
OUT = flags.DEFINE_string('out', 'reconstructed.png', 'PNG file to write.')


def main(argv):
    """Reconstruct --images by the run --workdir and write --out."""
    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.tools import inversion
    from gan_jax.tools import projection

    if not OUT.value.lower().endswith('.png'):
        raise errors.ConfigError(f'--out={OUT.value} must end in .png')
    projects = SPACE.value in projection.SPACES
    if projects and LABELS.value is not None:
        raise errors.ConfigError(
            f'--labels={LABELS.value} has no effect with --space='
            f'{SPACE.value}: the class is part of w'
        )
    labels = None if LABELS.value is None else (
        sampling.parse_seeds(LABELS.value, '--labels')
    )
    algorithm, state = run_flags.open_run(argv)
    targets = inversion.load_targets(
        run_flags.WORKDIR.value, IMAGES.value, SPLIT.value, labels
    )
    method = BY.value or (
        'encoder' if algorithm.encodes and not projects else 'search'
    )
    inverted = projection.invert(
        algorithm, state, targets.images, targets.labels, space=SPACE.value,
        by=method, weights=run_flags.WEIGHTS.value, options=_options(
            projection.OPTIONS if projects else inversion.SearchOptions()
        ),
    )
    with app.written('--out', OUT.value):
        _save(targets, inverted, method)
    _print(targets, inverted, method, algorithm, state)


def _options(default):
    """Return the `inversion.SearchOptions` that the flags name."""
    named = {
        'restarts': RESTARTS.value, 'steps': STEPS.value,
        'learning_rate': LEARNING_RATE.value, 'prior': PRIOR.value,
        'seed': SEED.value, 'feature_weight': FEATURE_WEIGHT.value,
    }
    return default._replace(
        **{name: value for name, value in named.items() if value is not None}
    )


def _save(targets, inverted, method):
    """Write the picture and the .npz file beside it."""
    from gan_jax.runtime import writer
    from gan_jax.tools import inversion

    if targets.images.ndim == 2:
        picture = writer.scatter(inverted.images, targets.images)
    else:
        picture = writer.grid(
            *inversion.pairs(targets.images, inverted.images),
            units=run_flags.units(),
        )
    writer.save_png(OUT.value, picture)
    writer.save_arrays(
        OUT.value[:-len('.png')] + '.npz',
        **{_name_of_codes(method): inverted.codes},
        images=targets.images, reconstructions=inverted.images,
        error=inverted.error,
        **({} if targets.labels is None else {'labels': targets.labels}),
    )


def _name_of_codes(method):
    """Return the name of the array of codes in the .npz file."""
    if method == 'encoder':
        return 'codes'
    return 'z' if SPACE.value == 'z' else 'w'


def _print(targets, inverted, method, algorithm, state):
    """Print the mean error, and that of each image if there are few."""
    if len(targets.names) <= 20:
        for name, error in zip(targets.names, inverted.error):
            app.say(f'{name}: {error:.4f}')
    weights = run_flags.describe(state) if method == 'search' else (
        f'step {int(state.step)} ({algorithm.code_weights})'
    )
    app.say(
        f'{len(targets.names)} images of {targets.source} by {method}, '
        f'{weights}: root mean square error {inverted.error.mean():.4f}, in '
        f'{OUT.value}'
    )
