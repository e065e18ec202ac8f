"""Convert an official StyleGAN2 pickle to a run, without PyTorch.

    python -m gan_jax convert_stylegan2 network-snapshot.pkl \\
      --workdir=runs/converted
    python -m gan_jax sample --workdir=runs/converted --seeds=0-63
    python -m gan_jax train --workdir=runs/converted \\
      --config.data.path=my/images

The file is one that stylegan2-ada-pytorch saves, or one of StyleGAN2 that
stylegan3 saves. It is read as data: no code in it is run. All tools work on the
run. `train` goes on from its networks, with new optimizers and the settings of
the recipe stylegan2 for the size of the images. Name the images now, by
--data.path, or when you train.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import recipe_files

DATA = app.define_data()
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder to create for the run.')

MAX_BYTES = 2**31  # the authors' largest file has 382 MB


def main(argv):
    """Convert the named file to a run in --workdir."""
    from ml_collections import config_flags

    from gan_jax.config import recipes
    from gan_jax.config import stylegan2_settings
    from gan_jax.config import validation
    from gan_jax.core import errors
    from gan_jax.runs import convert
    from gan_jax.runtime import environment

    if len(argv) != 2:
        raise errors.ConfigError(
            'name one file, such as network-snapshot-025000.pkl'
        )
    if not WORKDIR.value:
        raise errors.ConfigError(
            '--workdir is missing, such as --workdir=runs/converted'
        )
    environment.prepare()
    settings, tensors = convert.read(argv[1], MAX_BYTES)
    config = recipes.load(
        recipe_files.folder() / 'stylegan2.py',
        stylegan2_settings.recipe(settings),
    )
    stylegan2_settings.configure(
        config, settings, config_flags.get_override_values(flags.FLAGS['data'])
    )
    validation.validate(config)
    with app.written('--workdir', WORKDIR.value):
        convert.write(WORKDIR.value, argv[1], config, settings, tensors)
    _describe(settings)


def _describe(settings):
    """Print what was converted, and which commands come next."""
    height, width, channels = settings.image_shape
    classes = settings.num_classes
    app.say(
        f'Wrote {WORKDIR.value}: StyleGAN2 for {height}x{width}x{channels}, '
        + (f'{classes} classes' if classes else 'without classes')
    )
    if settings.low_precision:
        app.say(
            'The file computes its largest maps in float16 and clamps values '
            'at ±256; this run does neither: images differ by rounding, and '
            'where a value was clamped.'
        )
    if settings.other_augmentations:
        app.say(
            "Training had other augmentations than ADA's 'bgc', with which it "
            'goes on.'
        )
    app.say(
        f'  python -m gan_jax sample --workdir={WORKDIR.value} --seeds=0-63 '
        '--out=grid.png\n'
        f'  python -m gan_jax train --workdir={WORKDIR.value} '
        '--config.data.path=…'
    )
