"""BEGAN: an autoencoder in balance with the generator.

Paper: Berthelot, Schumm, Metz, BEGAN: Boundary Equilibrium Generative
Adversarial Networks, https://arxiv.org/abs/1703.10717, 2017. From it: the mean
absolute reconstruction error as energy, k moved by 0.001 towards a balance of
gamma 0.5 once in a step, by the fakes of G's update, no BatchNorm in D,
Adam(1e-4). Differs: DCGAN's layers, where the paper has nearest-neighbour
upsampling and ELU. `d/convergence` is the paper's measure.

    python -m gan_jax.main --config=configs/began.py
    python -m gan_jax.main --config=configs/began.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('began', argument)
    config.loss.name = 'boundary_equilibrium'
    config.discriminator.energy = 'mean_absolute'
    config.discriminator.norm = 'none'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-4
    return config
