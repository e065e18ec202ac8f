"""Measure the speed of the features of Inception-v3 or EfficientNet-Lite0.

    python benchmarks/inception_features.py --num_images=256 --batch_size=32
    python benchmarks/inception_features.py --features=efficientnet_lite0

It times uint8 noise [N, side, side, 3] from NumPy, through resizing and the
network, to features and logits in NumPy. Without --weights the weights are
constants, which does not change the time. Compilation is timed separately.
"""

import json
import time

from absl import flags
import jax
import numpy as np

from gan_jax.cli import app
from gan_jax.features import batches
from gan_jax.features import efficientnet
from gan_jax.features import inception

NETWORKS = {'efficientnet_lite0': efficientnet, 'inception': inception}
FEATURES = flags.DEFINE_enum(
    'features', 'inception', sorted(NETWORKS), 'Features to time.'
)
WEIGHTS = flags.DEFINE_string(
    'weights', '', "File of the features' weights: of Inception that which "
    '`python -m gan_jax convert_inception` wrote.'
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
    network = NETWORKS[FEATURES.value]
    if WEIGHTS.value:
        return network.load(WEIGHTS.value)
    variables = jax.tree.map(  # each layer takes means
        lambda x: np.full(x.shape, 1 / np.prod(x.shape[:-1]), np.float32),
        network.expected(),
    )
    rest = ('none', {}) if network is inception else ()
    return network.Extractor(jax.device_put(variables), *rest)


def measure():
    """Time the extractor; return the numbers."""
    extract = extractor()
    shape = (NUM_IMAGES.value, SIDE.value, SIDE.value, 3)
    images = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    began = time.perf_counter()
    batches.extract(extract, images[:1], BATCH.value)
    compiled, cpu_began = time.perf_counter(), time.process_time()
    output = batches.extract(extract, images, BATCH.value)
    seconds = time.perf_counter() - compiled
    cpu_seconds = time.process_time() - cpu_began
    width = NETWORKS[FEATURES.value].NUM_FEATURES
    assert output.features.shape == (len(images), width)
    return {
        'device': jax.devices()[0].device_kind,
        'images': len(images),
        'batch_size': BATCH.value,
        'first_batch_seconds': compiled - began,
        'seconds': seconds,
        'cpu_seconds': cpu_seconds,
        'images_per_second': len(images) / seconds,
        'features': FEATURES.value,
        'weights': WEIGHTS.value or 'none',
    }


def main(argv):
    """Print the numbers; write them to --json."""
    del argv
    numbers = measure()
    print(
        '{images} images in {seconds:.1f} s, {images_per_second:.1f} per '
        'second, in batches of {batch_size} on {device}, {cpu_seconds:.1f} CPU '
        'seconds; the first batch, with compilation, {first_batch_seconds:.1f} '
        's'.format(**numbers)
    )
    if JSON.value:
        with open(JSON.value, 'w') as file:
            json.dump(numbers, file, indent=2)
            file.write('\n')


if __name__ == '__main__':
    app.run(main)
