"""Features of many images, a batch at a time; for any extractor."""

import jax
import numpy as np


def extract(extractor, images, batch_size=64):
    """Apply an extractor to all images in batches of one size.

    The last batch is filled up with its last image, and what that gives is
    dropped, so that nothing is compiled twice.

    Args:
        extractor: function of images [batch_size, H, W, C] to a tuple of arrays
            [batch_size, ...].
        images: [N, H, W, C], N at least 1: an array, or what gives one when
            sliced.
        batch_size: images at a time.

    Returns:
        The tuple, of NumPy arrays [N, ...].
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start:start + batch_size]
        fill = batch_size - len(batch)
        full = np.concatenate([batch, *[batch[-1:]] * fill])
        parts.append(jax.tree.map(
            lambda x, count=len(batch): np.asarray(x)[:count], extractor(full)
        ))
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)
