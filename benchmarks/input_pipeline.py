"""Measure whether the data pipeline keeps up with the training step.

    python benchmarks/input_pipeline.py --config=configs/dcgan.py:cifar10 \
        --source=my/images

For each pipeline it measures the images per second of the pipeline alone, and
the speed of training with it relative to training on one fixed batch. The
pipelines are: data resident on the device, a pack as memory-mapped array, a
pack as array_record, and the source itself, decoded file by file. All images
are resized to --config.data.image_size, 64 by default. Packs are written to a
temporary folder.

Training alternates between the pipelines, one segment at a time. Each segment
restarts its feed, and its first steps are not timed, so that no pipeline reads
ahead while another one is timed.
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
    'source', '', 'Source of images: a folder, an archive or a URI.'
)
READS = flags.DEFINE_integer(
    'reads', 50, 'Timed batches of each pipeline alone.'
)
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed segments of each pipeline.')
STEPS = flags.DEFINE_integer('steps', 10, 'Timed steps per segment.')
WARM_UP = flags.DEFINE_integer('warm_up', 3, 'Untimed steps before them.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

FIXED = 'fixed batch'


class FixedFeed(feed_lib.StreamingFeed):
    """Feed that repeats the first batch, at no cost."""

    kind = 'fixed'

    def read(self, position, count):
        """Return the batch at position 0, `count` times."""
        del position
        if self._next is None:
            self._fixed = super().read(0, 1)
        return jax.tree.map(
            lambda array: np.broadcast_to(array, (count, *array.shape[1:])),
            self._fixed,
        )


class Pipeline:
    """Feed of images to the devices, and a GAN trained with it."""

    def __init__(self, config, dataset, kind):
        batch = defaults.images_per_batch(config)
        self._feed = kind(
            dataset, seed=config.seed, batch_size=batch,
            host_slice=parallel.host_slice(batch),
        )
        specs = builders.single_source_specs(dataset.images.shape[1:])
        gan = builders.algorithm(config, specs)
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
        """Read batches until they are on the device, without training."""
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
        """Train a segment with a restarted feed."""
        with contextlib.closing(self._feed):
            self._advance(warm_up)
            began = time.perf_counter()
            count = self._advance(steps)
            return (time.perf_counter() - began) / count

    def _advance(self, steps):
        """Run at least `steps` steps; return how many."""
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
        """Compute the real images of a step per second."""
        return self._images / seconds


def make_pipelines(config, folder):
    """Return the source and {name: `Pipeline`} of the images of --source."""
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
        FIXED: Pipeline(config, resident, FixedFeed),
        'resident': Pipeline(config, resident, feed_lib.ResidentFeed),
        'memory-mapped': Pipeline(config, array, streaming),
        'array_record': Pipeline(config, packed['array_record'], streaming),
        'source': Pipeline(config, source, streaming),
    }


def measure(pipelines):
    """Time all pipelines; return a row for each."""
    alone = {
        name: pipeline.images_per_sec(READS.value)
        for name, pipeline in pipelines.items() if name != FIXED
    }
    for pipeline in pipelines.values():  # compiles
        pipeline.seconds_per_step(1, 1)
    rounds = [
        {name: pipeline.seconds_per_step(WARM_UP.value, STEPS.value)
         for name, pipeline in pipelines.items()}
        for _ in range(ROUNDS.value)
    ]
    rows = []
    for name, pipeline in pipelines.items():
        seconds = [taken[name] for taken in rounds]
        rows.append({
            'way': name,
            'images_per_sec_alone': alone.get(name),
            'images_per_sec_training': pipeline.images_trained_per_sec(
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
    """Measure every pipeline with a recipe; return a JSON-compatible dict."""
    with tempfile.TemporaryDirectory() as folder:
        source, pipelines = make_pipelines(config, pathlib.Path(folder))
        rows = measure(pipelines)
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
    print(
        f'{"pipeline":15}{"images/s alone":>16}{"training":>12}'
        f'{"over fixed":>12}'
    )
    for row in result['rows']:
        alone = row['images_per_sec_alone']
        print(
            f'{row["way"]:15}{"" if alone is None else f"{alone:,.0f}":>16}'
            f'{row["images_per_sec_training"]:>12,.1f}'
            f'{row["over_fixed_batch"]:>12.3f}'
        )


def main(argv):
    """Print the speed of each pipeline; write --json."""
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
