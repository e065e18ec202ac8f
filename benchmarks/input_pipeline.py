"""Do the data keep up with the training step?

    python benchmarks/input_pipeline.py --config=configs/dcgan.py:cifar10 \
        --source=my/images

Two questions for each way that images reach the devices: how many images a
second does it give by itself, and how many train with it, over how many train
with one fixed batch. The ways are: resident on the device, a pack as
memory-mapped array, a pack as array_record, and the source itself, decoded file
by file. All are brought to --config.data.image_size, 64 by default. Packs are
made in a temporary folder and removed.

Training takes the ways in turns, one segment each. A segment starts its feed
anew and its first steps are not timed, so nothing is read ahead on the time of
another.
"""

import contextlib
import pathlib
import statistics
import tempfile
import time

from absl import flags
import jax
from ml_collections import config_flags
import numpy as np

from gan_jax.algorithms import game
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.data import feed as feed_lib
from gan_jax.data import packs
from gan_jax.data import sources
from gan_jax.runtime import environment
from gan_jax.runtime import parallel
from gan_jax.runtime import writer
from gan_jax.training import dispatch

CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.')
SOURCE = flags.DEFINE_string(
    'source', '', 'Images: a folder, an archive or a URI.'
)
READS = flags.DEFINE_integer('reads', 50, 'Timed batches of each way alone.')
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed segments of each way.')
STEPS = flags.DEFINE_integer('steps', 10, 'Timed steps of a segment.')
WARM_UP = flags.DEFINE_integer('warm_up', 3, 'Steps before them.')
JSON = flags.DEFINE_string('json', '', 'File to write the numbers to.')

FIXED = 'fixed batch'


class FixedFeed(feed_lib.StreamingFeed):
    """Gives the first batch for ever, at no cost."""

    kind = 'fixed'

    def read(self, position, count):
        """Give the batch at position 0, `count` times."""
        del position
        if self._next is None:
            self._fixed = super().read(0, 1)
        return jax.tree.map(
            lambda array: np.broadcast_to(array, (count, *array.shape[1:])),
            self._fixed,
        )


class Way:
    """One way for images to reach the devices, and a GAN trained with it."""

    def __init__(self, config, dataset, kind):
        batch = defaults.images_per_batch(config)
        self._feed = kind(
            dataset, seed=config.seed, batch_size=batch,
            places=parallel.places(batch),
        )
        forms = builders.form(dataset.images.shape[1:])
        gan = builders.algorithm(config, forms)
        self._constants = parallel.constants(
            {builders.REAL: self._feed.resident}, builders.hyperparams(config),
            jax.random.key(1), batch,
        )
        self._programs = dispatch.Dispatch(
            config, gan, {builders.REAL: self._feed}, self._constants,
            [STEPS.value],
        )
        self._images = batch * gan.draws
        self._batch, self._position, self._step = batch, 0, 0
        self._state = parallel.replicate(game.init(
            gan, jax.random.key(config.seed), dataset.images.shape[1:]
        ))

    def images_per_sec(self, reads):
        """Read batches alone, until they lie on the device."""
        select = jax.jit(self._feed.select)
        resident = jax.device_put(self._feed.resident)

        def read(position):
            fed = jax.tree.map(lambda a: a[0], self._feed.read(position, 1))
            jax.block_until_ready(select(resident, fed))

        for position in range(feed_lib.MAX_AHEAD):  # what was read ahead
            read(position)
        began = time.perf_counter()
        for position in range(reads):
            read(feed_lib.MAX_AHEAD + position)
        seconds = time.perf_counter() - began
        self._feed.close()
        return reads * self._batch / seconds

    def seconds_per_step(self, warm_up, steps):
        """Train a segment; its feed starts anew."""
        with contextlib.closing(self._feed):
            self._advance(warm_up)
            began = time.perf_counter()
            made = self._advance(steps)
            return (time.perf_counter() - began) / made

    def _advance(self, steps):
        """Make at least so many steps; returns how many."""
        before, previous = self._step, None
        while self._step < before + steps:
            self._state, metrics, self._step, self._position = (
                self._programs.advance(
                    self._state, self._step, self._position
                )
            )
            jax.block_until_ready(previous)  # as training queues its calls
            previous = metrics
        jax.block_until_ready(self._state)
        return self._step - before

    def images_trained_per_sec(self, seconds):
        """Give the real images of a step over its seconds."""
        return self._images / seconds


def make_ways(config, folder):
    """Give {name: Way} over the images of --source."""
    request = builders.request(config)
    source = sources.load(request._replace(memory=0))
    packed = {}
    for form in packs.FORMS:
        packs.write(
            source.images, source.labels, source.classes, folder / form,
            form=form,
        )
        packed[form] = sources.load(
            sources.Request(f'pack:{folder / form}', memory=0)
        )
    array = packed['array']
    resident = array._replace(images=np.array(array.images))
    streaming = feed_lib.StreamingFeed
    return source, {
        FIXED: Way(config, resident, FixedFeed),
        'resident': Way(config, resident, feed_lib.ResidentFeed),
        'memory-mapped': Way(config, array, streaming),
        'array_record': Way(config, packed['array_record'], streaming),
        'source': Way(config, source, streaming),
    }


def measure(ways):
    """Time all ways; returns a row for each."""
    alone = {
        name: way.images_per_sec(READS.value)
        for name, way in ways.items() if name != FIXED
    }
    for way in ways.values():  # compiles
        way.seconds_per_step(1, 1)
    rounds = [
        {name: way.seconds_per_step(WARM_UP.value, STEPS.value)
         for name, way in ways.items()}
        for _ in range(ROUNDS.value)
    ]
    rows = []
    for name, way in ways.items():
        seconds = [taken[name] for taken in rounds]
        rows.append({
            'way': name,
            'images_per_sec_alone': alone.get(name),
            'images_per_sec_training': way.images_trained_per_sec(
                statistics.median(seconds)
            ),
            'over_fixed_batch': statistics.median(
                taken[FIXED] / taken[name] for taken in rounds
            ),
            'over_fixed_batch_each_round': [
                taken[FIXED] / taken[name] for taken in rounds
            ],
        })
    return rows


def compare(config):
    """Measure every way with a recipe; returns what JSON can hold."""
    with tempfile.TemporaryDirectory() as folder:
        source, ways = make_ways(config, pathlib.Path(folder))
        rows = measure(ways)
    described = environment.describe(config.seed)
    return {
        'date': described['started'],
        'command': described['command'],
        'device': described['device_kind'],
        'devices': len(described['devices']),
        'versions': described['versions'],
        'source': source.name,
        'shape': list(source.images.shape),
        'batch_size': config.batch_size,
        'rows': rows,
    }


def show(result):
    """Print the table of a comparison."""
    print(f'{result["source"]}: {"x".join(map(str, result["shape"]))}')
    print(f'{"way":15}{"images/s alone":>16}{"training":>12}{"over fixed":>12}')
    for row in result['rows']:
        alone = row['images_per_sec_alone']
        print(
            f'{row["way"]:15}{"" if alone is None else f"{alone:,.0f}":>16}'
            f'{row["images_per_sec_training"]:>12,.1f}'
            f'{row["over_fixed_batch"]:>12.3f}'
        )


def main(argv):
    """Print, and write as JSON, what each way gives."""
    del argv
    config = CONFIG.value
    config.data.path = SOURCE.value or config.data.path
    config.data.image_size = config.data.image_size or '64'
    environment.prepare()
    validation.validate(config, parallel.device_count())
    result = compare(config)
    show(result)
    if JSON.value:
        writer.write_json(JSON.value, result)


if __name__ == '__main__':
    app.run(main)
