"""Train several seeds and hyper-parameters at once, in one compiled step.

    python -m gan_jax sweep --config=configs/mixtures.py \\
        --config.population=5 --grid=d_optimizer.learning_rate=1e-3,1e-4

Every combination of the --grid values is trained with `population` seeds. Keys
of --grid are numbers such as learning rates, weights of penalties or noise.
Each run gets its own folder below --workdir, which all other commands read.
Metrics are printed as a table, best first, and written to sweep.json. Run the
same command again to continue after an interruption. On CPU only dense networks
are supported; the data must be points or images in memory.
"""

from absl import flags

from gan_jax.cli import app

app.define_config()
WORKDIR = flags.DEFINE_string('workdir', 'runs/sweep', 'Folder of all runs.')
RESTART = flags.DEFINE_bool(
    'restart', False, 'Start again; existing files are moved to a folder '
    'before-<n> in --workdir.'
)
GRID = flags.DEFINE_multi_string(
    'grid', [], 'Values to try for one config key, as KEY=VALUE,VALUE'
)


def main(argv):
    """Train --config with all values of --grid in --workdir."""
    config = app.config_of(argv, 'mixtures')

    from gan_jax.training import sweep

    grid = sweep.parse_grid(GRID.value, config)
    results = sweep.train(
        config, WORKDIR.value, grid, restart=RESTART.value
    )
    sweep.show(config, WORKDIR.value, results)
