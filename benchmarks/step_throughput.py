"""Measure the time of one training step, and its share of arithmetic.

    python benchmarks/step_throughput.py --config=configs/dcgan.py
    python benchmarks/step_throughput.py --config=configs/dcgan.py:cifar10 \
        --config.dtype=bfloat16 --json=out.json
    python benchmarks/step_throughput.py --config=configs/dcgan.py:cifar10 \
        --against=linen_conv_transpose
    python benchmarks/step_throughput.py --config=configs/dcgan.py:cifar10 \
        --against=torch --torch=plain,channels_last
    python benchmarks/step_throughput.py --table --json=out.json
    python benchmarks/step_throughput.py --config=configs/dcgan.py --kernels=10

It runs on CPU, GPU and TPU. The data are uint8 noise of the recipe's shape, so
no data set needs to be prepared. With --against, both variants run in turns,
and the ratio of their medians is printed: linen_conv_transpose in one process,
torch (torch_step.py, the `bench` extra) in separate processes, with about
--seconds of steps per turn. --table does this for a list of recipes, the most
interesting ones first. A side that cannot run a case, or fails, is a row with
the reason. --limit bounds the total time.

Useful FLOPs are counted from the layers (useful_flops.py). Their rate is
compared with that of a matrix product of size --product in the same dtype, as
measured on both sides. --kernels shows which kernels take the time of a step.
--tf32 and --dtype apply to both sides.

Peak memory is that of the device; on CPU it is that of the whole process,
including libraries.
"""

import functools
import itertools
import math
import statistics
import sys
import time
from unittest import mock

from absl import flags
import jax
import jax.numpy as jnp
from ml_collections import config_flags
import numpy as np

import beside_torch
import kernels
import turns
from gan_jax.algorithms import algorithm
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import feed as feed_lib
from gan_jax.data import sources
from gan_jax.networks import convolutions
from gan_jax.runtime import environment
from gan_jax.runtime import parallel
from gan_jax.runtime import writer

CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.')
SHAPE = flags.DEFINE_string(
    'shape', '', "Shape of the data, such as '32x32x3'; by default its own."
)
STEPS_PER_CALL = flags.DEFINE_integer(
    'steps_per_call', 0, 'Steps scanned in a call; 0 is as in training.'
)
CALLS = flags.DEFINE_integer('calls', 30, 'Timed calls of each variant.')
AGAINST = flags.DEFINE_enum(
    'against', None, ['linen_conv_transpose', 'torch'],
    'Variant to compare with: the transposed convolution as XLA '
    'differentiates it, which is that of flax.linen.ConvTranspose, or the '
    'same step in PyTorch.',
)
TORCH = flags.DEFINE_list(
    'torch', ['channels_last', 'channels_last+joined'],
    "Variants of PyTorch's step, see torch_base.py."
)
TABLE = flags.DEFINE_bool(
    'table', False, 'Compare all cases of beside_torch.py.'
)
DTYPE = flags.DEFINE_enum(
    'dtype', 'float32', ['bfloat16', 'float32'], 'Dtype of the table.'
)
ONLY = flags.DEFINE_list('only', [], 'Cases of the table; all by default.')
ROUNDS = flags.DEFINE_integer(
    'rounds', 12, 'Turns against torch.', lower_bound=2
)
SECONDS = flags.DEFINE_float('seconds', 1.0, 'Approximate time of a turn.')
PRODUCT = flags.DEFINE_integer(
    'product', 4096, 'Side of the matrices of the reference product.'
)
TF32 = flags.DEFINE_bool(
    'tf32', True, 'Whether float32 products may use TF32 if the device has '
    'it, on both sides.'
)
PATIENCE = flags.DEFINE_float(
    'patience', 600.0, 'Seconds after which a side that does not answer is '
    'killed; the first answer includes compilation.', lower_bound=1.0
)
LIMIT = flags.DEFINE_float(
    'limit', 0.0, 'Time limit in seconds of all turns; 0 is no limit.',
    lower_bound=0.0
)
SERVE = flags.DEFINE_bool('serve', False, 'Answer questions; see turns.py.')
KERNELS = flags.DEFINE_integer(
    'kernels', 0, 'Number of kernels of our step to list, in groups.',
    lower_bound=0,
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')


SHAPES = {
    'celeb_a': (64, 64, 3), 'cifar10': (32, 32, 3), 'digits': (32, 32, 1),
    'fashion_mnist': (28, 28, 1), 'kmnist': (28, 28, 1), 'mnist': (28, 28, 1),
}


def image_shape(config):
    """Return --shape, or the shape of the data that a config names."""
    if SHAPE.value:
        return beside_torch.shape_of(SHAPE.value)
    if config.data.name not in SHAPES:
        raise errors.ConfigError(
            f'{config.data.name!r} needs --shape, such as 32x32x3'
        )
    height, width, channels = SHAPES[config.data.name]
    return (*(defaults.image_size(config) or (height, width)), channels)


def _variants(gan, convolutional):
    """List the `algorithm.Variant`s of the steps of a cycle, in their order.

    Where training chooses the lazy penalties of a step on the host, the cycle
    has all their periods; else it has one step.
    """
    lazy = getattr(gan, 'lazy', ())
    if parallel.has_fast_control_flow(convolutional) or not lazy:
        return [algorithm.Variant()]
    return [
        next(gan.plan(step, False, float)).variant
        for step in range(math.lcm(*(every for _, every in lazy)))
    ]


class Variant:
    """Compiled training call, and the state that it continues from.

    Attributes:
        shape: shape of the data.
        num_steps: steps of a call.
    """

    def __init__(self, config, shape, num_steps):
        self.shape, self.num_steps = shape, num_steps
        self._dtype = config.dtype
        self._feeds = _feeds(config, shape)
        specs = {
            name: builders.DataSpec(shape, _num_classes(config))
            for name in self._feeds
        }
        gan = builders.algorithm(config, specs)
        convolutional = defaults.convolutional(config)
        variants = _variants(gan, convolutional)
        if len(variants) > 1:
            num_steps = self.num_steps = 1  # as in training
        self.state = parallel.replicate(
            builders.initial_state(config, gan, specs)
        )
        self.constants = parallel.constants(
            {name: feed.resident for name, feed in self._feeds.items()},
            builders.hyperparams(config), jax.random.key(1),
            defaults.images_per_batch(config),
        )
        self.fed = parallel.split({
            name: feed.read(0, num_steps * gan.draws).reshape(
                num_steps, gan.draws, -1
            ) for name, feed in self._feeds.items()
        })
        began = time.perf_counter()
        compiled = {
            variant: parallel.compile_call(
                parallel.train_call(
                    builders.step(gan, self._feeds, variant), num_steps,
                    convolutional,
                ), convolutional, self.state, self.constants, self.fed,
            ) for variant in dict.fromkeys(variants)
        }
        self.call = compiled[variants[0]]
        self._calls = itertools.cycle([compiled[v] for v in variants])
        self.compile_seconds = time.perf_counter() - began

        def sample(weights, number):
            key = jax.random.fold_in(jax.random.key(2), number)
            key = key if convolutional else parallel.fast_key(key)
            if gan.latent_size:
                size = config.batch_size, gan.latent_size
                inputs = jax.random.normal(key, size)
            else:
                images = jax.random.bits(
                    key, (config.batch_size, *shape), np.uint8
                )
                inputs = algorithm.to_unit_range(images)
            labels = None
            if _num_classes(config):
                labels = jax.random.randint(
                    key, len(inputs), 0, _num_classes(config)
                )
            return gan.apply(weights, algorithm.Inputs(inputs, labels))

        self._weights = functools.partial(gan.weights, name='ema')
        self._sample = jax.jit(
            sample, compiler_options=None if convolutional else
            parallel.compiler_options(convolutional),
        )

    def seconds(self):
        """Time one call, including its work on the device."""
        began = time.perf_counter()
        self.state, metrics = next(self._calls)(
            self.state, self.constants, self.fed
        )
        jax.block_until_ready((self.state, metrics))
        return time.perf_counter() - began

    def train(self, count):
        """Time `count` steps, in seconds, by whole calls."""
        calls = max(1, round(count / self.num_steps))
        began = time.perf_counter()
        for _ in range(calls):
            self.state, metrics = next(self._calls)(
                self.state, self.constants, self.fed
            )
            if parallel.must_block():
                jax.block_until_ready(metrics)
        jax.block_until_ready((self.state, metrics))
        taken = time.perf_counter() - began
        return taken * count / (calls * self.num_steps)

    def generate(self, count):
        """Time batches of samples on one device, in seconds."""
        weights = jax.tree.map(
            lambda leaf: leaf[0], self._weights(self.state)
        )
        jax.block_until_ready(self._sample(weights, count))
        began = time.perf_counter()
        for number in range(count):
            images = self._sample(weights, number)
        jax.block_until_ready(images)
        return time.perf_counter() - began

    def memory(self):
        """Return the peak memory in bytes."""
        return peak_memory()

    def product_rate(self, size):
        """Return the FLOP/s of a matrix product, median of 5."""
        return matmul_rate(size, dtype=self._dtype)

    def kernels(self, count):
        """Return the kernels of a call, as `kernels.grouped`."""
        return kernels.grouped(kernels.trace(self.seconds), count)

    def about(self):
        """Return the version and the sizes of networks, generators first."""
        return {
            'version': jax.__version__,
            'parameters': [
                sum(leaf.size // len(leaf) for leaf in jax.tree.leaves(
                    self.state.players[name].params
                )) for name in sorted(self.state.players, reverse=True)
            ],
        }

    def flops(self):
        """Return the FLOPs of one call on one device, as XLA counts them."""
        costs = self.call.cost_analysis()
        costs = costs[0] if isinstance(costs, (list, tuple)) else costs
        return float((costs or {}).get('flops', float('nan')))


def _feeds(config, shape):
    """Build the feeds of all sources, {source: feed}."""
    return {
        name: _feed(config, shape, stream)
        for stream, name in enumerate(
            builders.ALGORITHMS[config.algorithm].sources
        )
    }


def _num_classes(config):
    """Return the number of classes of the noise; 0 for plain networks."""
    plain = all(
        config[player].condition == 'none' for player in beside_torch.PLAYERS
    )
    return 0 if plain else beside_torch.NUM_CLASSES


def _feed(config, shape, stream):
    """Build a feed of noise, or of points that are sampled on the device."""
    if len(shape) == 1:
        return builders.feed(config, None)
    random, count = np.random.RandomState(stream), 512
    noise = random.randint(0, 256, (count, *shape)).astype(np.uint8)
    classes = _num_classes(config)
    labels = random.randint(0, classes, count) if classes else None
    return feed_lib.ResidentFeed(
        sources.from_arrays(noise, labels), seed=config.seed,
        batch_size=defaults.images_per_batch(config), stream=stream,
    )


def plain_conv_transpose(images, kernel):
    """Compute `convolutions.conv_transpose` without its custom gradient."""
    return jax.lax.conv_transpose(
        images, kernel, (2, 2), 'SAME',
        dimension_numbers=convolutions.DIMENSIONS,
    )


def matmul_rate(size=2048, repeats=5, dtype='float32'):
    """Measure FLOP/s of a matrix product on one device."""
    a = jnp.ones((size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(times)


def peak_memory():
    """Return the peak bytes of the device, or else of the process."""
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return parallel.peak_memory() or own


def measure(variants, calls):
    """Time variants in turns, after two warm-up calls of each."""
    for variant in variants:
        for _ in range(2):
            variant.seconds()
    rounds = [[variant.seconds() for variant in variants] for _ in range(calls)]
    return list(zip(*rounds))


def compare_with_torch():
    """Print one case or the table; write --json."""
    if TABLE.value:
        cases = beside_torch.cases(ONLY.value, DTYPE.value)
    else:
        arguments = tuple(a for a in sys.argv if a.startswith('--config'))
        config = CONFIG.value
        cases = [beside_torch.Case(
            'this config', arguments, config, image_shape(config)
        )]
    options = beside_torch.Options(
        tuple(TORCH.value), ROUNDS.value, SECONDS.value, PRODUCT.value,
        KERNELS.value, TF32.value, PATIENCE.value, LIMIT.value,
    )
    beside_torch.compare(cases, options, JSON.value)


def compiled():
    """Build the `Variant` of --config."""
    config = CONFIG.value
    environment.prepare()
    if not TF32.value:
        jax.config.update('jax_default_matmul_precision', 'highest')
    validation.validate(config, parallel.device_count())
    num_steps = STEPS_PER_CALL.value or parallel.steps_per_call(
        [64], defaults.convolutional(config)
    )
    return Variant(config, image_shape(config), num_steps)


def main(argv):
    """Print the throughput of --config; write --json."""
    del argv
    if TABLE.value or AGAINST.value == 'torch':
        return compare_with_torch()
    if SERVE.value:
        return turns.serve(compiled)
    variants = [compiled()]
    config, shape, num_steps = (
        CONFIG.value, variants[0].shape, variants[0].num_steps
    )
    memory = peak_memory()
    if AGAINST.value:
        with mock.patch.object(
            convolutions, 'conv_transpose', plain_conv_transpose
        ):
            variants.append(Variant(config, shape, num_steps))
    times = measure(variants, CALLS.value)
    milliseconds = [1e3 * statistics.median(t) / num_steps for t in times]
    flops = variants[0].flops() / num_steps * parallel.device_count()
    rate = flops / milliseconds[0] * 1e3
    peak = matmul_rate(dtype=config.dtype) * parallel.device_count()
    described = environment.describe(config.seed)
    result = {
        'date': described['started'],
        'command': described['command'],
        'backend': described['backend'],
        'device': described['device_kind'],
        'devices': len(described['devices']),
        'versions': described['versions'],
        'shape': shape,
        'batch_size': config.batch_size,
        'dtype': config.dtype,
        'tf32': TF32.value,
        'd_steps': config.d_steps,
        'steps_per_call': num_steps,
        'ms_per_step': milliseconds[0],
        'ms_per_step_quartiles': [
            1e3 * q / num_steps
            for q in statistics.quantiles(times[0], n=4)[::2]
        ],
        'images_per_sec': (
            1e3 * config.batch_size * config.d_steps / milliseconds[0]
        ),
        'compile_seconds': variants[0].compile_seconds,
        'gflop_per_step_by_xla': flops / 1e9,
        'gflop_per_sec': rate / 1e9,
        'matmul_gflop_per_sec': peak / 1e9,
        'peak_memory_mib': memory / 2**20,
    }
    if AGAINST.value:
        ratios = [b / a for a, b in zip(*times)]
        result |= {
            'against': AGAINST.value,
            'against_ms_per_step': milliseconds[1],
            'times_faster': milliseconds[1] / milliseconds[0],
            'times_faster_quartiles': statistics.quantiles(ratios, n=4)[::2],
        }
    for name, value in result.items():
        shown = f'{value:.4g}' if isinstance(value, float) else value
        print(f'{name:24} {shown}')
    if KERNELS.value:
        result['kernels'] = variants[0].kernels(KERNELS.value)
        print('\n'.join(['', *kernels.rows(result['kernels'])]))
    if JSON.value:
        writer.write_json(JSON.value, result)


if __name__ == '__main__':
    app.run(main)
