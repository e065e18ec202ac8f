"""From position to batch: what goes to the devices once, and what each call.

A feed has a `kind`, for people; `resident`, arrays that lie on every device for
the whole run; `read(position, count)`, what one call needs for `count` batches,
[count, b, …], where b are this host's places of the global batch;
`bytes_per_batch` of that; `select(resident, fed)`, which runs on the device and
gives (images, labels) of one batch; and `close()`. Code that trains knows no
more of its data.
"""

import numpy as np

from gan_jax.data import order

MAX_AHEAD = 16  # batches
MAX_BYTES_AHEAD = 128 * 2**20


class ResidentFeed:
    """A whole data set on the device; a call is fed indices alone."""

    kind = 'resident'

    def __init__(self, dataset, *, seed, batch_size, places=None, order=0):
        """Hold `dataset` (a `sources.Dataset`) and draw batches by `seed`.

        Args:
            dataset: with images in memory.
            seed: of the order.
            batch_size: images in a global batch.
            places: (start, stop) of this host in it; all by default.
            order: number of the order, where a run has several.
        """
        self.resident = (dataset.images, dataset.labels)
        self._draw = _draws(dataset, seed, batch_size, places, order)
        self.bytes_per_batch = self._draw(0, 1).nbytes

    def read(self, position, count):
        """Give int32 [count, b], images of batches from position."""
        return self._draw(position, count)

    @staticmethod
    def select(resident, fed):
        """Gather (images, labels or None) of indices of any shape."""
        images, labels = resident
        return images[fed], None if labels is None else labels[fed]

    def close(self):
        """Hold nothing that needs closing."""


class StreamingFeed:
    """A data set read batch by batch, some ahead, in threads of grain."""

    kind = 'streaming'
    resident = ()

    def __init__(
        self, dataset, *, seed, batch_size, places=None, order=0, threads=4
    ):
        """Read `dataset` (a `sources.Dataset`) in the order of `seed`.

        Args:
            dataset: whose images may lie anywhere.
            seed: of the order.
            batch_size: images in a global batch.
            places: (start, stop) of this host in it; all by default.
            order: number of the order, where a run has several.
            threads: batches read at once.
        """
        self._images, self._labels = dataset.images, dataset.labels
        self._draw = _draws(dataset, seed, batch_size, places, order)
        self._threads = threads
        one = dataset.images.nbytes // len(dataset.images)
        self.bytes_per_batch = self._draw(0, 1).size * one
        ahead = MAX_BYTES_AHEAD // self.bytes_per_batch
        self._ahead = int(np.clip(ahead, 2, MAX_AHEAD))
        self._iterator = self._next = None

    def read(self, position, count):
        """Give (uint8 [count, b, H, W, C], int32 [count, b] or None).

        Reading on from where the last call ended takes what was read ahead;
        any other position starts anew there.
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
        chosen = self._draw(int(position), 1)[0]
        images = np.asarray(self._images[chosen])
        return images, None if self._labels is None else self._labels[chosen]

    @staticmethod
    def select(resident, fed):
        """Give what was read: (images, labels or None)."""
        del resident
        return fed

    def close(self):
        """Stop reading ahead."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator = self._next = None


def _draws(dataset, seed, batch_size, places, number):
    """Give (position, count) -> int32 [count, b] of this host."""
    start, stop = places or (0, batch_size)
    size = len(dataset.images)

    def draw(position, count):
        drawn = order.indices(
            seed, position, count, batch_size, size, number
        )
        return drawn[:, start:stop]

    return draw
