"""Measure the speed of the features of Inception-v3.

    python benchmarks/inception_features.py --num_images=256 --batch_size=32

It times uint8 noise [N, side, side, 3] from NumPy, through resizing to 299 x
299 and the network, to features and logits in NumPy. Without --weights the
weights are constants, which does not change the time. Compilation is timed
separately.
"""

import json
import time

from absl import flags
import jax
import numpy as np

from gan_jax.cli import app
from gan_jax.features import batches
from gan_jax.features import inception

WEIGHTS = flags.DEFINE_string(
    'weights', '', 'File that `python -m gan_jax convert_inception` wrote.'
)
NUM_IMAGES = flags.DEFINE_integer(
    'num_images', 256, 'Number of images.', lower_bound=1
)
BATCH = flags.DEFINE_integer(
    'batch_size', 32, 'Images per batch.', lower_bound=1
)
SIDE = flags.DEFINE_integer('side', 32, 'Side of the images.', lower_bound=1)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')


def extractor():
    """Return the extractor to time."""
    if WEIGHTS.value:
        return inception.load(WEIGHTS.value)
    variables = jax.tree.map(  # each layer takes means
        lambda x: np.full(x.shape, 1 / np.prod(x.shape[:-1]), np.float32),
        inception.expected(),
    )
    return inception.Extractor(jax.device_put(variables), 'none', {})


def measure():
    """Time the extractor; return the numbers."""
    extract = extractor()
    shape = (NUM_IMAGES.value, SIDE.value, SIDE.value, 3)
    images = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    began = time.perf_counter()
    batches.extract(extract, images[:1], BATCH.value)
    compiled = time.perf_counter()
    output = batches.extract(extract, images, BATCH.value)
    seconds = time.perf_counter() - compiled
    assert output.features.shape == (len(images), inception.NUM_FEATURES)
    return {
        'device': jax.devices()[0].device_kind,
        'images': len(images),
        'batch_size': BATCH.value,
        'first_batch_seconds': compiled - began,
        'seconds': seconds,
        'images_per_second': len(images) / seconds,
        'weights': extract.fingerprint,
    }


def main(argv):
    """Print the numbers; write them to --json."""
    del argv
    numbers = measure()
    print(
        '{images} images in {seconds:.1f} s, {images_per_second:.1f} per '
        'second, in batches of {batch_size} on {device}; the first batch, with '
        'compilation, {first_batch_seconds:.1f} s'.format(**numbers)
    )
    if JSON.value:
        with open(JSON.value, 'w') as file:
            json.dump(numbers, file, indent=2)
            file.write('\n')


if __name__ == '__main__':
    app.run(main)
