"""Which images make up which batch: a pure function of seed and position.

Nothing here is state. A run that resumes at a position draws what it would
have drawn, on any number of devices.
"""

import functools

import numpy as np


@functools.lru_cache(maxsize=8)
def permutation(seed, epoch, size, number=0):
    """Shuffle range(size) for one epoch.

    Args:
        seed: int in [0, 2^63).
        epoch: int >= 0.
        size: number of images.
        number: of the order, where a run has several.

    Returns:
        int32 [size], read-only. NumPy's legacy generator draws it, since its
        stream is the one that NumPy promises never to change (NEP 19).
    """
    words = [seed & 0xFFFFFFFF, seed >> 32, epoch]
    words += [number] if number else []
    order = np.random.RandomState(words).permutation(size).astype(np.int32)
    order.flags.writeable = False
    return order


def indices(seed, position, count, batch_size, size, number=0):
    """Give the images of consecutive batches.

    Batches are cut from an endless row of epochs, each a fresh permutation, so
    every image is drawn once an epoch and a batch may span two of them.

    Args:
        seed: int in [0, 2^63).
        position: batches drawn before the first of these.
        count: number of batches.
        batch_size: images in a batch, over all devices.
        size: number of images in the data set.
        number: of the order, where a run has several.

    Returns:
        int32 [count, batch_size].
    """
    places = np.arange(position * batch_size, (position + count) * batch_size)
    epochs, offsets = places // size, places % size
    drawn = np.empty(len(places), np.int32)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        order = permutation(seed, int(epoch), size, number)
        drawn[chosen] = order[offsets[chosen]]
    return drawn.reshape(count, batch_size)
