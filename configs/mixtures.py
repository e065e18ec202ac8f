"""A GAN on 2-D points, where modes can be counted.

    python -m gan_jax.main --config=configs/mixtures.py
    python -m gan_jax.main --config=configs/mixtures.py:grid \
        --config.loss.name=relativistic --config.penalties.r1.weight=1

Sources: ring (8 modes on a circle, deviation 0.01, the default), grid (25
modes, deviation 0.05), spirals, moons, circles; line: 2 modes of one coordinate
(configs/one_dimension.py); manifold: data.modes modes in a plane of
data.dimension dimensions in data.ambient of them.

Networks: two hidden layers of 128 for each player, as in the demo of Metz et
al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016, with ReLU and LeakyReLU in place of
tanh. Batch 512, Adam(1e-3, b1 0.5), z of 32, ours.

The picture of each sample step has real and generated points; metrics.jsonl
has the modes found, the share of the rarest, the share of points within 3
deviations of a mode, and the reverse KL divergence (ring and grid).

Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='ring'):
    """Give the config for one source of points."""
    config = recipes.on_points('mixtures', argument)
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-3
    config.latent_size = 32
    config.num_steps = 20_000
    return config
