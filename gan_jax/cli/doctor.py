"""Report versions, devices, disk space and data sets of this machine.

    python -m gan_jax doctor
    python -m gan_jax doctor --data_dir=/data/tfds --workdir=runs

Paste the output into a bug report. Each device multiplies two matrices as a
test; the exit code is 1 if one fails.
"""

from absl import flags

from gan_jax.cli import app

DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Folder of prepared TFDS data sets; by default that of '
    'TFDS.'
)
WORKDIR = flags.DEFINE_string(
    'workdir', 'runs', 'Folder of runs, whose free disk space is reported.'
)
DETERMINISTIC = flags.DEFINE_bool(
    'deterministic', False, "Test with the flags of `train --deterministic`."
)


def main(argv):
    """Print the report; return exit code 1 if a device fails."""
    from gan_jax.core import errors
    from gan_jax.data import tfds_source
    from gan_jax.runtime import cache
    from gan_jax.runtime import determinism
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if DETERMINISTIC.value:
        app.say(f'{"flags":10}{determinism.use(WORKDIR.value)}')
    machine = environment.machine()
    for name, value in machine.items():
        app.say(f'{name:10}{value}')
    healthy = True
    for device, result in environment.try_devices():
        app.say(f'{"device":10}{device}: {result}')
        healthy = healthy and not result.startswith('FAILED')
    if healthy:
        app.say(f'{"bits":10}{determinism.report()}')
    app.say(f'{"cache":10}{cache.folder() or "none"}')
    space = environment.free_space(WORKDIR.value)
    folder, names = tfds_source.prepared(DATA_DIR.value)
    sets = ', '.join(names) or 'no prepared data set'
    app.say(f'{"disk":10}{space}')
    app.say(f'{"data":10}{folder}: {sets}')
    return 0 if healthy else 1
