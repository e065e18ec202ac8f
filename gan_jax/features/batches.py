"""Feature extraction over many images, in batches of one size."""

import jax
import numpy as np


def extract(extractor, images, batch_size=64):
    """Apply an extractor to all images in batches of one size.

    The last batch is padded with its last image, and the outputs of the padding
    are dropped, so that the extractor is compiled once.

    Args:
        extractor: function of images [batch_size, H, W, C] to a tuple of arrays
            [batch_size, ...].
        images: [N, H, W, C], N >= 1: an array, or an object whose slices are
            arrays.
        batch_size: images in a batch.

    Returns:
        Tuple of NumPy arrays [N, ...].
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start:start + batch_size]
        missing = batch_size - len(batch)
        padded = np.concatenate([batch, *[batch[-1:]] * missing])
        parts.append(jax.tree.map(
            lambda x, count=len(batch): np.asarray(x)[:count], extractor(padded)
        ))
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)
