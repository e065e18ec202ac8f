"""The flags of the tools on a run folder, and the run that they open.

Importing it defines --workdir, --step and --weights; what not every tool has is
defined by a function, with the tool's own default.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.tools import video

WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.')
STEP = flags.DEFINE_string(
    'step', None, "A saved step, or 'best' of a run with keep_best; newest by "
    'default.'
)
WEIGHTS = flags.DEFINE_enum(
    'weights', 'ema', ['ema', 'raw', 'snapshots'],
    "The generator's moving average, itself, or its snapshots' average."
)


def define_labels():
    """Define --labels; `labels` reads it."""
    return flags.DEFINE_string(
        'labels', None, "Classes asked for, such as '7' or '0-9', over and "
        'over; by default seed modulo number of classes.'
    )


def define_truncation():
    """Define --truncation."""
    return flags.DEFINE_float(
        'truncation', None, 'Largest size of each value of z: less variety, '
        'fewer odd samples.', lower_bound=1e-3
    )


def define_film(default):
    """Define --out of what can be shown as a grid or a film."""
    return flags.DEFINE_string(
        'out', default, 'PNG file to write, or a film: .gif, or .mp4 where '
        'ffmpeg is installed.'
    )


def define_fps():
    """Define --fps."""
    return flags.DEFINE_float(
        'fps', 15, 'Images in a second of a film.', lower_bound=0.1,
        upper_bound=100,
    )


def open_run(argv):
    """Bring back the run that the flags name.

    Args:
        argv: what is left of the command line; surplus words are refused.

    Returns:
        (the algorithm, its `algorithm.TrainState`).

    Raises:
        errors.UserError: one line that says what to mend.
    """
    from gan_jax.runs import sampling
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if not WORKDIR.value:
        raise errors.ConfigError('name a run, such as --workdir=runs/dcgan')
    environment.prepare()
    step = sampling.parse_step(STEP.value)
    algorithm, state = sampling.load(WORKDIR.value, step)
    sampling.check_weights(algorithm, state, WEIGHTS.value)
    return algorithm, state


def labels(flag, count):
    """Read --labels for so many images; None where it is not given.

    Raises:
        errors.ConfigError: for what is no list of numbers.
    """
    from gan_jax.runs import sampling

    if flag.value is None:
        return None
    wanted = sampling.parse_seeds(flag.value, '--labels')
    return [wanted[place % len(wanted)] for place in range(count)]


def told(state):
    """Say which state of the run something is made of, for a last line."""
    return f'step {int(state.step)} ({WEIGHTS.value})'


def save_rows(out, images, fps):
    """Write images as a grid or, by the ending of --out, as a film.

    Args:
        out: value of --out.
        images: float [rows, columns, H, W, C] in [-1, 1]; of a film each row is
            a frame and its columns are tiles. Or points [rows, columns, D].
        fps: frames in a second.

    Raises:
        errors.ConfigError: for a film of points; where it cannot be written.
    """
    from gan_jax.runtime import writer

    flat = images.reshape(-1, *images.shape[2:])
    if flat.ndim == 2 and video.is_film(out):
        raise errors.ConfigError(f'--out={out}: points are shown as PNG alone')
    with app.written('--out', out):
        if video.is_film(out):
            video.save(out, [writer.grid(frame) for frame in images], fps)
        elif flat.ndim == 2:
            writer.save_png(out, writer.scatter(flat))
        else:
            writer.save_png(out, writer.grid(flat, images.shape[1]))
