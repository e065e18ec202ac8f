"""Unrolled GAN: a generator that foresees the discriminator's updates.

Paper: Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016. From the authors' demonstration: two
hidden layers of 128 with tanh's place taken by ReLU and LeakyReLU, z of 256,
batch 512, 5 unrolled updates, Adam(b1 0.5) with 1e-3 for G and 1e-4 for D, the
saturating loss. Differs: the ring has 8 modes, where the demonstration takes
one angle twice.

    python -m gan_jax.main --config=configs/unrolled.py
    python -m gan_jax.main --config=configs/unrolled.py:grid

Arguments: ring (the default), grid, spirals, moons, circles, manifold.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='ring'):
    """Give the config for one source of points."""
    config = recipes.on_points('unrolled', argument)
    config.loss.name = 'minimax'
    config.schedule.name = 'unrolled'
    config.g_optimizer.learning_rate = 1e-3
    config.d_optimizer.learning_rate = 1e-4
    config.latent_size = 256
    config.num_steps = 25_000
    return config
