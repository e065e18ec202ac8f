"""Flags that the tools on a run folder share, and the loading of that run.

Importing this module defines --workdir, --step and --weights. A flag that only
some tools have is defined by a function, which takes the tool's own default.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.core import errors

WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run to load.')
STEP = flags.DEFINE_string(
    'step', None, "Saved step to load, or 'best' if the run was trained with "
    'keep_best; the newest by default.'
)
WEIGHTS = app.define_weights()


def define_labels():
    """Define --labels; `labels` reads it."""
    return flags.DEFINE_string(
        'labels', None, "Classes to generate, such as '7' or '0-9', repeated "
        'for all seeds; by default seed modulo number of classes.'
    )


def define_truncation():
    """Define --truncation and --truncated_styles.

    Returns:
        A function that returns their values, as options of `latents.inputs`.
    """
    truncation = flags.DEFINE_float(
        'truncation', None, 'Largest absolute value of each coordinate of z: '
        'a smaller one gives less variety and fewer bad samples. For a '
        'style-based generator psi, which moves w towards the mean w: 0 is the '
        'mean, 1 changes nothing.'
    )
    truncated_styles = flags.DEFINE_integer(
        'truncated_styles', None, 'Number of styles that --truncation applies '
        'to, from the lowest resolution on; by default all.'
    )
    return lambda: {
        'truncation': truncation.value,
        'truncated_styles': truncated_styles.value,
    }


def define_space(text):
    """Define --space, 'z' or 'w'.

    Args:
        text: what is done in it, for the help.
    """
    return flags.DEFINE_enum(
        'space', 'z', ['z', 'w'], f"Space in which {text}: 'w' is that of the "
        'styles of a style-based generator.'
    )


def parse_styles(text, algorithm):
    """Parse numbers of styles such as '0-3'; None gives None.

    Raises:
        errors.ConfigError: if it is no list, or a style does not exist.
    """
    from gan_jax.algorithms import latents
    from gan_jax.runs import sampling

    if text is None:
        return None
    latents.check_styles(algorithm, f'--styles={text}')
    styles = sampling.parse_seeds(text, '--styles')
    if max(styles) >= algorithm.num_styles:
        raise errors.ConfigError(
            f'--styles={text}: the generator has the styles 0 to '
            f'{algorithm.num_styles - 1}'
        )
    return styles


def define_direction():
    """Define --direction of runs that translate images."""
    return flags.DEFINE_string(
        'direction', None, "Direction of a run that translates images: "
        "'a_to_b', which is the default, or 'b_to_a' of CycleGAN."
    )


def define_film(default):
    """Define --out of a tool that writes a grid or a film."""
    return flags.DEFINE_string(
        'out', default, 'File to write: a grid (.png) or a film (.gif, or '
        '.mp4 if ffmpeg is installed).'
    )


def define_fps():
    """Define --fps."""
    return flags.DEFINE_float(
        'fps', 15, 'Frames per second of a film.', lower_bound=0.1,
        upper_bound=100,
    )


def open_run(argv):
    """Load the run that the flags name.

    Args:
        argv: positional arguments, program name first; others are an error.

    Returns:
        (algorithm, its `algorithm.TrainState`).

    Raises:
        errors.UserError: if the run, step or weights cannot be loaded.
    """
    from gan_jax.runs import sampling
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if not WORKDIR.value:
        raise errors.ConfigError(
            '--workdir is missing, such as --workdir=runs/dcgan'
        )
    environment.prepare()
    step = sampling.parse_step(STEP.value)
    algorithm, state = sampling.load(WORKDIR.value, step)
    sampling.check_weights(algorithm, state, WEIGHTS.value)
    return algorithm, state


def labels(flag, count):
    """Return a label for each of `count` images, or None without --labels.

    Raises:
        errors.ConfigError: if --labels is not a list of numbers.
    """
    from gan_jax.runs import sampling

    if flag.value is None:
        return None
    classes = sampling.parse_seeds(flag.value, '--labels')
    return [classes[index % len(classes)] for index in range(count)]


def units():
    """Load the `fields.Units` of the run --workdir; None for pictures."""
    from gan_jax.runs import run_files

    return run_files.units(WORKDIR.value)


def describe(state):
    """Return the step and weights that an output was made with, as text."""
    return f'step {int(state.step)} ({WEIGHTS.value})'


def save_rows(out, images, fps):
    """Write images as a grid or a film, depending on the ending of --out.

    Args:
        out: value of --out.
        images: float [rows, columns, H, W, C] in [-1, 1], or points
            [rows, columns, D]. Each row of images is one frame of a film, its
            columns tiles of that frame.
        fps: frames per second.

    Raises:
        errors.ConfigError: for a film of points, or if `out` cannot be written.
    """
    from gan_jax.runtime import writer
    from gan_jax.tools import video

    flat = images.reshape(-1, *images.shape[2:])
    if flat.ndim == 2 and video.is_film(out):
        raise errors.ConfigError(
            f'--out={out}: points can be written only as PNG'
        )
    with app.written('--out', out):
        if video.is_film(out):
            video.save(out, [
                writer.grid(frame, units=units()) for frame in images
            ], fps)
        elif flat.ndim == 2:
            writer.save_png(out, writer.scatter(flat))
        else:
            writer.save_png(out, writer.grid(
                flat, images.shape[1], units=units()
            ))
