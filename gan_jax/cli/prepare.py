"""Prepare an image data set of TensorFlow Datasets for training.

    python -m gan_jax prepare mnist
    python -m gan_jax prepare mnist --manual_dir=folder/of/the/four/idx/files
    python -m gan_jax.main --config=configs/dcgan.py:mnist

The first command downloads the data set; the second converts files that are on
this machine already. The third trains on it. With --manual_dir, mnist,
fashion_mnist and kmnist need neither a network nor TensorFlow. Other data sets
may need TensorFlow to be prepared. Training never needs it.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.data import tfds_source

DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Folder to write the prepared data set to; by default that '
    'of TFDS.'
)
MANUAL_DIR = flags.DEFINE_string(
    'manual_dir', '', 'Folder of the original files, to work offline.'
)


def main(argv):
    """Prepare the data set that is named on the command line."""
    if len(argv) != 2:
        raise errors.ConfigError(
            'name one data set, such as: python -m gan_jax prepare mnist'
        )
    path = tfds_source.prepare(argv[1], DATA_DIR.value, MANUAL_DIR.value)
    app.say(f'{argv[1]} is prepared in {path}')
