"""Worker that trains with each feed and saves the order of the images.

    python tests/order_worker.py folder

Trains at once and interrupted, on the available devices. The pixels of each
image are its index.
"""

import contextlib
import pathlib
import sys

import jax
import numpy as np

import helpers
from gan_jax.runtime import parallel
from gan_jax.training import train

SIZE, STEPS, SAVED, STOPPED = 30, 12, 4, 6


class Interrupted(Exception):
    """Exception that stops a run at `STOPPED`."""


def dealt(fed):
    """Return the indices of the images of a call, [batches, global batch]."""
    images = fed['real']
    if isinstance(images, tuple):
        images, _ = images
    if images.ndim > 4:
        images = images[..., 0, 0, 0].astype(np.int32)
    # [devices, S, K, b] -> [S x K, devices x b]
    images = np.moveaxis(images, 0, 2)
    return images.reshape(images.shape[0] * images.shape[1], -1)


def numbered(side=2):
    """Return square images whose pixels are their index."""
    images = np.arange(SIZE, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return np.tile(images, (1, side, side, 1))


@contextlib.contextmanager
def watched():
    """Yield a list that collects the indices of the images of each call."""
    log, split = [], parallel.split

    def logged(fed, axis):
        shared = split(fed, axis)
        log.append(dealt(shared))
        return shared

    parallel.split = logged
    try:
        yield log
    finally:
        parallel.split = split


def run(folder, kind, stop_at=None):
    """Train; returns the indices of the images of each batch."""
    config = helpers.tiny_mlp()
    config.data.feed, config.d_steps, config.num_steps = kind, 2, STEPS
    config.checkpoint_every = SAVED

    def stop(step, metrics):
        if step == stop_at:
            raise Interrupted

    with watched() as log, contextlib.suppress(Interrupted):
        train.train(config, folder, images=numbered(), callback=stop)
    return np.concatenate(log)


def main(folder):
    folder, arrays = pathlib.Path(folder), {}
    for kind in ('resident', 'streaming'):
        arrays[f'{kind}_whole'] = run(folder / f'{kind}_whole', kind)
        first = run(folder / kind, kind, STOPPED)
        rest = run(folder / kind, kind)
        kept = 2 * SAVED  # batches before the checkpoint of the second part
        arrays[f'{kind}_resumed'] = np.concatenate([first[:kept], rest])
        arrays[f'{kind}_again'] = len(first) - kept
    np.savez(folder / 'order.npz', devices=jax.device_count(), **arrays)


if __name__ == '__main__':
    main(*sys.argv[1:])
