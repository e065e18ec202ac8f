"""Lazy arrays of images, read when they are indexed.

They let the data code treat files, packs and arrays alike.
"""

import numpy as np

CHUNK = 256  # images that `gather` reads at once


class OnDemand:
    """A lazy uint8 array of images, with the shape and indexing of NumPy.

    Attributes:
        shape: (N, H, W, C).
        dtype: uint8.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shape, fetch):
        """Create a lazy array.

        Args:
            shape: (N, H, W, C).
            fetch: function of indices int64 [n] to uint8 [n, H, W, C]; it must
                be thread-safe.
        """
        self.shape = tuple(shape)
        self._fetch = fetch
        self._indices = np.arange(self.shape[0])

    @property
    def ndim(self):
        """Count the axes."""
        return len(self.shape)

    @property
    def nbytes(self):
        """Count the bytes of all images in memory."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self):
        """Count the images."""
        return self.shape[0]

    def __getitem__(self, key):
        """Read images at an integer, a slice or an array of integers."""
        indices = self._indices[key]
        images = self._fetch(indices.reshape(-1))
        return images.reshape(*indices.shape, *self.shape[1:])


def in_memory(images):
    """Return whether images are a plain array, neither lazy nor mapped."""
    return isinstance(images, np.ndarray) and not isinstance(images, np.memmap)


def choose(images, indices):
    """Select a part of images; a lazy array stays lazy.

    Args:
        images: array, memory map or `OnDemand`.
        indices: int64 [n], increasing.

    Returns:
        An array or an `OnDemand`; `images` itself if all are selected.
    """
    if len(indices) == len(images):
        return images
    if in_memory(images):
        return images[indices]
    return OnDemand(
        (len(indices), *images.shape[1:]), lambda rows: images[indices[rows]]
    )


def gather(images):
    """Read all images into an array, chunk by chunk.

    Args:
        images: array, memory map or `OnDemand`.

    Returns:
        uint8 [N, H, W, C].
    """
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        result[start:start + CHUNK] = images[start:start + CHUNK]
    return result


def change(images, function, shape):
    """Map a function lazily over images.

    Args:
        images: array, memory map or `OnDemand`.
        function: uint8 [H, W, C] -> uint8 of `shape`.
        shape: (height, width, channels) of its output.

    Returns:
        `OnDemand`.
    """

    def fetch(indices):
        result = np.empty((len(indices), *shape), np.uint8)
        for row, index in enumerate(indices):
            result[row] = function(images[index])
        return result

    return OnDemand((len(images), *shape), fetch)
