"""Say what this machine has, to paste into a report of a fault.

    python -m gan_jax doctor
    python -m gan_jax doctor --data_dir=/data/tfds --workdir=runs
"""

from absl import flags

from gan_jax.cli import app

DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Folder that holds prepared TFDS sets; TFDS has a default.'
)
WORKDIR = flags.DEFINE_string(
    'workdir', 'runs', 'Where runs are left; its free space is told.'
)


def main(argv):
    """Print what there is; the exit code is 1 where a device fails."""
    from gan_jax.core import errors
    from gan_jax.data import tfds_source
    from gan_jax.runtime import cache
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    machine = environment.machine()
    for name, value in machine.items():
        app.say(f'{name:10}{value}')
    healthy = True
    for device, found in environment.try_devices():
        app.say(f'{"device":10}{device}: {found}')
        healthy = healthy and not found.startswith('FAILED')
    app.say(f'{"cache":10}{cache.folder() or "none"}')
    space = environment.free_space(WORKDIR.value)
    folder, names = tfds_source.prepared(DATA_DIR.value)
    sets = ', '.join(names) or 'no prepared set'
    app.say(f'{"disk":10}{space}')
    app.say(f'{"data":10}{folder}: {sets}')
    return 0 if healthy else 1
