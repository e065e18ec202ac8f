"""Train a GAN.

    python -m gan_jax.main --config=configs/dcgan.py
    python -m gan_jax.main --config=configs/dcgan.py:mnist --config.d_steps=2

The same command continues from the newest checkpoint of its run folder. So does
`python -m gan_jax train --workdir=…`, with the config of that folder.
"""

from absl import flags

from gan_jax.cli import app

app.define_config()
WORKDIR = flags.DEFINE_string(
    'workdir', '', 'Folder of the run; runs/<recipe and changes> by default.'
)
RESTART = flags.DEFINE_bool(
    'restart', False, 'Start again; existing files are moved to a folder '
    'before-<n> in --workdir.'
)
OVERRIDE_CONFIG = flags.DEFINE_bool(
    'override_config', False, 'Continue a run although its config has changed.'
)
MULTIHOST = flags.DEFINE_bool(
    'multihost', False, 'Join the other processes of a cluster (TPU pod, SLURM)'
    ' before training; each runs this same command.'
)
DETERMINISTIC = flags.DEFINE_bool(
    'deterministic', False, 'The same bits from start to start on a GPU, where '
    'XLA else times kernels and takes the fastest at each start. Slower.'
)


def main(argv):
    """Train the config of --config in --workdir."""
    config = app.config_of(argv)

    from ml_collections import config_flags

    from gan_jax.config import run_identity
    from gan_jax.runs import run_folder
    from gan_jax.runtime import determinism
    from gan_jax.runtime import parallel
    from gan_jax.training import sweep
    from gan_jax.training import train

    recipe = config_flags.get_config_filename(flags.FLAGS['config'])
    overrides = config_flags.get_override_values(flags.FLAGS['config'])
    name = run_identity.run_name(recipe, overrides)
    workdir = WORKDIR.value or f'runs/{name}'
    if DETERMINISTIC.value:
        done = determinism.use(run_folder.at(workdir))
        app.say(f'Deterministic: {done}')
    if MULTIHOST.value:
        parallel.initialize_hosts()
    if config.population > 1:
        results = sweep.train(config, workdir, restart=RESTART.value)
        return sweep.show(config, workdir, results)
    train.train(
        config, workdir, restart=RESTART.value,
        override_config=OVERRIDE_CONFIG.value,
    )


if __name__ == '__main__':
    app.run(main)
