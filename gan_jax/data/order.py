"""Order of the images: batches as a pure function of seed and position.

There is no state. A resumed run draws the same batches as an uninterrupted one,
on any number of devices.
"""

import functools

import numpy as np


@functools.lru_cache(maxsize=8)
def permutation(seed, epoch, size, stream=0):
    """Shuffle range(size) for one epoch.

    Args:
        seed: int in [0, 2^63).
        epoch: int >= 0.
        size: number of images.
        stream: index of the order, for runs with several.

    Returns:
        int32 [size], read-only, from NumPy's legacy generator, whose stream
        NumPy promises not to change (NEP 19).
    """
    words = [seed & 0xFFFFFFFF, seed >> 32, epoch]
    words += [stream] if stream else []
    order = np.random.RandomState(words).permutation(size).astype(np.int32)
    order.flags.writeable = False
    return order


def indices(seed, position, count, batch_size, size, stream=0):
    """Compute the indices of the images of consecutive batches.

    Batches are cut from an endless sequence of epochs, each a new permutation.
    Every image occurs once per epoch, and a batch may span several epochs.

    Args:
        seed: int in [0, 2^63).
        position: number of batches before the first one.
        count: number of batches.
        batch_size: images in a batch, over all devices.
        size: number of images in the data set.
        stream: index of the order, for runs with several.

    Returns:
        int32 [count, batch_size].
    """
    places = np.arange(position * batch_size, (position + count) * batch_size)
    epochs, offsets = places // size, places % size
    result = np.empty(len(places), np.int32)
    for epoch in np.unique(epochs):
        mask = epochs == epoch
        order = permutation(seed, int(epoch), size, stream)
        result[mask] = order[offsets[mask]]
    return result.reshape(count, batch_size)
