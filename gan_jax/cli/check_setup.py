"""Check that G and D of a config can learn, before a long run.

    python -m gan_jax check_setup --config=configs/dcgan.py
    python -m gan_jax check_setup --config=configs/wgan.py --steps=500

Short trainings check that D separates real images from the fakes of a frozen G,
that D can overfit a single batch, and that G can fool a frozen D. Other checks
compare the range of G's output with the data's, and the sizes of G and D. Each
check prints green or RED; the exit code is 7 if one is red. The picture has
three rows: real images, samples of the untrained G, and samples of the G that
fools a frozen D, which are adversarial noise rather than images.
"""

from absl import flags

from gan_jax.cli import app

CONVOLUTIONAL, DENSE = 200, 2000

app.define_config()
STEPS = flags.DEFINE_integer(
    'steps', None, 'Updates in each short training; by default '
    f'{CONVOLUTIONAL} for convolutional networks and {DENSE} for dense ones.',
    lower_bound=2,
)
OUT = flags.DEFINE_string(
    'out', 'check_setup.png', 'PNG file to write.'
)


def main(argv):
    """Run the checks and print their results; return the exit code."""
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
    checks, rows = setup_check.run(config, dataset, steps)
    for check in checks:
        colour = 'green' if check.passed else 'RED  '
        app.say(f'{colour}  {check.name:12}{check.text}')
        if not check.passed:
            claim = setup_check.CHECKS[check.name]
            app.say(f'{"":19}{claim}. {check.advice}')
    samples = np.concatenate(rows)
    picture = writer.scatter(rows[-1], rows[0]) if samples.ndim == 2 else (
        writer.grid(samples, setup_check.SHOWN, units=dataset.units)
    )
    app.save_png('--out', OUT.value, picture)
    app.say(f'Picture  {OUT.value}')
    red = [check.name for check in checks if not check.passed]
    if red:
        app.say(f'Red: {", ".join(red)}')
    return errors.SetupError.exit_code if red else 0
