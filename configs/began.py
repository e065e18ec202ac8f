"""BEGAN on handwritten digits, where it collapses.

Paper: Berthelot, Schumm, Metz, BEGAN: Boundary Equilibrium Generative
Adversarial Networks, https://arxiv.org/abs/1703.10717, 2017. From the paper: D
is an autoencoder whose mean absolute reconstruction error L is the energy; k
moves in each step by 0.001 times gamma L(x) - L(G(z)), with gamma 0.5 and the
fakes of G's update; no BatchNorm in D; Adam(1e-4). `d/convergence` is the
paper's measure.
Differences: DCGAN's layers with BatchNorm in G, where the paper has
nearest-neighbour upsampling and ELU; a constant rate, which the authors halve;
z of N(0, I). The paper trains for far longer.

Expected on the digits after 2,000 steps, seed 0: one blurred digit.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 1.015,
nearest 1.216, spread 0.023; rarest class 0.0 %.
Time: 128 s on 2 CPU cores (2026-11-22), before k was mended.

    python -m gan_jax.main --config=configs/began.py
    python -m gan_jax.main --config=configs/began.py:mnist
    python -m gan_jax.main --config=configs/began.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('began', argument)
    config.loss.name = 'boundary_equilibrium'
    config.discriminator.energy = 'mean_absolute'
    config.discriminator.norm = 'none'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-4
    return config
