"""VQ-GAN: an autoencoder with a codebook and a PatchGAN, on handwritten digits.

Paper: Esser et al., Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841, 2020. From the paper: an encoder and a decoder
with residual blocks, a code of a codebook at each position, L1, a PatchGAN that
starts later, and the weight of its loss by gradients at the decoder's last
layer. The commitment of 0.25 is that of VQ-VAE; the authors' code has this
weight at the codebook's own term instead. The vectors are moving averages and
start again when they die (van den Oord et al.,
https://arxiv.org/abs/1711.00937, appendix A.1; Dhariwal et al.,
https://arxiv.org/abs/2005.00341).

    python -m gan_jax.main --config=configs/vq_gan.py
    python -m gan_jax.main --config=configs/vq_gan.py:cifar10
    python -m gan_jax.main --config=configs/vq_gan.py:images \
        --config.data.path=my/images

Expected on the digits (the default) after 900 steps with the start of D at
300, seed 0: reconstructions of 448 training digits have 0.989 of the sharpness
of the digits, at a root mean square error of 0.052; all 256 codes are in use,
with a perplexity of 207; samples are strokes, not digits.
Time: 2.8 minutes on 2 CPU cores that were shared with other work (2026-11-27).

With --config.reconstruction.restart=0 --config.reconstruction.codebook=gradient
5 % of the codes were in use at step 260, and the diagnosis named the collapse;
with restart=0 alone 58 % at step 300.

Differences: no features of a network trained on photos (LPIPS);
reconstruction.features compares the layers of D instead, and is 0. D has no
batch norm, with which the error tripled within 200 steps of the start of D. The
factor of the adaptive weight is 0.1. The recipe of the digits has 8 channels.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64. Images of 32x32 and of 64x64
have 8x8 codes of 256. Samples draw the code of each position by its use there,
independently: the paper's transformer, which knows which codes belong together,
is not part of this package.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    return recipes.with_patchgan('vq_gan', argument)
