"""KL autoencoder: the first stage of latent diffusion, on handwritten digits.

Paper: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion
Models, https://arxiv.org/abs/2112.10752, 2021, appendix G. From the paper: an
encoder and a decoder with residual blocks, whose codes are maps, a KL
divergence of small weight, L1, a PatchGAN with the hinge loss that starts
later, and the weight of its loss by gradients at the decoder's last layer.

    python -m gan_jax.main --config=configs/kl_autoencoder.py
    python -m gan_jax.main --config=configs/kl_autoencoder.py:cifar10
    python -m gan_jax.main --config=configs/kl_autoencoder.py:images \
        --config.data.path=my/images
    python -m gan_jax encode --workdir=runs/kl_autoencoder-digits \
        --out=codes

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64. Codes of 32x32 are 8x8 with
4 channels, a factor of 4; those of 64x64 too, a factor of 8. Without D:
--config.reconstruction.start larger than --config.num_steps.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    return recipes.with_patchgan('kl_autoencoder', argument)
