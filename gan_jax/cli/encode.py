"""Encode the data of an autoencoder, or decode codes.

    python -m gan_jax encode --workdir=runs/kl_autoencoder --out=codes.npz
    python -m gan_jax train --config=mixtures --config.data.path=codes.npz \
        --workdir=runs/codes
    python -m gan_jax sample --workdir=runs/codes --out=drawn.npz
    python -m gan_jax encode --workdir=runs/kl_autoencoder \
        --decode=drawn.npz --out=decoded.png

The first command writes the codes of all images: `x`, one row for each image;
`shape`, that of a code; `labels`, if the data have some; and with a codebook
`indices`, the number of the vector at each position. The file is a table of
points that any recipe of points can be trained on, as in the second command.
The last one turns its samples into images.

Encoder and decoder are the moving averages; those of `autoencoder` and `vae`
are the weights as trained.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

OUT = flags.DEFINE_string(
    'out', '', 'File to write: codes (.npz), or with --decode a grid (.png) or '
    'arrays (.npz).'
)
SPLIT = flags.DEFINE_enum(
    'split', 'train', ['test', 'train'], "Images to encode: 'test' are those "
    'that the run held out.'
)
DECODE = flags.DEFINE_string(
    'decode', None, 'File of codes to decode: .npy, or .npz with `samples` of '
    'the command sample, or `x` of this one.'
)


def main(argv):
    """Encode the data of --workdir, or decode --decode, and write --out."""
    from gan_jax.core import errors
    from gan_jax.runtime import writer
    from gan_jax.tools import encoding

    endings = ('.npz',) if DECODE.value is None else ('.npz', '.png')
    if not OUT.value.endswith(endings):
        raise errors.ConfigError(
            f'--out={OUT.value} must end in {" or ".join(endings)}'
        )
    algorithm, state = run_flags.open_run(argv)
    encoding.check_encodes(algorithm)
    step = f'step {int(state.step)}'
    if DECODE.value is not None:
        codes = encoding.load_codes(DECODE.value, algorithm)
        images = encoding.decode(algorithm, state, codes)
        with app.written('--out', OUT.value):
            if OUT.value.endswith('.npz'):
                writer.save_arrays(OUT.value, samples=images, x=codes)
            elif images.ndim == 2:
                writer.save_png(OUT.value, writer.scatter(images))
            else:
                writer.save_png(
                    OUT.value, writer.grid(images, units=run_flags.units())
                )
        app.say(f'Decoded {len(codes):,} codes at {step} to {OUT.value}')
        return
    dataset = encoding.load_images(run_flags.WORKDIR.value, SPLIT.value)
    arrays = encoding.encode(algorithm, state, dataset.images)
    if dataset.labels is not None:
        arrays['labels'] = dataset.labels
    with app.written('--out', OUT.value):
        writer.save_arrays(OUT.value, **arrays)
    shape = 'x'.join(map(str, arrays['shape']))
    app.say(
        f'Wrote the codes of {len(arrays["x"]):,} images at {step}, '
        f'{arrays["x"].shape[1]} numbers each ({shape}), to {OUT.value}'
    )
