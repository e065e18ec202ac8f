"""The registry of penalties, and the context that a penalty is computed from.

A penalty is a pure function of a `Context`, of weight 1: the caller applies the
weight. It receives functions and arrays, never a module, so a test can build
its context from a plain lambda. The functions are in `gradient_penalties`,
`output_penalties` and `parameter_penalties`.
"""

from typing import Any, Callable, NamedTuple, Optional

import jax

from gan_jax.objectives.gradient_penalties import (
    dragan, gradient_penalty, gradient_penalty_one_sided, r1, r2, zero_centered,
)
from gan_jax.objectives.output_penalties import (
    consistency, consistency_fake, d_classification, drift, feature_matching,
    g_classification, latent_consistency_discriminator,
    latent_consistency_generator, lecam, lecam_init, lecam_update, pulling_away,
)
from gan_jax.objectives.parameter_penalties import (
    historical_averaging, historical_averaging_init,
    historical_averaging_update, orthogonal,
)
from gan_jax.objectives.path_length import (
    path_length, path_length_init, path_length_update,
)


class Context(NamedTuple):
    """The values and functions that a penalty is computed from.

    Fields that a penalty does not use may be None. "Preprocessed" images are
    augmented, noisy and packed, as D receives them.

    Attributes:
        params: pytree, the parameters of the player that is updated. Of the
            functions below, those of its own network close over them, and those
            of the other network over that network's parameters.
        discriminator_fn: preprocessed images [B, ...] -> output with `logits`
            [B], or a map of them [B, ...], and `features` [B, F], in training
            mode.
        generator_fn: z [B x packing, latent_size] -> images; raw in G's update,
            preprocessed in D's.
        generator_method: (name, *arrays) -> output of this method of G's module
            with the current weights in training mode, for penalties on values
            inside G; None in D's update.
        real_images: [B, ...], preprocessed.
        fake_images: [B, ...], preprocessed; constant for D, a function of the
            parameters for G.
        raw_real_images, raw_fake_images: [B x packing, ...] in [-1, 1], before
            augmentation, noise and packing; neighbours are packed together.
        preprocess_fn: (raw images, fake) -> preprocessed images, with the
            random numbers of `fake_images` if `fake`, else of `real_images`.
        augmented: whether preprocessing includes augmentations.
        real: D's output on `real_images`.
        fake: D's output on `fake_images`.
        z: [B x packing, latent_size] of the fakes.
        sample_index: [B] int32, index in the global batch of the tuples that D
            judges.
        z_sample_index: [B x packing] int32, index of each z; None for
            `sample_index`.
        labels: [B] int32, of real and fake images alike; None if the GAN is
            unconditional.
    """

    params: Any = None
    discriminator_fn: Optional[Callable] = None
    generator_fn: Optional[Callable] = None
    generator_method: Optional[Callable] = None
    real_images: Optional[jax.Array] = None
    fake_images: Optional[jax.Array] = None
    raw_real_images: Optional[jax.Array] = None
    raw_fake_images: Optional[jax.Array] = None
    preprocess_fn: Optional[Callable] = None
    augmented: bool = False
    real: Any = None
    fake: Any = None
    z: Optional[jax.Array] = None
    sample_index: Optional[jax.Array] = None
    z_sample_index: Optional[jax.Array] = None
    labels: Optional[jax.Array] = None


class Penalty(NamedTuple):
    """One penalty and its properties.

    Attributes:
        player: 'discriminator' or 'generator', to whose loss it is added.
        fn: (context, memory, key) -> float32 scalar, before the weight,
            or `penalty_output.PenaltyOutput`.
        init: params -> initial memory; None if it has no memory.
        update: (memory, the player's new params, metrics) -> memory, called
            once per update with metrics averaged over devices. With `notes`:
            (memory, new params, metrics, notes), called once per update in
            which the penalty is applied.
        notes: whether `fn` returns `penalty_output.PenaltyOutput`.
        input_gradient: whether it takes the gradient of D with respect to
            single images, which BatchNorm in D would mix.
        classes: whether it needs D's class logits.
        images: whether it transforms images and does not apply to points.
        styles: whether it needs a generator with styles.
        title: display name; '' for the name itself.
        lab_text: description in the lab; '' for the first line of `fn`.
        lab_weight: default weight in the lab, for points of the plane.
    """

    player: str
    fn: Callable
    init: Optional[Callable] = None
    update: Optional[Callable] = None
    notes: bool = False
    input_gradient: bool = False
    classes: bool = False
    images: bool = False
    styles: bool = False
    title: str = ''
    lab_text: str = ''
    lab_weight: float = 1.0


PENALTIES = {
    'consistency': Penalty('discriminator', consistency, images=True),
    'consistency_fake': Penalty(
        'discriminator', consistency_fake, images=True
    ),
    'd_classification': Penalty(
        'discriminator', d_classification, classes=True
    ),
    'd_historical_averaging': Penalty(
        'discriminator', historical_averaging,
        historical_averaging_init, historical_averaging_update,
        title='Historical averaging of D', lab_weight=0.1,
        lab_text="Keeps D's weights close to their past mean.",
    ),
    'd_orthogonal': Penalty(
        'discriminator', orthogonal,
        title='Orthogonal D', lab_weight=0.001,
        lab_text="Keeps the columns of D's weights orthogonal.",
    ),
    'dragan': Penalty(
        'discriminator', dragan, input_gradient=True,
        title='DRAGAN', lab_weight=10.0,
        lab_text="Keeps the slope of D near 1 around the real points.",
    ),
    'drift': Penalty(
        'discriminator', drift,
        title='Drift', lab_weight=0.001,
        lab_text="Keeps D's outputs on real points small.",
    ),
    'feature_matching': Penalty(
        'generator', feature_matching,
        title='Feature matching', lab_weight=1.0,
        lab_text=(
            "Matches the means of D's features on real and generated points."
        ),
    ),
    'g_classification': Penalty(
        'generator', g_classification, classes=True
    ),
    'g_historical_averaging': Penalty(
        'generator', historical_averaging,
        historical_averaging_init, historical_averaging_update,
        title='Historical averaging of G', lab_weight=0.1,
        lab_text="Keeps G's weights close to their past mean.",
    ),
    'g_orthogonal': Penalty(
        'generator', orthogonal,
        title='Orthogonal G', lab_weight=0.001,
        lab_text="Keeps the columns of G's weights orthogonal.",
    ),
    'gradient_penalty': Penalty(
        'discriminator', gradient_penalty, input_gradient=True,
        title='Gradient penalty (WGAN-GP)', lab_weight=10.0,
        lab_text=(
            'Keeps the slope of D near 1 between real and generated points.'
        ),
    ),
    'gradient_penalty_one_sided': Penalty(
        'discriminator', gradient_penalty_one_sided, input_gradient=True,
        title='One-sided gradient penalty', lab_weight=10.0,
        lab_text=(
            'Keeps the slope of D at most 1 between real and generated points.'
        ),
    ),
    'latent_consistency_discriminator': Penalty(
        'discriminator', latent_consistency_discriminator,
        title='Latent consistency of D', lab_weight=1.0,
        lab_text='Makes D insensitive to small changes of z.',
    ),
    'latent_consistency_generator': Penalty(
        'generator', latent_consistency_generator,
        title='Latent consistency of G', lab_weight=0.1,
        lab_text='Makes G sensitive to small changes of z.',
    ),
    'lecam': Penalty(
        'discriminator', lecam, lecam_init, lecam_update,
        title='LeCam', lab_weight=0.1,
        lab_text="Keeps D's outputs close to their running averages.",
    ),
    'path_length': Penalty(
        'generator', path_length, path_length_init, path_length_update,
        notes=True, images=True, styles=True, title='Path length',
    ),
    'pulling_away': Penalty(
        'generator', pulling_away,
        title='Pulling away', lab_weight=0.1,
        lab_text="Makes D's features of generated points orthogonal.",
    ),
    'r1': Penalty(
        'discriminator', r1, input_gradient=True,
        title='R1', lab_weight=0.1,
        lab_text="Reduces the slope of D at the real points.",
    ),
    'r2': Penalty(
        'discriminator', r2, input_gradient=True,
        title='R2', lab_weight=0.1,
        lab_text="Reduces the slope of D at the generated points.",
    ),
    'zero_centered': Penalty(
        'discriminator', zero_centered, input_gradient=True,
        title='Zero-centred penalty', lab_weight=0.1,
        lab_text="Reduces the slope of D between real and generated points.",
    ),
}
