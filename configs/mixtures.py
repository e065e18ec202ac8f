"""GAN on a mixture of points in 2-D, whose modes can be counted.

    python -m gan_jax.main --config=configs/mixtures.py
    python -m gan_jax.main --config=configs/mixtures.py:grid \
        --config.loss.name=relativistic --config.penalties.r1.weight=1

Arguments: ring (8 modes on a circle, standard deviation 0.01), the default;
grid (25 modes, standard deviation 0.05); spirals; moons; circles; line, two
modes in 1-D (see configs/one_dimension.py too); manifold, data.modes modes on a
plane of data.dimension dimensions in a space of data.ambient.

Networks: two hidden layers of 128 for each player, as in the demo of Metz et
al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016, with ReLU and LeakyReLU in place of
tanh. Batch 512, Adam(1e-3, b1 0.5) and z of size 32 are our choice.

Expected on the ring after 20,000 steps, seed 0: 6 of 8 modes, 92 % of points of
high quality.
Time: 71 s on 2 CPU cores beside other work (AMD EPYC, 2026-11-26).
A penalty helps: with --config.penalties.r1.weight=0.1 all 8 modes on 5 of 5
seeds in 12,000 steps (benchmarks/README.md, "Which objectives find all modes of
the ring?").

Pictures show real and generated points. For ring, grid, line and manifold
metrics.jsonl has the number of modes found, the share of the rarest, the share
of points of high quality (in 2-D within 3 standard deviations of a mode), and
the reverse KL divergence; for the others the diversity and the distance to real
points, over those of real points.
"""

from gan_jax.config import recipes


def get_config(argument='ring'):
    """Build the config for one source of points."""
    config = recipes.on_points('mixtures', argument)
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-3
    config.latent_size = 32
    config.num_steps = 20_000
    return config
