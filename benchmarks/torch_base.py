"""What training steps in PyTorch share: device, variants, timing, CUDA graphs.

A step answers questions on standard input (`turns.py`). With
config.dtype='bfloat16' forward and backward run under autocast. A variant is
`plain`, or a combination of these, joined by plus signs:

  channels_last  images are stored as NHWC
  heap           the process keeps freed memory, as ours does
  compile        torch.compile, on CUDA with graphs (reduce-overhead)
  graph          the whole step (all players, their optimizers, the average) is
                 captured once in a CUDA graph and replayed; with `compile`,
                 that one uses no graphs
  joined         real and fake go through D in one pass, if D has neither
                 BatchNorm nor spectral normalisation
  split          a grouped convolution is one convolution for each group
"""

import functools
import resource
import statistics
import time

from absl import flags
from ml_collections import config_flags
import numpy as np
import torch
from torch import nn

import beside_torch
import turns
from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.runtime import malloc

KNOWN = (
    'channels_last', 'compile', 'graph', 'heap', 'joined', 'plain', 'split',
)
NUM_IMAGES = 512  # that a step draws its batches from


def refuse(reason):
    """Raise an error for what is not written in PyTorch."""
    raise errors.ConfigError(f'no PyTorch step is written for {reason}')


def wrapper(options):
    """Return the function that adds spectral norm to a layer, if enabled."""
    if not options.spectral_norm:
        return lambda layer: layer
    return nn.utils.parametrizations.spectral_norm


def noise_images(shape, words=(), seed=0):
    """Return `NUM_IMAGES` images of noise, uint8 [N, C, H, W].

    Args:
        shape: (H, W, C).
        words: of the variant.
        seed: of the noise.
    """
    height, width, channels = shape
    noise = np.random.RandomState(seed).randint(
        0, 256, (NUM_IMAGES, channels, height, width)
    )
    images = torch.from_numpy(noise.astype(np.uint8))
    if 'channels_last' in words:
        images = images.contiguous(memory_format=torch.channels_last)
    return images


def captured(function):
    """Capture what a function does on CUDA in a graph; return its replay.

    As https://docs.pytorch.org/docs/stable/notes/cuda.html has it: three calls
    on a stream of their own, which choose algorithms and make the optimizers'
    state, then one that is recorded. What the function reads and writes keeps
    its place in memory, and random numbers go on from replay to replay.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = function()
    return functools.partial(_replay, graph, kept)


def _replay(graph, kept):
    """Replay a graph; returns what it has written to."""
    graph.replay()
    return kept


class TimedStep:
    """Base class of a training step that is timed, on CUDA where there is one.

    A subclass has `step` and `sample`, functions without arguments, and calls
    `_start` at the end of its `__init__`.
    """

    def __init__(self, config, variant, tf32=True):
        """Choose the device and its settings.

        Args:
            config: validated ConfigDict.
            variant: see above.
            tf32: whether CUDA's products of float32 may be of TF32.

        Raises:
            errors.ConfigError: for an unknown variant, one of another device,
                or one that is not equivalent to the others.
        """
        words = set(variant.split('+'))
        if words - set(KNOWN):
            raise errors.ConfigError(
                f'--torch={variant!r}: a variant consists of {list(KNOWN)}'
            )
        self._config, self._words = config, words
        self._cuda = torch.cuda.is_available()
        if 'graph' in words and not self._cuda:
            raise errors.ConfigError('graph: needs a CUDA device')
        reason = beside_torch.unsuited(config, variant)
        if reason:
            raise errors.ConfigError(reason)
        if 'heap' in words:
            malloc.keep_freed_memory()
        self._device = torch.device('cuda' if self._cuda else 'cpu')
        if self._cuda:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            torch.backends.cudnn.allow_tf32 = tf32
            torch.backends.cudnn.benchmark = True

    def _place(self, network):
        network = network.to(self._device)
        if 'channels_last' in self._words:
            # Parameters of four axes only, so networks of points stay.
            network = network.to(memory_format=torch.channels_last)
        return network

    def _optimizer(self, parameters, options):
        return torch.optim.Adam(
            parameters, options.learning_rate, (options.b1, options.b2),
            fused=True, capturable='graph' in self._words,
        )

    def _compiled(self, function):
        """Return a function as the variant compiles it."""
        if 'compile' not in self._words:
            return function
        graphs = self._cuda and 'graph' not in self._words
        return torch.compile(
            function, mode='reduce-overhead' if graphs else 'default'
        )

    def _start(self, *generators):
        """Capture the step and the sampling, if the variant does."""
        self._generators = generators
        self._train, self._generate = self.step, self.sample
        if 'graph' in self._words:
            self._train = captured(self.step)
            self._set_training(False)
            self._generate = captured(self.sample)
            self._set_training(True)

    def _set_training(self, training):
        for generator in self._generators:
            generator.train(training)

    def _autocast(self):
        return torch.autocast(
            self._device.type, torch.bfloat16, self._config.dtype == 'bfloat16'
        )

    def _timed(self, make, count):
        self._wait()
        began = time.perf_counter()
        for _ in range(count):
            make()
        self._wait()
        return time.perf_counter() - began

    def _wait(self):
        if self._cuda:
            torch.cuda.synchronize()

    def train(self, count):
        """Time steps, in seconds."""
        return self._timed(self._train, count)

    def generate(self, count):
        """Time batches of samples with the running statistics, in seconds."""
        self._set_training(False)
        self._generate()
        taken = self._timed(self._generate, count)
        self._set_training(True)
        return taken

    def memory(self):
        """Return the peak memory in bytes, of the device or the process."""
        if self._cuda:
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def product_rate(self, size):
        """Return the FLOP/s of a matrix product, median of 5."""
        dtype = getattr(torch, self._config.dtype)
        a = torch.ones(size, size, device=self._device, dtype=dtype)
        times = [self._timed(lambda: a @ a, 1) for _ in range(6)][1:]
        return 2 * size**3 / statistics.median(times)

    def _described(self, *networks):
        """Return the version, and the number of parameters of each network."""
        return {
            'version': torch.__version__,
            'parameters': [
                sum(p.numel() for p in network.parameters())
                for network in networks
            ],
        }


def run(step):
    """Answer questions about a step on standard input until it ends.

    Args:
        step: class of the step; its arguments are a config, the shape of the
            data, a variant, and whether float32 products may be of TF32.
    """
    config = config_flags.DEFINE_config_file('config', None, 'Recipe.')
    shape = flags.DEFINE_string('shape', None, 'Such as 32x32x3, or 2.')
    variant = flags.DEFINE_string('variant', 'channels_last', 'Variant.')
    tf32 = flags.DEFINE_bool('tf32', True, 'As of step_throughput.py.')

    def main(argv):
        del argv
        turns.serve(functools.partial(
            step, config.value, beside_torch.shape_of(shape.value),
            variant.value, tf32.value,
        ))

    app.run(main)
