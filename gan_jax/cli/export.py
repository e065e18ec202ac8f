"""Export the generator of a run to files that do not need gan_jax.

    python -m gan_jax export --workdir=runs/dcgan --out=exported
    python exported/sample.py 0 1 2 3 --out=samples.png

The folder holds the generator as StableHLO (for any batch size, on CPU, CUDA
and TPU), its weights as safetensors, a model card, and a script that samples
with JAX, NumPy and Pillow only, as in the second command.

    python -m gan_jax export --workdir=runs/cyclegan --direction=a_to_b \\
      --out=exported
    python exported/translate.py image.png --out=translated.png

--onnx adds the generator as ONNX, and --page an HTML file that runs it in a
browser: on z, or on an image from your disk.

    python -m gan_jax export --workdir=runs/kl_autoencoder --part=encoder \\
      --out=exported

--part exports the encoder or the decoder of an autoencoder instead, as a map
from images to codes or back.

Of CycleGAN and pix2pix the generator of one direction is exported, for images
of the size in training.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

OUT = flags.DEFINE_string('out', '', 'Folder to write the files to.')
ONNX = flags.DEFINE_boolean(
    'onnx', False, 'Writes generator.onnx too, for ONNX Runtime and other '
    "programs. Needs pip install 'gan_jax[onnx]'."
)
PAGE = flags.DEFINE_boolean(
    'page', False, 'Writes generator.html too, which runs the generator in a '
    'browser without a network.'
)
PART = flags.DEFINE_enum(
    'part', '', ['', 'decoder', 'encoder'], 'Part of an autoencoder to export; '
    'by default the generator of z.'
)
DIRECTION = run_flags.define_direction()


def main(argv):
    """Export the generator of --workdir to --out."""
    from gan_jax.algorithms import translation
    from gan_jax.core import errors
    from gan_jax.tools import export
    from gan_jax.tools import export_parts
    from gan_jax.tools import export_translation

    if not OUT.value:
        raise errors.ConfigError('--out is missing, such as --out=exported')
    algorithm, state = run_flags.open_run(argv)
    formats = ['onnx'] * ONNX.value + ['page'] * PAGE.value
    if PART.value:
        with app.written('--out', OUT.value):
            export_parts.write(
                OUT.value, run_flags.WORKDIR.value, algorithm, state,
                PART.value, formats,
            )
        app.say(
            f'Wrote the {PART.value} of step {int(state.step)} to {OUT.value}; '
            f'{OUT.value}/{export.CARD} shows its use'
        )
        app.say(export.expiry(f'{PART.value}.stablehlo'))
        return
    arguments = (
        OUT.value, run_flags.WORKDIR.value, algorithm, state,
        run_flags.WEIGHTS.value, formats,
    )
    translates = algorithm.name in translation.KINDS
    with app.written('--out', OUT.value):
        if translates or DIRECTION.value:
            export_translation.write(*arguments, DIRECTION.value or 'a_to_b')
        else:
            export.write(*arguments)
    script, verb = (export_translation.SCRIPT, 'translate') if translates else (
        export.SCRIPT, 'sample from it'
    )
    app.say(
        f'Wrote the generator of {run_flags.describe(state)} to {OUT.value}; '
        f'{verb} by: python {OUT.value}/{script}'
    )
    app.say(export.expiry())
