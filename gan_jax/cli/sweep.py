"""Train many GANs at once: several seeds, and a grid of numbers.

    python -m gan_jax sweep --config=configs/mixtures.py \
        --config.population=5 --grid=d_optimizer.learning_rate=1e-3,1e-4

All combinations, each with `population` seeds, are rows of one compiled step.
Each leaves a run folder below --workdir, for `gan_jax.sample` and the others;
sweep.json and the table printed have their numbers, the best first. The same
command goes on after a kill. Networks are dense on CPU; data are points made on
the fly, or images in memory.
"""

from absl import flags

from gan_jax.cli import app

app.define_config()
WORKDIR = flags.DEFINE_string('workdir', 'runs/sweep', 'Folder of the sweep.')
RESTART = flags.DEFINE_bool(
    'restart', False, 'Begin anew; what --workdir holds is set aside in it.'
)
GRID = flags.DEFINE_multi_string(
    'grid', [], 'key=value,value; may be given several times.'
)


def main(argv):
    """Train what --config and --grid say, in --workdir."""
    config = app.config_of(argv, 'mixtures')

    from gan_jax.training import sweep

    grid = sweep.parse_grid(GRID.value, config)
    told = sweep.train(
        config, WORKDIR.value, grid, restart=RESTART.value
    )
    sweep.show(config, WORKDIR.value, told)
