"""Arrays of images that are read when they are asked for."""

import numpy as np

CHUNK = 256  # images read at once of those that are gathered


class OnDemand:
    """Images that lie elsewhere; a uint8 array as far as shape and indexing go.

    Attributes:
        shape: (N, H, W, C).
        dtype: uint8.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shape, fetch):
        """Stand for `shape` images.

        Args:
            shape: (N, H, W, C).
            fetch: int64 [n] of places -> uint8 [n, H, W, C]; may be called
                from several threads at once.
        """
        self.shape = tuple(shape)
        self._fetch = fetch
        self._places = np.arange(self.shape[0])

    @property
    def ndim(self):
        """Count the axes."""
        return len(self.shape)

    @property
    def nbytes(self):
        """Count the bytes that all of it would take in memory."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self):
        """Count the images."""
        return self.shape[0]

    def __getitem__(self, places):
        """Read images at an integer, a slice or an array of integers."""
        chosen = self._places[places]
        images = self._fetch(chosen.reshape(-1))
        return images.reshape(*chosen.shape, *self.shape[1:])


def in_memory(images):
    """Say whether images are a plain array, neither on demand nor mapped."""
    return isinstance(images, np.ndarray) and not isinstance(images, np.memmap)


def choose(images, places):
    """Give a part of images; such as lie elsewhere stay there.

    Args:
        images: array, memory map or `OnDemand`.
        places: int64 [n], increasing.

    Returns:
        As `images`; itself where all of it is chosen.
    """
    if len(places) == len(images):
        return images
    if in_memory(images):
        return images[places]
    return OnDemand(
        (len(places), *images.shape[1:]), lambda at: images[places[at]]
    )


def gather(images):
    """Read all images into an array, chunk by chunk.

    Args:
        images: array, memory map or `OnDemand`.

    Returns:
        uint8 [N, H, W, C].
    """
    whole = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        whole[start:start + CHUNK] = images[start:start + CHUNK]
    return whole


def change(images, function, shape):
    """Give images changed one by one as they are asked for.

    Args:
        images: array, memory map or `OnDemand`.
        function: uint8 [H, W, C] -> uint8 of `shape`.
        shape: (height, width, channels) of what it gives.

    Returns:
        `OnDemand`.
    """

    def fetch(places):
        changed = np.empty((len(places), *shape), np.uint8)
        for row, place in enumerate(places):
            changed[row] = function(images[place])
        return changed

    return OnDemand((len(images), *shape), fetch)
