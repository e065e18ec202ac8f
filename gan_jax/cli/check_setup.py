"""Try the players of a config, each alone, before they are trained.

    python -m gan_jax check_setup --config=configs/dcgan.py
    python -m gan_jax check_setup --config=configs/wgan.py --steps=500

D alone must part real images from the fakes of a frozen G; it must learn one
batch by heart; G alone must fool that D, which gives adversarial noise, shown
in the third row of the picture; ranges and sizes are compared. Prints green or
red for each; the exit code is 7 where one is red.
"""

from absl import flags

from gan_jax.cli import app

CONVOLUTIONAL, DENSE = 200, 2000

app.define_config()
STEPS = flags.DEFINE_integer(
    'steps', None, 'Updates of each short training; by default '
    f'{CONVOLUTIONAL} where networks convolve and {DENSE} where not.',
    lower_bound=2,
)
OUT = flags.DEFINE_string(
    'out', 'check_setup.png', 'Picture to write: real images, samples of the '
    'first G, and of G after it was trained alone.'
)


def main(argv):
    """Make the checks and print them; gives the exit code."""
    config = app.config_of(argv)

    import numpy as np

    from gan_jax.config import builders
    from gan_jax.config import defaults
    from gan_jax.config import validation
    from gan_jax.core import errors
    from gan_jax.monitoring import setup_check
    from gan_jax.runtime import environment
    from gan_jax.runtime import writer

    environment.prepare()
    dataset = builders.dataset(config)
    validation.validate(config, points=dataset.images.ndim == 2)
    steps = STEPS.value or (
        CONVOLUTIONAL if defaults.convolutional(config) else DENSE
    )
    found, rows = setup_check.run(config, dataset, steps)
    for check in found:
        colour = 'green' if check.passed else 'RED  '
        app.say(f'{colour}  {check.name:12}{check.text}')
        if not check.passed:
            words = setup_check.CHECKS[check.name]
            app.say(f'{"":19}{words}. {check.advice}')
    made = np.concatenate(rows)
    picture = writer.scatter(rows[-1], rows[0]) if made.ndim == 2 else (
        writer.grid(made, setup_check.SHOWN)
    )
    app.save_png('--out', OUT.value, picture)
    app.say(f'Picture  {OUT.value}')
    red = [check.name for check in found if not check.passed]
    if red:
        app.say(f'Red: {", ".join(red)}')
    return errors.SetupError.exit_code if red else 0
