"""Worker that packs generated images and streams packs.

    python tests/pack_worker.py pack FOLDER FORM COUNT
    python tests/pack_worker.py stream FOLDER BATCHES

`pack` prints a line when the first images are requested, and its memory at the
end. `stream` prints JSON with its memory in MiB after each of 20 parts of the
batches, and whether the images are those that were packed.
"""

import json
import re
import sys

import numpy as np

from gan_jax.data import feed
from gan_jax.data import on_demand
from gan_jax.data import packs
from gan_jax.data import sources

SHAPE = (64, 64, 3)
BATCH = 64


def generate(numbers):
    """Generate the images of some indices, uint8 [n, *SHAPE]."""
    numbers = np.asarray(numbers, np.uint32)[:, None]
    pixels = np.arange(np.prod(SHAPE), dtype=np.uint32)
    mixed = (numbers * 2654435761 + pixels * 40503) >> 13
    return mixed.astype(np.uint8).reshape(-1, *SHAPE)


def memory():
    """Return this process's own memory in MiB, without mapped files."""
    with open('/proc/self/status') as status:
        (size,) = re.findall(r'RssAnon:\s+(\d+) kB', status.read())
    return round(int(size) / 1024, 2)


def pack(folder, form, count):
    def fetch(places):
        if 0 in places:
            print('packing', flush=True)
        return generate(places)

    images = on_demand.OnDemand((int(count), *SHAPE), fetch)
    before = memory()
    packs.write(images, None, (), folder, form=form, source='generated')
    print(json.dumps([before, memory()]))


def stream(folder, batches):
    dataset = sources.load(sources.Request(f'pack:{folder}', memory=0))
    size = len(dataset.images)
    numbered = dataset._replace(labels=np.arange(size, dtype=np.int32))
    streaming = feed.StreamingFeed(numbered, seed=0, batch_size=BATCH)
    used, same, parts = [], True, np.array_split(range(int(batches)), 20)
    for part in parts:
        for position in part:
            images, numbers = streaming.read(int(position), 1)
        same = same and np.array_equal(images[0], generate(numbers[0]))
        used.append(memory())
    streaming.close()
    print(json.dumps({'memory': used, 'same': bool(same)}))


if __name__ == '__main__':
    {'pack': pack, 'stream': stream}[sys.argv[1]](*sys.argv[2:])
