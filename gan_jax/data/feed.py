"""Feeds: from a position in the order of batches to arrays for the devices.

A feed supplies the compiled steps with data. It has

- `kind`: a name; 'resident' where `read` returns indices of resident images;
- `resident`: arrays that stay on every device for the whole run;
- `read(position, count)`: arrays for `count` batches, [count, b, …], where b is
  this host's part of the global batch;
- `bytes_per_batch`: size of one batch of these;
- `select(resident, fed)`: runs on the device; (images, labels) of the K batches
  of a step, with K as the leading axis;
- `close()`.
"""

import numpy as np

from gan_jax.data import order

MAX_AHEAD = 16  # batches
MAX_BYTES_AHEAD = 128 * 2**20


class ResidentFeed:
    """A data set that stays on the device; only indices are transferred."""

    kind = 'resident'

    def __init__(self, dataset, *, seed, batch_size, host_slice=None, stream=0):
        """Create a feed of a `sources.Dataset`.

        Args:
            dataset: with images in memory.
            seed: of the order.
            batch_size: images in a global batch.
            host_slice: (start, stop) of this host's part of it; all by default.
            stream: index of the order, for runs with several.
        """
        # Rows, because a TPU pads the last two axes, to 8 x 128 or more. It
        # stored images in another order than the step reads them in, and so
        # copied all of them in each call.
        self.resident = (
            dataset.images.reshape(len(dataset.images), -1), dataset.labels
        )
        self._shape = dataset.images.shape[1:]
        self._draw = _draw_function(
            dataset, seed, batch_size, host_slice, stream
        )
        self.bytes_per_batch = self._draw(0, 1).nbytes

    def read(self, position, count):
        """Return the indices, int32 [count, b], of batches from a position."""
        return self._draw(position, count)

    def select(self, resident, fed):
        """Gather (images, labels or None) at indices of any shape."""
        rows, labels = resident
        images = rows[fed].reshape(*fed.shape, *self._shape)
        return images, None if labels is None else labels[fed]

    def close(self):
        """Close the feed: a no-op, because it holds no resources."""


class StreamingFeed:
    """A data set that grain's threads read batch by batch, in advance."""

    kind = 'streaming'
    resident = ()

    def __init__(
        self, dataset, *, seed, batch_size, host_slice=None, stream=0, threads=4
    ):
        """Create a feed of a `sources.Dataset`.

        Args:
            dataset: whose images may be in memory or not.
            seed: of the order.
            batch_size: images in a global batch.
            host_slice: (start, stop) of this host's part of it; all by default.
            stream: index of the order, for runs with several.
            threads: batches that are read at once.
        """
        self._images, self._labels = dataset.images, dataset.labels
        self._draw = _draw_function(
            dataset, seed, batch_size, host_slice, stream
        )
        self._threads = threads
        one = dataset.images.nbytes // len(dataset.images)
        self.bytes_per_batch = self._draw(0, 1).size * one
        ahead = MAX_BYTES_AHEAD // self.bytes_per_batch
        self._ahead = int(np.clip(ahead, 2, MAX_AHEAD))
        self._iterator = self._next = None

    def read(self, position, count):
        """Read (uint8 [count, b, H, W, C], int32 [count, b] or None).

        If the position is where the last call ended, batches that were read in
        advance are used; otherwise reading restarts there.
        """
        if position != self._next:
            self._start(position)
        batches = [next(self._iterator) for _ in range(count)]
        self._next = position + count
        images, labels = zip(*batches)
        labels = None if self._labels is None else np.stack(labels)
        return (images[0][None] if count == 1 else np.stack(images)), labels

    def _start(self, position):
        import grain

        self.close()
        batches = grain.MapDataset.range(position, 2**62).map(self._batch)
        self._iterator = iter(batches.to_iter_dataset(grain.ReadOptions(
            num_threads=min(self._threads, self._ahead),
            prefetch_buffer_size=self._ahead,
        )))

    def _batch(self, position):
        indices = self._draw(int(position), 1)[0]
        images = np.asarray(self._images[indices])
        return images, None if self._labels is None else self._labels[indices]

    @staticmethod
    def select(resident, fed):
        """Return the batches as they were read: (images, labels or None)."""
        del resident
        return fed

    def close(self):
        """Stop reading in advance."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator = self._next = None


def _draw_function(dataset, seed, batch_size, host_slice, stream):
    """Build a function (position, count) -> int32 [count, b] of this host."""
    start, stop = host_slice or (0, batch_size)
    size = len(dataset.images)

    def draw(position, count):
        indices = order.indices(
            seed, position, count, batch_size, size, stream
        )
        return indices[:, start:stop]

    return draw
