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
    python -m gan_jax encode --workdir=runs/kl_autoencoder --out=codes.npz

Expected on the digits (the default) after 1,500 steps with the start of D at
400, seed 0: reconstructions of 448 training digits have 0.996 of the sharpness
of the digits, at a root mean square error of 0.028; samples of the Gaussian
fitted to their codes are strokes, few of which are digits.
Time: 8 minutes on 2 CPU cores that were shared with other work (2026-11-27).

Differences: no features of a network trained on photos (LPIPS);
reconstruction.features compares the layers of D instead, and is 0. D has no
batch norm, with which the error grew from the start of D on. The factor of the
adaptive weight is 0.1, and its limit is that of VQ-GAN's code
(gan_jax/algorithms/autoencoder_updates.py has the other). The recipe of the
digits has 8 channels.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64. Codes of 32x32 are 8x8 with
4 channels, a factor of 4; those of 64x64 too, a factor of 8. Without D:
--config.reconstruction.start larger than --config.num_steps.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    return recipes.with_patchgan('kl_autoencoder', argument)
