"""Unrolled GAN on a mixture of points in 2-D, whose modes can be counted.

Paper: Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016: G's gradient goes through 5 imagined
updates of D. From the authors' demo: two hidden layers of 128, z of size 256,
batch 512, Adam(b1 0.5) with 1e-3 for G and 1e-4 for D, the saturating loss.
Differences: ReLU and LeakyReLU in place of tanh; LeCun's initial weights, where
the demo's are orthogonal; the ring has 8 distinct modes,
where the demo has one angle twice.

    python -m gan_jax.main --config=configs/unrolled.py
    python -m gan_jax.main --config=configs/unrolled.py:grid

Expected on the ring, seed 0, after 9,000 of 25,000 steps on 2 CPU cores: 8 of 8
modes, 30 % of points of high quality and rising (2026-11-22,
benchmarks/README.md). It was not run to the end.
Time: not measured.

Arguments: ring (the default), grid, spirals, moons, circles, line, manifold.
"""

from gan_jax.config import recipes


def get_config(argument='ring'):
    """Build the config for one source of points."""
    config = recipes.on_points('unrolled', argument)
    config.loss.name = 'minimax'
    config.schedule.name = 'unrolled'
    config.g_optimizer.learning_rate = 1e-3
    config.d_optimizer.learning_rate = 1e-4
    config.latent_size = 256
    config.num_steps = 25_000
    return config
