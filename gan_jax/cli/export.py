"""Write a run's generator as files that need none of this package.

    python -m gan_jax export --workdir=runs/dcgan --out=exported
    python exported/sample.py 0 1 2 3 --out=samples.png

The folder holds StableHLO (any batch; CPU, CUDA and TPU), the weights as
safetensors, a model card and a script that samples with JAX, NumPy and Pillow.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

OUT = flags.DEFINE_string('out', '', 'Folder to write.')


def main(argv):
    """Export the generator of --workdir to --out."""
    from gan_jax.core import errors
    from gan_jax.tools import export

    if not OUT.value:
        raise errors.ConfigError('name a folder to write, such as --out=export')
    algorithm, state = run_flags.open_run(argv)
    with app.written('--out', OUT.value):
        export.write(
            OUT.value, run_flags.WORKDIR.value, algorithm, state,
            run_flags.WEIGHTS.value,
        )
    app.say(
        f'The generator of {run_flags.told(state)} is in {OUT.value}; '
        f'python {OUT.value}/{export.SCRIPT} samples from it'
    )
