"""Pack images into a folder of arrays for fast random access.

    python -m gan_jax pack my/images --data.image_size=64 --out=my/images64
    python -m gan_jax.main --config=configs/dcgan.py:images \\
      --config.data.path=my/images64

The argument is a folder, an archive, an array file, or the name of a data set.
Images are decoded, cropped and resized once. Training then reads them from the
pack as fast as the disk allows, so the data need not fit into memory.

    python -m gan_jax pack my/images --data.image_size=64 --to=stylegan \\
      --out=my/images64.zip
"""

from absl import flags

from gan_jax.cli import app

DATA = app.define_data()
OUT = flags.DEFINE_string('out', '', 'Folder to create for the pack.')
FORM = flags.DEFINE_enum(
    'form', 'array', ['array', 'array_record'],
    "'array' is one memory-mapped file, 'array_record' a compressed one."
)
TO = flags.DEFINE_enum(
    'to', 'pack', ['pack', 'stylegan'], "'stylegan' writes a zip (--out ends "
    "in .zip) or folder in the layout of StyleGAN's code, with dataset.json."
)


def main(argv):
    """Pack the source that is named on the command line into --out."""
    from gan_jax.core import errors
    from gan_jax.data import packs
    from gan_jax.data import sources
    from gan_jax.data import stylegan_layout

    request = app.request(argv, DATA.value)
    if not OUT.value:
        raise errors.ConfigError('--out is missing, such as --out=packed')
    dataset = sources.load(request._replace(memory=0))
    sources.check_pictures(dataset)
    if TO.value == 'stylegan':
        stylegan_layout.write(
            dataset.images, dataset.labels, dataset.classes, OUT.value
        )
        app.say(
            f'Wrote {len(dataset.images):,} images in the layout of StyleGAN; '
            f'train on them with --config.data.path={OUT.value}'
        )
        return
    manifest = packs.write(
        dataset.images, dataset.labels, dataset.classes, OUT.value,
        form=FORM.value, source=request.name,
    )
    count, *shape = manifest['shape']
    size = sum(file['bytes'] for file in manifest['files'].values())
    app.say(
        f'Wrote {count:,} images of {"x".join(map(str, shape))} '
        f'({size / 1e6:.1f} MB) to {OUT.value}; train on them with '
        f'--config.data.path={OUT.value}'
    )
