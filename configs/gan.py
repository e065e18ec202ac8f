"""GAN of dense networks on handwritten digits (10 s on 2 CPU cores).

Paper: Goodfellow et al., Generative Adversarial Networks,
https://arxiv.org/abs/1406.2661, 2014. From the paper: dense networks on
flattened images, and the non-saturating loss of section 3;
--config.loss.name=minimax is the loss of equation 1.
Differences: Adam and LeakyReLU, where the authors have momentum and maxout; two
hidden layers of 256 in each network, and dropout of 0.3 in D.

Expected on the digits after 2,000 steps, seed 0: noisy digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.973,
nearest 1.270, spread 0.726; rarest class 1.2 %.
Time: 10 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/gan.py
    python -m gan_jax.main --config=configs/gan.py:mnist
    python -m gan_jax.main --config=configs/gan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('gan', argument)
    for player in (config.generator, config.discriminator):
        player.name, player.norm, player.width = 'mlp', 'none', 256
    config.discriminator.dropout = 0.3
    return config
