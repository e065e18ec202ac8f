"""Stacked MNIST with tiny networks: 1,000 modes, of which a GAN loses many.

Paper: Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016, and with packing Lin et al., PacGAN: The
power of two samples in generative adversarial networks,
https://arxiv.org/abs/1712.04086, 2017. From them: the networks
(gan_jax/networks/tiny.py), z of 256, batch 128, Adam with 2e-4 for D and 1e-4
for G, b1 0.5, b2 0.99, 500,000 batches. Differs: 128,000 triples that are drawn
once, as in VEEGAN's setting, where theirs are drawn anew for each batch; D
moves first, then G through the new D, and G's loss is the non-saturating one.

    python -m gan_jax.main --config=configs/stacked_mnist.py
    python -m gan_jax.main --config=configs/stacked_mnist.py:half \
        --config.packing=2
    python -m gan_jax.main --config=configs/stacked_mnist.py \
        --config.schedule.name=unrolled

| argument              | channels of D | parameters of D, without packing |
|-----------------------|---------------|----------------------------------|
| quarter (the default) | 2, 4, 8       | 571                              |
| half                  | 4, 8, 16      | 1,861                            |

The data are those of the set mnist (README.md, Data). Modes and KL of the
samples, beside those of real triples:

    python -m gan_jax evaluate --workdir=runs/stacked_mnist --metrics=modes \
        --num_fake=25600 --num_real=25600 --weights=raw

benchmarks/stacked_mnist.py trains all rows of the papers' table and measures
them. Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import defaults
from gan_jax.core import errors

WIDTHS = {'half': 4, 'quarter': 2}  # channels of D's first layer; G has 8


def get_config(argument='quarter'):
    """Give the config for one size of D, as a share of G's."""
    if argument not in WIDTHS:
        raise errors.ConfigError(errors.unknown_name(
            'configs/stacked_mnist.py:', argument, WIDTHS
        ))
    config = defaults.default_config()
    config.data.name = 'stacked_mnist'
    config.generator.name = config.discriminator.name = 'tiny'
    config.generator.width = 8
    config.discriminator.width = WIDTHS[argument]
    config.discriminator.negative_slope = 0.3
    config.latent_size = 256
    config.batch_size = 128
    config.g_optimizer.learning_rate = 1e-4
    config.g_optimizer.b2 = config.d_optimizer.b2 = 0.99
    config.num_steps = 500_000
    config.log_every = 500
    config.sample_every = config.checkpoint_every = 5000
    return config
