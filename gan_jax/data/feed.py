"""From position to batch: what goes to the devices once, and what each call.

A feed has `resident`, arrays that lie on every device for the whole run;
`read(position, count)`, what one call needs for `count` batches, [count, B, …];
and `select(resident, fed)`, which runs on the device and gives (images, labels)
of one batch. Code that trains knows no more of its data.
"""

from gan_jax.data import order


class ResidentFeed:
    """A whole data set on the device; a call is fed indices alone."""

    def __init__(self, dataset, *, seed, batch_size):
        """Hold `dataset` (a `sources.Dataset`) and draw batches by `seed`."""
        self.resident = (dataset.images, dataset.labels)
        self._seed = seed
        self._batch_size = batch_size
        self._size = len(dataset.images)

    def read(self, position, count):
        """Give int32 [count, batch_size], images of batches from position."""
        return order.indices(
            self._seed, position, count, self._batch_size, self._size
        )

    @staticmethod
    def select(resident, fed):
        """Gather (images, labels or None) of indices of any shape."""
        images, labels = resident
        return images[fed], None if labels is None else labels[fed]
