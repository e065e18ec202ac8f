"""Measure ideas for a faster step: other forms, longer scans, other flags.

    python benchmarks/ideas.py --json=ideas.json
    python benchmarks/ideas.py --dtype=float32 --batch=64 --width=16 --side=32

The shapes are those of DCGAN: --side, --batch, --width. A form of an operation
is compared with the one that the library uses on this device: a call computes
the result and, but for optimizers, its gradients. All forms must give the same
numbers first. Then whole steps are compared, with other lengths of the scan and
other flags of XLA, each in its own process. Everything is timed in turns.

Each row has a prediction from before the measurement, and the verdict: "keep"
if the upper quartile of the ratio is below --gain.
"""

import contextlib
import functools
import math
import os
import statistics
import time
from typing import NamedTuple

from absl import flags
import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

import beside_torch
import turns
from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.networks import convolutions
from gan_jax.runtime import writer

DTYPE = flags.DEFINE_enum(
    'dtype', 'bfloat16', ['bfloat16', 'float32'], 'Dtype of the networks.'
)
BATCH = flags.DEFINE_integer('batch', 512, 'Images.', lower_bound=1)
SIDE = flags.DEFINE_integer('side', 64, 'Side of the images.', lower_bound=16)
WIDTH = flags.DEFINE_integer(
    'width', 64, 'Channels of the largest maps.', lower_bound=1
)
GAIN = flags.DEFINE_float('gain', 0.97, 'Largest ratio that is worth it.')
ROUNDS = flags.DEFINE_integer('rounds', 9, 'Turns.', lower_bound=2)
SECONDS = flags.DEFINE_float('seconds', 0.2, 'Approximate time of a turn.')
PATIENCE = flags.DEFINE_float(
    'patience', 300.0, 'Seconds that a step may take to answer.'
)
ONLY = flags.DEFINE_list('only', [], 'Ideas; all by default.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

TOLERANCE = {'bfloat16': 0.05, 'float32': 1e-3}  # of the largest number
DIMENSIONS = convolutions.DIMENSIONS
PACKED = 8  # channels to which the ends are padded
HEAD = (
    '| idea | in place of | predicted | ratio (quartiles) | verdict |\n'
    + '|---' * 5 + '|'
)


class Idea(NamedTuple):
    """Other form of an operation.

    Attributes:
        instead_of: what the library does.
        predicted: ratio to that, estimated before it was measured, and why.
        build: function of `Shapes` that returns (used, idea, arguments): two
            functions, and the arrays that they take.
        derived: whether a call computes gradients in these arrays too.
    """

    instead_of: str
    predicted: str
    build: object
    derived: bool = True


class Shapes(NamedTuple):
    """Sizes of DCGAN: batch, side of the images, width, dtype."""

    batch: int
    side: int
    width: int
    dtype: str

    def draw(self, number, *shape):
        """Return normal numbers of a shape, in the dtype."""
        key = jax.random.key(number)
        return jax.random.normal(key, shape).astype(self.dtype)

    def middle(self):
        """Return maps and a kernel in the middle of G: y and w [4, 4, C, F]."""
        side, channels = self.side // 4, 2 * self.width
        return (
            self.draw(0, self.batch, side, side, 2 * channels),
            self.draw(1, 4, 4, channels, 2 * channels) / channels,
        )

    def beginning(self):
        """Return images and the first kernel of D."""
        return (
            self.draw(2, self.batch, self.side, self.side, 3),
            self.draw(3, 4, 4, 3, self.width) / 5,
        )

    def end(self):
        """Return the last maps and the last kernel of G: w [4, 4, 3, C]."""
        side = self.side // 2
        return (
            self.draw(4, self.batch, side, side, self.width),
            self.draw(5, 4, 4, 3, self.width) / 30,
        )


def transposed_by_zeros(y, kernel):
    """Compute `convolutions.transposed` on an image with zeros put in."""
    zero = jnp.zeros((), y.dtype)
    spread = lax.pad(y, zero, ((0, 0, 0), (2, 2, 1), (2, 2, 1), (0, 0, 0)))
    return lax.conv_general_dilated(
        spread, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), (1, 1), 'VALID',
        dimension_numbers=DIMENSIONS,
    )


def strided_padded(x, kernel):
    """Convolve with stride 2, the channels padded to `PACKED`."""
    more = PACKED - x.shape[-1]
    return convolutions.strided(
        jnp.pad(x, ((0, 0),) * 3 + ((0, more),)),
        jnp.pad(kernel, ((0, 0), (0, 0), (0, more), (0, 0))),
    )


def strided_by_blocks(x, kernel):
    """Convolve with stride 2 and a kernel of 4 as one of 2 over 2x2 blocks."""
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    blocks = x.reshape(
        batch, height // 2 + 1, 2, width // 2 + 1, 2, channels
    ).transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, height // 2 + 1, width // 2 + 1, 4 * channels
    )
    packed = kernel.reshape(2, 2, 2, 2, channels, -1).transpose(
        0, 2, 1, 3, 4, 5
    ).reshape(2, 2, 4 * channels, -1)
    return lax.conv_general_dilated(
        blocks, packed, (1, 1), 'VALID', dimension_numbers=DIMENSIONS
    )


def transposed_padded(y, kernel):
    """Compute `convolutions.transposed` to `PACKED` channels, and drop some."""
    channels = kernel.shape[2]
    wide = jnp.pad(
        kernel, ((0, 0), (0, 0), (0, PACKED - channels), (0, 0))
    )
    return convolutions.transposed(y, wide)[..., :channels]


def _normalize(x, mean, square):
    scale = lax.rsqrt(jnp.maximum(square - mean**2, 0) + 1e-5)
    return ((x - mean) * scale).astype(x.dtype)


def batch_norm(x):
    """Normalize over the batch, by means of x and its square."""
    wide = x.astype(jnp.float32)
    axes = (0, 1, 2)
    return _normalize(x, wide.mean(axes), jnp.square(wide).mean(axes))


def batch_norm_by_products(x):
    """Normalize over the batch, by sums that are products with ones."""
    rows = x.reshape(-1, x.shape[-1])
    ones = jnp.ones((1, len(rows)), x.dtype)
    dot = functools.partial(jnp.dot, preferred_element_type=jnp.float32)
    total, squares = dot(ones, rows)[0], dot(ones, rows * rows)[0]
    return _normalize(x, total / len(rows), squares / len(rows))


def batch_norm_twice(x):
    """Normalize over the batch, by the mean of squares around the mean."""
    wide = x.astype(jnp.float32)
    mean = wide.mean((0, 1, 2))
    square = jnp.square(wide - mean).mean((0, 1, 2)) + mean**2
    return _normalize(x, mean, square)


def _layer(x, kernel):
    return nn.leaky_relu(batch_norm(convolutions.strided(x, kernel)), 0.2)


def halves_apart(real, fake, kernel):
    """Apply a layer of D to real and fake images, one after the other."""
    return jnp.stack([_layer(real, kernel), _layer(fake, kernel)])


def halves_at_once(real, fake, kernel):
    """Apply a layer of D to both, in one pass with statistics of each half."""
    return jax.vmap(_layer, (0, None))(jnp.stack([real, fake]), kernel)


def _players(shapes):
    """Return gradients, both moments, parameters and averages: five lists."""
    widths = [shapes.width * 2**i for i in range(int(math.log2(shapes.side)))]
    sizes = [
        size for few, many in zip(widths, widths[1:])
        for size in ((4, 4, few, many), (many,), (many,))
    ]
    return [
        [
            jnp.abs(jax.random.normal(jax.random.key(10 * kind + i), size))
            for i, size in enumerate(sizes)
        ] for kind in range(5)
    ]


def adam_by_leaf(*lists):
    """Update moments, parameters and an average, leaf by leaf."""
    return [_adam(*leaves) for leaves in zip(*lists)]


def adam_flat(*lists):
    """Update the same on vectors that the leaves are joined to."""
    updated = _adam(*(
        jnp.concatenate([leaf.ravel() for leaf in leaves]) for leaves in lists
    ))
    ends = np.cumsum([leaf.size for leaf in lists[0]])[:-1]
    parts = zip(*(jnp.split(vector, ends) for vector in updated))
    return [
        tuple(part.reshape(leaf.shape) for part in of_leaf)
        for leaf, of_leaf in zip(lists[0], parts)
    ]


def _adam(grads, m, v, params, average):
    m, v = 0.5 * m + 0.5 * grads, 0.999 * v + 0.001 * jnp.square(grads)
    params = params - 2e-4 * m / (jnp.sqrt(v) + 1e-8)
    return m, v, params, 0.999 * average + 0.001 * params


def _middle_of_d(shapes):
    side, channels = shapes.side // 2, shapes.width
    images = [
        shapes.draw(number, shapes.batch, side, side, channels)
        for number in (6, 7)
    ]
    return *images, shapes.draw(8, 4, 4, channels, 2 * channels) / channels


def _maps(shapes):
    return shapes.draw(
        9, shapes.batch, shapes.side // 2, shapes.side // 2, shapes.width
    ),


IDEAS = {
    'transposed convolution as a narrower one of stride 1': Idea(
        'the transposed convolution in the middle of G',
        '0.9: no products with the zeros between pixels',
        lambda s: (
            convolutions.transposed, convolutions._sub_pixel, s.middle()
        ),
    ),
    'transposed convolution on an image with zeros put in': Idea(
        'the transposed convolution in the middle of G',
        '1.5 forwards, faster where XLA differentiates by dilation badly',
        lambda s: (convolutions.transposed, transposed_by_zeros, s.middle()),
    ),
    'first kernel of D: 3 channels padded to 8': Idea(
        'the first convolution of D',
        '0.9: cuDNN pads them itself, by a kernel of its own',
        lambda s: (convolutions.strided, strided_padded, s.beginning()),
    ),
    'first kernel of D over blocks of 2x2 pixels': Idea(
        'the first convolution of D',
        '0.7: 12 channels at stride 1 in place of 3 at stride 2',
        lambda s: (convolutions.strided, strided_by_blocks, s.beginning()),
    ),
    'end of G: 3 channels padded to 8': Idea(
        'the last transposed convolution of G',
        '0.9: as for D',
        lambda s: (convolutions.transposed, transposed_padded, s.end()),
    ),
    'end of G: 12 channels, shuffled to pixels': Idea(
        'the last transposed convolution of G',
        '0.7: a quarter of the pixels with four times the channels',
        lambda s: (
            convolutions.transposed, convolutions._sub_pixel, s.end()
        ),
    ),
    'sums of BatchNorm as products': Idea(
        'sums of BatchNorm as reductions',
        '0.9: matrix units in place of reductions; one more pass over x',
        lambda s: (batch_norm, batch_norm_by_products, _maps(s)),
    ),
    'BatchNorm with the squares around the mean': Idea(
        'with the mean of squares',
        '1.2: one more pass over x',
        lambda s: (batch_norm, batch_norm_twice, _maps(s)),
    ),
    'real and fake in one pass, statistics of each half': Idea(
        'two passes of a layer of D',
        '0.95: half of the launches and of the readings of the kernel',
        lambda s: (halves_apart, halves_at_once, _middle_of_d(s)),
    ),
    'Adam and EMA on one vector': Idea(
        'leaf by leaf',
        '0.8 where launches count, else 1.3: parameters are copied twice',
        lambda s: (adam_by_leaf, adam_flat, _players(s)), derived=False,
    ),
}
GPU = '--xla_gpu_'
# {idea: (predicted, steps of a call, flags of XLA)}, of whole steps; 0 steps
# are as many as in training, 64 on an accelerator.
STEPS = {
    'a scan of 16 steps': ('1.1 at batch 64, 1.0 at batch 512', 16, ''),
    'a scan of 256 steps': (
        '0.98 at batch 64: the host is asked less often', 256, ''
    ),
    'command buffers, loops written out': (
        '0.7 at batch 64: one launch for a step', 0,
        f'{GPU}enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CONVOLUTION,'
        f'WHILE,DYNAMIC_SLICE_FUSION {GPU}command_buffer_unroll_loops=true',
    ),
    'convolutions fused with what follows': (
        '0.9: LeakyReLU and bias without a pass', 0,
        f'{GPU}experimental_enable_conv_fusion=true',
    ),
    'NHWC forced': (
        '1.0 in bfloat16, which is NHWC already', 0,
        f'{GPU}force_conv_nhwc=true',
    ),
    'autotuning of all algorithms': (
        '0.98; compilation takes several times as long', 0,
        f'{GPU}exhaustive_tiling_search=true {GPU}autotune_level=4',
    ),
}


def differentiated(function):
    """Return a compiled function of (result, its gradients)."""

    def both(*arguments):
        out, pull = jax.vjp(function, *arguments)
        return out, pull(jax.tree.map(jnp.tanh, out))

    return jax.jit(both)


def difference(one, other):
    """Return the largest difference over the largest number, over leaves."""
    def of(a, b):
        a, b = a.astype(jnp.float32), b.astype(jnp.float32)
        return jnp.max(jnp.abs(a - b)) / jnp.maximum(jnp.max(jnp.abs(a)), 1e-6)

    return float(jnp.max(jnp.stack(
        [of(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other))]
    )))


def measure_form(idea, shapes):
    """Compare a form with the one that is used.

    Returns:
        JSON-compatible dict: 'ratio' and 'quartiles', or 'failure'.
    """
    used, other, arguments = idea.build(shapes)
    compiled = differentiated if idea.derived else jax.jit
    forms = [compiled(used), compiled(other)]
    try:
        results = [form(*arguments) for form in forms]
        wrong = difference(*results)
    except jax.errors.JaxRuntimeError as error:
        return {'failure': str(error).splitlines()[0][:turns.LONGEST]}
    if not wrong < TOLERANCE[shapes.dtype]:
        return {'failure': f'its numbers differ by {wrong:.2g}'}

    def seconds(form, count):
        began = time.perf_counter()
        for _ in range(count):
            result = form(*arguments)
        jax.block_until_ready(result)
        return time.perf_counter() - began

    count = max(1, round(SECONDS.value / max(1e-6, seconds(forms[0], 1))))
    rounds = [
        [seconds(form, count) for form in forms] for _ in range(ROUNDS.value)
    ]
    before, after = zip(*rounds)
    return turns.ratio(after, before) | {
        'ms': [1e3 * statistics.median(x) / count for x in (before, after)],
        'difference': wrong,
    }


def measure_steps(names):
    """Compare whole steps; yields (idea, numbers as of `measure_form`)."""
    case, = beside_torch.cases(['dcgan 64'], DTYPE.value)
    shape = f'--shape={SIDE.value}x{SIDE.value}x3'
    arguments = [
        str(beside_torch.HERE / 'step_throughput.py'), '--serve',
        *case.arguments, shape, f'--config.batch_size={BATCH.value}',
        f'--config.generator.width={WIDTH.value}',
        f'--config.discriminator.width={WIDTH.value}',
    ]

    def start(scan, options):
        joined = ' '.join(filter(None, [os.environ.get('XLA_FLAGS'), options]))
        return functools.partial(
            turns.Worker, *arguments, f'--steps_per_call={scan}',
            env={**os.environ, 'XLA_FLAGS': joined},
        )

    for name in names:
        _, scan, options = STEPS[name]
        clock = beside_torch.Clock(PATIENCE.value, 0)
        with contextlib.ExitStack() as stack:
            sides = {
                side: stack.enter_context(beside_torch.Side(one, clock))
                for side, one in (
                    ('used', start(0, '')),
                    ('idea', start(scan, options)),
                )
            }
            counts, taken = beside_torch.time_in_turns(
                sides, 'train', ROUNDS.value, SECONDS.value
            )
        failures = [side.failure for side in sides.values() if side.failure]
        if failures:
            yield name, {'failure': failures[0]}
            continue
        each = {
            side: [seconds / counts[side] for seconds in taken[side]]
            for side in sides
        }
        yield name, turns.ratio(each['idea'], each['used']) | {
            'ms': [
                1e3 * statistics.median(each[side])
                for side in ('used', 'idea')
            ],
        }


def row(name, instead_of, predicted, measured):
    """Return the line of an idea."""
    if 'failure' in measured:
        cells = '', f"failed: {measured['failure']}"
    else:
        low, high = measured['quartiles']
        kept = 'keep' if high < GAIN.value else 'no'
        cells = f"{measured['ratio']:.2f} ({low:.2f} to {high:.2f})", kept
    return f'| {name} | {instead_of} | {predicted} | {" | ".join(cells)} |'


def chosen():
    """Return the names of --only, or all, of forms and of steps."""
    unknown = sorted(set(ONLY.value) - set(IDEAS) - set(STEPS))
    if unknown:
        raise errors.ConfigError(
            f'--only={unknown}: choose from {[*IDEAS, *STEPS]}'
        )
    return [
        [name for name in table if not ONLY.value or name in ONLY.value]
        for table in (IDEAS, STEPS)
    ]


def main(_):
    """Measure and print a row for each idea."""
    forms, steps = chosen()
    turns.share_memory()
    shapes = Shapes(BATCH.value, SIDE.value, WIDTH.value, DTYPE.value)
    result = beside_torch.describe() | {'shapes': shapes._asdict(), 'ideas': {}}
    print(HEAD, flush=True)

    def note(name, instead_of, predicted, measured):
        print(row(name, instead_of, predicted, measured), flush=True)
        result['ideas'][name] = {'predicted': predicted, **measured}
        if JSON.value:
            writer.write_json(JSON.value, result)

    for name in forms:
        idea = IDEAS[name]
        note(name, idea.instead_of, idea.predicted, measure_form(idea, shapes))
    for name, measured in measure_steps(steps):
        note(name, 'a step of DCGAN as in training', STEPS[name][0], measured)


if __name__ == '__main__':
    app.run(main)
