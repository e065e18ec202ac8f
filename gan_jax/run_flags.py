"""The flags of the tools on a run folder, and the run that they open.

Importing it defines --workdir, --step and --weights; what not every tool has is
defined by a function, with the tool's own default.
"""

from absl import flags

from gan_jax import errors

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


def open_run(argv):
    """Bring back the run that the flags name.

    Args:
        argv: what is left of the command line; surplus words are refused.

    Returns:
        (`game.GAN`, `game.GANState`).

    Raises:
        errors.UserError: one line that says what to mend.
    """
    from gan_jax import sampling
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if not WORKDIR.value:
        raise errors.ConfigError('name a run, such as --workdir=runs/dcgan')
    environment.use_compilation_cache()
    gan, state = sampling.load(WORKDIR.value, sampling.parse_step(STEP.value))
    sampling.check_weights(gan, state, WEIGHTS.value)
    return gan, state


def labels(flag, count):
    """Read --labels for so many images; None where it is not given.

    Raises:
        errors.ConfigError: for what is no list of numbers.
    """
    from gan_jax import sampling

    if flag.value is None:
        return None
    wanted = sampling.parse_seeds(flag.value, '--labels')
    return [wanted[place % len(wanted)] for place in range(count)]


def told(state):
    """Say which state of the run something is made of, for a last line."""
    return f'step {int(state.step)} ({WEIGHTS.value})'
