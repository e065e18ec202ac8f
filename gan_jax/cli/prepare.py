"""Prepare an image set of TensorFlow Datasets for training.

    python -m gan_jax prepare mnist --manual_dir=folder/of/the/four/idx/files
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.data import tfds_source

DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Folder that holds prepared sets; TFDS has a default.'
)
MANUAL_DIR = flags.DEFINE_string(
    'manual_dir', '', 'Folder with the original files, to work offline.'
)


def main(argv):
    """Prepare the one set that is named on the command line."""
    if len(argv) != 2:
        raise errors.ConfigError(
            'name one data set, such as: python -m gan_jax prepare mnist'
        )
    path = tfds_source.prepare(argv[1], DATA_DIR.value, MANUAL_DIR.value)
    app.say(f'{argv[1]} is prepared in {path}')
