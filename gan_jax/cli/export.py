"""Export the generator of a run to files that do not need gan_jax.

    python -m gan_jax export --workdir=runs/dcgan --out=exported
    python exported/sample.py 0 1 2 3 --out=samples.png

The folder holds the generator as StableHLO (for any batch size, on CPU, CUDA
and TPU), its weights as safetensors, a model card, and a script that samples
with JAX, NumPy and Pillow only, as in the second command.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

OUT = flags.DEFINE_string('out', '', 'Folder to write the files to.')


def main(argv):
    """Export the generator of --workdir to --out."""
    from gan_jax.core import errors
    from gan_jax.tools import export

    if not OUT.value:
        raise errors.ConfigError('--out is missing, such as --out=exported')
    algorithm, state = run_flags.open_run(argv)
    with app.written('--out', OUT.value):
        export.write(
            OUT.value, run_flags.WORKDIR.value, algorithm, state,
            run_flags.WEIGHTS.value,
        )
    app.say(
        f'Wrote the generator of {run_flags.describe(state)} to {OUT.value}; '
        f'sample from it by: python {OUT.value}/{export.SCRIPT}'
    )
