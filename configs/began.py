"""BEGAN on handwritten digits (221 s on 2 CPU cores).

Paper: Berthelot, Schumm, Metz, BEGAN: Boundary Equilibrium Generative
Adversarial Networks, https://arxiv.org/abs/1703.10717, 2017. From the paper: D
is an autoencoder whose mean absolute reconstruction error L is the energy; k
moves in each step by k_rate times gamma L(x) - L(G(z)), with the fakes of G's
update; Adam. `d/convergence` is the paper's measure.
Differences that it needs here, found on the digits. With the paper's settings
all samples are one blurred digit at this length:
- EBGAN's pulling-away term, with weight 0.14; 0.2 on MNIST and Fashion-MNIST.
  Nothing else in the loss keeps samples of different z apart. With 0.1 digits
  are clearer and a class may be lost; with 0.2 they are less clear.
- k_rate is 1, not 0.001. L is near 0.04, so k would stay near 0 for tens of
  thousands of steps, and G would have no opponent.
- The code has 16 numbers on the digits, and 24 on MNIST and Fashion-MNIST. With
  64 the autoencoder learns to copy any blob: nothing but pulling-away is left.
- Adam(5e-4), not 1e-4, for both; layer norm in D, where the paper has none;
  gamma 0.9, not 0.5.
Other differences: DCGAN's layers with BatchNorm in G, where the paper has
nearest-neighbour upsampling and ELU; a constant rate, which the authors halve;
z of N(0, I).

Expected on the digits after 4,000 steps, seeds 0 and 1: readable digits of
all classes.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.962 and
0.962, nearest 1.176 and 1.177, spread 0.993 and 1.020; rarest class 2.3 and
3.0 %, each on one core; on two, seed 0, 0.971, 1.129, 0.968 and 1.9 %.
Time: 221 s on 2 CPU cores (AMD EPYC), 330 s on one (2026-11-28).
On MNIST, with widths 24 and 16, the ten classes could be seen after 2,500 steps
(140 s). The other arguments were not run.

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
    config.loss.gamma, config.loss.k_rate = 0.9, 1.0
    config.penalties.pulling_away.weight = 0.14
    config.discriminator.energy = 'mean_absolute'
    config.discriminator.norm = 'layer'
    if argument == 'digits':
        config.discriminator.code_size, config.num_steps = 16, 4000
    elif argument in ('mnist', 'fashion_mnist'):
        config.discriminator.code_size = 24
        config.penalties.pulling_away.weight = 0.2
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 5e-4
    return config
