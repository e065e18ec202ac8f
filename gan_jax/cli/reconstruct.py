"""Find the latents of images, and draw their reconstructions.

    python -m gan_jax reconstruct --workdir=runs/dcgan --images=0-9
    python -m gan_jax reconstruct --workdir=runs/dcgan --images=a.png,b.png

Autoencoders use their encoder. For a GAN, Adam searches for the z whose image
has the smallest squared error, from several random starts, and the best one is
kept. The picture has each image above its reconstruction. An .npz file with the
same name holds z (or the encoder's codes), images, reconstructions and errors.
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
RESTARTS = flags.DEFINE_integer(
    'restarts', 4, 'Random starts of the search for each image.',
    lower_bound=1
)
STEPS = flags.DEFINE_integer(
    'steps', 300, 'Updates of z in each search.', lower_bound=1
)
LEARNING_RATE = flags.DEFINE_float(
    'learning_rate', 0.1, 'Initial learning rate of the search.',
    lower_bound=1e-6
)
PRIOR = flags.DEFINE_float(
    'prior', 0, "Weight of z's mean square in the search's loss; it pulls z "
    'towards 0.',
    lower_bound=0
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

    if not OUT.value.lower().endswith('.png'):
        raise errors.ConfigError(f'--out={OUT.value} must end in .png')
    labels = None if LABELS.value is None else (
        sampling.parse_seeds(LABELS.value, '--labels')
    )
    algorithm, state = run_flags.open_run(argv)
    targets = inversion.load_targets(
        run_flags.WORKDIR.value, IMAGES.value, SPLIT.value, labels
    )
    method = BY.value or ('encoder' if algorithm.encodes else 'search')
    if method == 'encoder':
        inverted = inversion.encode(algorithm, state, targets.images)
    else:
        inverted = inversion.search(
            algorithm, state, targets.images, targets.labels,
            inversion.SearchOptions(
                RESTARTS.value, STEPS.value, LEARNING_RATE.value, PRIOR.value,
                SEED.value,
            ), run_flags.WEIGHTS.value,
        )
    with app.written('--out', OUT.value):
        _save(targets, inverted, method)
    _print(targets, inverted, method, state)


def _save(targets, inverted, method):
    """Write the picture and the .npz file beside it."""
    from gan_jax.runtime import writer
    from gan_jax.tools import inversion

    if targets.images.ndim == 2:
        picture = writer.scatter(inverted.images, targets.images)
    else:
        picture = writer.grid(*inversion.pairs(targets.images, inverted.images))
    writer.save_png(OUT.value, picture)
    writer.save_arrays(
        OUT.value[:-len('.png')] + '.npz',
        **{'z' if method == 'search' else 'codes': inverted.codes},
        images=targets.images, reconstructions=inverted.images,
        error=inverted.error,
        **({} if targets.labels is None else {'labels': targets.labels}),
    )


def _print(targets, inverted, method, state):
    """Print the mean error, and that of each image if there are few."""
    if len(targets.names) <= 20:
        for name, error in zip(targets.names, inverted.error):
            app.say(f'{name}: {error:.4f}')
    weights = run_flags.describe(state) if method == 'search' else (
        f'step {int(state.step)} (raw)'
    )
    app.say(
        f'{len(targets.names)} images of {targets.source} by {method}, '
        f'{weights}: root mean square error {inverted.error.mean():.4f}, in '
        f'{OUT.value}'
    )
