"""Stacked MNIST and the like: three grey images as RGB, with 1,000 modes.

The standard benchmark of mode collapse; `metrics/modes.py` counts the modes.
"""

import numpy as np

from gan_jax.data import on_demand

COUNT = 128_000  # images of VEEGAN's stacked MNIST


def stack(images, labels, *, count=COUNT, seed=0):
    """Draw random triples of grey images as RGB.

    The class of a triple with digits a, b, c in its red, green and blue channel
    is 100a + 10b + c. The triples are the same in every run.

    Args:
        images: [N, H, W, 1] uint8.
        labels: [N] int32 in 0 to 9.
        count: number of triples.
        seed: of the triples.

    Returns:
        (`OnDemand` [count, H, W, 3], labels [count] int32, 1,000 class names).

    References:
        Srivastava et al., VEEGAN: Reducing Mode Collapse in GANs using
        Implicit Variational Learning, https://arxiv.org/abs/1705.07761, 2017.
        Metz et al., Unrolled Generative Adversarial Networks,
        https://arxiv.org/abs/1611.02163, 2016, draws new triples all the time.
    """
    triples = np.random.RandomState(seed).randint(0, len(images), (count, 3))
    classes = tuple(f'{number:03d}' for number in range(1000))

    def fetch(indices):
        # [n, 3, H, W] -> [n, H, W, 3]
        return np.moveaxis(images[triples[indices]][..., 0], 1, -1)

    stacked = on_demand.OnDemand((count, *images.shape[1:3], 3), fetch)
    return stacked, (labels[triples] @ [100, 10, 1]).astype(np.int32), classes
