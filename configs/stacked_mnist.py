"""GAN of tiny networks on stacked MNIST, which has 1,000 modes.

Papers: Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016; with packing Lin et al., PacGAN: The
power of two samples in generative adversarial networks,
https://arxiv.org/abs/1712.04086, 2017. From the papers: the networks
(gan_jax/networks/tiny.py), z of size 256, batch 128, Adam with 2e-4 for D and
1e-4 for G, b1 0.5, b2 0.99, 500,000 batches. A GAN of this size loses many
modes.
Differences: 128,000 triples that are drawn once, as in VEEGAN, where the papers
draw new ones for each batch. D is updated first, then G against the new D. G's
loss is the non-saturating one.

    python -m gan_jax.main --config=configs/stacked_mnist.py
    python -m gan_jax.main --config=configs/stacked_mnist.py:half \
        --config.packing=2
    python -m gan_jax.main --config=configs/stacked_mnist.py \
        --config.schedule.name=unrolled

| argument              | channels of D | parameters of D, without packing |
|-----------------------|---------------|----------------------------------|
| quarter (the default) | 2, 4, 8       | 571                              |
| half                  | 4, 8, 16      | 1,861                            |

The data are made from the data set mnist (gan_jax/data/README.md). Count the
modes of samples, and the KL divergence, beside those of real triples by

    python -m gan_jax evaluate --workdir=runs/stacked_mnist --metrics=modes \
        --num_fake=25600 --num_real=25600 --weights=raw

This recipe was not run to the end. benchmarks/stacked_mnist.py trains and
measures all rows of the papers' table (benchmarks/README.md).
"""

from gan_jax.config import defaults
from gan_jax.core import errors

WIDTHS = {'half': 4, 'quarter': 2}  # channels of D's first layer; G has 8


def get_config(argument='quarter'):
    """Build the config for one size of D, as a share of G's."""
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
