"""Adversarial losses: pure functions over raw logits, real before fake.

Every loss is a pair, one function for each player, and both are minimised.
This module knows nothing of networks, configs or devices. What the others have
to know of a loss it declares itself, in `LOSSES`.
"""

import math
from typing import Callable, NamedTuple, Optional, Tuple

import jax
import jax.numpy as jnp

from gan_jax.core import options as options_lib
from gan_jax.objectives import targets as targets_lib


class Memory(NamedTuple):
    """What a loss remembers between updates.

    Attributes:
        init: () -> memory, a dict of float32 scalars.
        update: (memory, real, fake, **options) -> (memory, metrics), once in
            each update of G, from means over all devices: of D's outputs on
            real images in D's last update, and on the fakes of this update.
    """

    init: Callable
    update: Callable


class Balance(NamedTuple):
    """D's outputs and both losses where D says neither real nor fake.

    Attributes:
        equilibrium: (D's loss, G's loss) there, as where real and fake cannot
            be told apart; None where the losses have no such value.
        unit: D's loss there, if not `equilibrium`'s.
        middle: D's output there.
        reach: distance from there of an output that says real.
    """

    equilibrium: Optional[Tuple[float, float]] = None
    unit: Optional[float] = None
    middle: float = 0.0
    reach: float = 1.0


class Loss(NamedTuple):
    """The two sides of one game, and what others have to know of it.

    Attributes:
        discriminator: (real_logits [B], fake_logits [B]) -> float32 scalar.
        generator: (real_logits [B], fake_logits [B]) -> float32 scalar. Losses
            that look at fakes alone drop `real_logits`; under jit the pass of
            the real images through the discriminator then vanishes.
        options: `options.Option`s, one for each keyword argument that both
            sides and the memory's update take: `loss.<name>` of a config.
        takes_targets: whether `discriminator` takes `targets`.
        energies: whether D's outputs are reconstruction errors, >= 0 and low
            on real images, so that D has to be an autoencoder.
        memory: what it remembers, passed to both sides as `memory`; or None.
        kind: what D's outputs mean, one of `rules.KINDS`; rules that ask
            for it are silent where it is undeclared.
        balance: function of the options to a `Balance`.
        saturates: whether G's loss is flat where D is sure of fakes.
        title: name in words; '' is the name itself.
    """

    discriminator: Callable[..., jax.Array]
    generator: Callable[..., jax.Array]
    options: Tuple[options_lib.Option, ...] = ()
    takes_targets: bool = False
    energies: bool = False
    memory: Optional[Memory] = None
    kind: str = 'undeclared'
    balance: Callable[..., Balance] = lambda **options: Balance()
    saturates: bool = False
    title: str = ''


def _mean(values):
    """Average in float32, whatever the logits were computed in."""
    return jnp.mean(values.astype(jnp.float32))


def cross_entropy_discriminator(
    real_logits, fake_logits, *, targets=targets_lib.HARD
):
    """Tell real from fake by binary cross-entropy.

    E softplus(-D(x)) + E softplus(D(G(z)))
    = -E log sigmoid(D(x)) - E log(1 - sigmoid(D(G(z)))); with a target t in
    place of a hard label, each term is -t log sigmoid - (1 - t) log(1 -
    sigmoid).

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.
        targets: `targets.Targets`.

    Returns:
        float32 scalar, >= 0; 2 ln 2 where every logit is 0.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, equation 1.
    """
    real = _cross_entropy(real_logits, targets.real)
    fake = _cross_entropy(fake_logits, targets.fake)
    return _mean(real) + _mean(fake)


def _cross_entropy(logits, target):
    """Give -t log sigmoid(logit) - (1 - t) log(1 - sigmoid(logit))."""
    logits = logits.astype(jnp.float32)
    # -log sigmoid(l) = softplus(-l), -log(1 - sigmoid(l)) = softplus(l)
    positive, negative = jax.nn.softplus(-logits), jax.nn.softplus(logits)
    return target * positive + (1 - target) * negative


def minimax_generator(real_logits, fake_logits):
    """Minimise what the discriminator maximises: the saturating loss.

    E log(1 - sigmoid(D(G(z)))) = -E softplus(D(G(z))). Its gradient vanishes
    where the discriminator is sure that a fake is a fake.

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, <= 0; -ln 2 where every logit is 0.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, equation 1.
    """
    del real_logits
    return -_mean(jax.nn.softplus(fake_logits))  # log(1 - sigmoid(fake))


def non_saturating_generator(real_logits, fake_logits):
    """Make the discriminator call fakes real.

    -E log sigmoid(D(G(z))) = E softplus(-D(G(z))). The same as the
    discriminator's loss with the label of the fakes flipped.

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; ln 2 where every logit is 0.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, section 3.
    """
    del real_logits
    return _mean(jax.nn.softplus(-fake_logits))  # -log sigmoid(fake)


def least_squares_discriminator(
    real_logits, fake_logits, *, a=0.0, b=1.0, c=1.0, targets=targets_lib.HARD
):
    """Pull real outputs to b and fake outputs to a by squared error.

    1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2. The 0-1 coding has a = 0, b = c
    = 1; a = -1, b = 1, c = 0 minimises a Pearson chi^2 divergence. A target t
    stands for a + (b - a) t. The outputs are linear: no sigmoid comes before
    this loss.

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.
        a, b: what fake and real outputs are pulled to.
        c: unused; the generator's.
        targets: `targets.Targets`.

    Returns:
        float32 scalar, >= 0; (a^2 + b^2) / 2 where every output is 0.

    References:
        Mao et al., Least Squares Generative Adversarial Networks,
        https://arxiv.org/abs/1611.04076, 2016, equations 2 and 9.
    """
    del c
    real = real_logits.astype(jnp.float32) - (a + (b - a) * targets.real)
    fake = fake_logits.astype(jnp.float32) - (a + (b - a) * targets.fake)
    return 0.5 * (_mean(jnp.square(real)) + _mean(jnp.square(fake)))


def least_squares_generator(real_logits, fake_logits, *, a=0.0, b=1.0, c=1.0):
    """Pull the outputs on fakes to c by squared error: 1/2 E (D(G(z)) - c)^2.

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.
        a, b: unused; the discriminator's.
        c: what the outputs on fakes are pulled to.

    Returns:
        float32 scalar, >= 0; c^2 / 2 where every output is 0.

    References:
        Mao et al., Least Squares Generative Adversarial Networks,
        https://arxiv.org/abs/1611.04076, 2016, equations 2 and 9.
    """
    del real_logits, a, b
    return 0.5 * _mean(jnp.square(fake_logits.astype(jnp.float32) - c))


def wasserstein_discriminator(real_logits, fake_logits):
    """Part the critic's means: E f(G(z)) - E f(x).

    Minus the critic's estimate of the earth mover's distance, times its
    Lipschitz constant. The authors' code has the mirrored sign.

    Args:
        real_logits: [B] critic's outputs on real images.
        fake_logits: [B] critic's outputs on generated images.

    Returns:
        float32 scalar, of any sign; 0 where every output is equal.

    References:
        Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875,
        2017, equation 3.
    """
    return _mean(fake_logits) - _mean(real_logits)


def wasserstein_generator(real_logits, fake_logits):
    """Raise the critic's output on fakes: -E f(G(z)).

    Args:
        real_logits: [B], unused.
        fake_logits: [B] critic's outputs on generated images.

    Returns:
        float32 scalar, of any sign; 0 where every output is 0.

    References:
        Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875,
        2017, algorithm 1.
    """
    del real_logits
    return -_mean(fake_logits)


def hinge_discriminator(real_logits, fake_logits):
    """Push real outputs above 1 and fake outputs below -1, and no further.

    E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))).

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 2 where every output is 0.

    References:
        Lim and Ye, Geometric GAN, https://arxiv.org/abs/1705.02894, 2017;
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, equation 16.
    """
    real = jax.nn.relu(1 - real_logits.astype(jnp.float32))
    fake = jax.nn.relu(1 + fake_logits.astype(jnp.float32))
    return _mean(real) + _mean(fake)


def hinge_generator(real_logits, fake_logits):
    """Raise the discriminator's output on fakes: -E D(G(z)).

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, of any sign; 0 where every output is 0.

    References:
        Lim and Ye, Geometric GAN, https://arxiv.org/abs/1705.02894, 2017;
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, equation 17.
    """
    del real_logits
    return -_mean(fake_logits)


def relativistic_discriminator(real_logits, fake_logits):
    """Rank each real image above one fake: E softplus(-(D(x) - D(G(z)))).

    Real and fake images are paired by their place in the batch.

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; ln 2 where every logit is equal.

    References:
        Jolicoeur-Martineau, The relativistic discriminator: a key element
        missing from standard GAN, https://arxiv.org/abs/1807.00734, 2018.
    """
    margin = (real_logits - fake_logits).astype(jnp.float32)
    return _mean(jax.nn.softplus(-margin))  # -log sigmoid(margin)


def relativistic_generator(real_logits, fake_logits):
    """Rank each fake above one real image: E softplus(-(D(G(z)) - D(x))).

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; ln 2 where every logit is equal.

    References:
        Jolicoeur-Martineau, The relativistic discriminator,
        https://arxiv.org/abs/1807.00734, 2018.
    """
    return relativistic_discriminator(fake_logits, real_logits)


def relativistic_average_discriminator(real_logits, fake_logits):
    """Rank real images above the average fake, and fakes below the average.

    E softplus(-(D(x) - E D(G(z)))) + E softplus(D(G(z)) - E D(x)), averages
    over this device's batch. The sum of both terms, as in the paper; the
    authors' code halves it.

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 2 ln 2 where every logit is equal.

    References:
        Jolicoeur-Martineau, The relativistic discriminator,
        https://arxiv.org/abs/1807.00734, 2018.
    """
    real_margin = real_logits.astype(jnp.float32) - _mean(fake_logits)
    fake_margin = fake_logits.astype(jnp.float32) - _mean(real_logits)
    real = _mean(jax.nn.softplus(-real_margin))
    return real + _mean(jax.nn.softplus(fake_margin))


def relativistic_average_generator(real_logits, fake_logits):
    """Rank fakes above the average real image, and real images below.

    E softplus(-(D(G(z)) - E D(x))) + E softplus(D(x) - E D(G(z))).

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 2 ln 2 where every logit is equal.

    References:
        Jolicoeur-Martineau, The relativistic discriminator,
        https://arxiv.org/abs/1807.00734, 2018.
    """
    return relativistic_average_discriminator(fake_logits, real_logits)


def energy_based_discriminator(real_logits, fake_logits, *, margin=10.0):
    """Reconstruct real images, and fakes no better than to a margin.

    E D(x) + E max(0, m - D(G(z))), D the reconstruction error.

    Args:
        real_logits: [B] energies >= 0 of real images.
        fake_logits: [B] energies >= 0 of generated images.
        margin: m, in units of the energy.

    Returns:
        float32 scalar, >= 0; m where every energy is 0.

    References:
        Zhao et al., Energy-based Generative Adversarial Network,
        https://arxiv.org/abs/1609.03126, 2016, equation 1.
    """
    fake = jax.nn.relu(margin - fake_logits.astype(jnp.float32))
    return _mean(real_logits) + _mean(fake)


def energy_based_generator(real_logits, fake_logits, *, margin=10.0):
    """Lower the energy of fakes: E D(G(z)).

    Args:
        real_logits: [B], unused.
        fake_logits: [B] energies >= 0 of generated images.
        margin: unused; the discriminator's.

    Returns:
        float32 scalar, >= 0; 0 where every energy is 0.

    References:
        Zhao et al., Energy-based Generative Adversarial Network,
        https://arxiv.org/abs/1609.03126, 2016, equation 2. Its pulling-away
        term is `penalties.pulling_away`.
    """
    del real_logits, margin
    return _mean(fake_logits)


def boundary_equilibrium_discriminator(
    real_logits, fake_logits, *, memory, gamma=0.5, k_rate=1e-3
):
    """Reconstruct real images, and fakes the worse: E L(x) - k E L(G(z)).

    Args:
        real_logits: [B] energies >= 0 of real images, mean |x - AE(x)|.
        fake_logits: [B] energies >= 0 of generated images.
        memory: {'k': scalar in [0, 1]}.
        gamma, k_rate: unused; the memory's.

    Returns:
        float32 scalar, of any sign.

    References:
        Berthelot et al., BEGAN: Boundary Equilibrium Generative Adversarial
        Networks, https://arxiv.org/abs/1703.10717, 2017, section 3.4.
    """
    del gamma, k_rate
    return _mean(real_logits) - memory['k'] * _mean(fake_logits)


def boundary_equilibrium_generator(
    real_logits, fake_logits, *, memory, gamma=0.5, k_rate=1e-3
):
    """Lower the reconstruction error of fakes: E L(G(z)).

    Args:
        real_logits: [B], unused.
        fake_logits: [B] energies >= 0 of generated images.
        memory, gamma, k_rate: unused; the discriminator's and the memory's.

    Returns:
        float32 scalar, >= 0.

    References:
        Berthelot et al., BEGAN, https://arxiv.org/abs/1703.10717, 2017,
        section 3.4.
    """
    del real_logits, memory, gamma, k_rate
    return _mean(fake_logits)


def boundary_equilibrium_update(memory, real, fake, *, gamma=0.5, k_rate=1e-3):
    """Move k towards the balance E L(G(z)) = gamma E L(x).

    k <- clip(k + lambda_k (gamma L(x) - L(G(z_G))), 0, 1), and the measure of
    convergence M = L(x) + |gamma L(x) - L(G(z_G))|. x are the images of D's
    last update, z_G the latents of G's update, not those of the fakes that D
    learnt from. The paper has one update of each player in a step; with more, k
    moves in each update of G and stays where D alone moves. The authors' code
    draws one z for both players, as `reuse_fakes` does.

    Args:
        memory: {'k': scalar}.
        real, fake: mean energies over all devices, of x and of G(z_G).
        gamma: diversity ratio in [0, 1].
        k_rate: lambda_k in the paper.

    Returns:
        (memory, {'d/k': ..., 'd/convergence': ...}).

    References:
        Berthelot et al., BEGAN, https://arxiv.org/abs/1703.10717, 2017,
        sections 3.4 and 3.4.1.
    """
    balance = gamma * real - fake
    k = jnp.clip(memory['k'] + k_rate * balance, 0, 1)
    return {'k': k}, {'d/k': k, 'd/convergence': real + jnp.abs(balance)}


def balance(name, values):
    """Return the `Balance` of a loss.

    Args:
        name: of `LOSSES`.
        values: {option: number}; others are passed over.
    """
    loss = LOSSES[name]
    return loss.balance(**{o.name: values[o.name] for o in loss.options})


def _least_squares_balance(a, b, c):
    middle = (a + b) / 2
    return Balance(
        (((middle - a)**2 + (middle - b)**2) / 2, (middle - c)**2 / 2),
        middle=middle, reach=(b - a) / 2 or 1.0,
    )


_LN2 = math.log(2)
_Option = options_lib.Option
LOSSES = {
    'boundary_equilibrium': Loss(
        boundary_equilibrium_discriminator,
        boundary_equilibrium_generator,
        options=(
            _Option('gamma', 0.5, 'diversity ratio', options_lib.SHARE),
            _Option('k_rate', 1e-3, 'step size of k', options_lib.POSITIVE),
        ),
        energies=True,
        memory=Memory(
            lambda: {'k': jnp.float32(0)}, boundary_equilibrium_update
        ),
        kind='balance',
    ),
    'energy_based': Loss(
        energy_based_discriminator,
        energy_based_generator,
        options=(_Option(
            'margin', 10.0, 'energy that fakes need not exceed',
            options_lib.POSITIVE,
        ),),
        energies=True,
        kind='energy',
        balance=lambda margin: Balance(unit=margin),
    ),
    'hinge': Loss(
        hinge_discriminator, hinge_generator,
        kind='margin',
        balance=lambda: Balance((2.0, 0.0)),
        title='Hinge',
    ),
    'least_squares': Loss(
        least_squares_discriminator,
        least_squares_generator,
        options=(
            _Option('a', 0.0, "fakes, for D; -1 for Pearson's coding",
                    options_lib.FINITE),
            _Option('b', 1.0, 'reals, for D', options_lib.FINITE),
            _Option('c', 1.0, "fakes, for G; 0 for Pearson's coding",
                    options_lib.FINITE),
        ),
        takes_targets=True,
        kind='square',
        balance=_least_squares_balance,
        title='Least squares (LSGAN)',
    ),
    'minimax': Loss(
        cross_entropy_discriminator, minimax_generator, takes_targets=True,
        kind='probability',
        balance=lambda: Balance((2 * _LN2, -_LN2)),
        saturates=True,
        title='Minimax (the first)',
    ),
    'non_saturating': Loss(
        cross_entropy_discriminator,
        non_saturating_generator,
        takes_targets=True,
        kind='probability',
        balance=lambda: Balance((2 * _LN2, _LN2)),
        title='Non-saturating (usual)',
    ),
    'relativistic': Loss(
        relativistic_discriminator, relativistic_generator,
        kind='relative',
        balance=lambda: Balance((_LN2, _LN2)),
        title='Relativistic',
    ),
    'relativistic_average': Loss(
        relativistic_average_discriminator, relativistic_average_generator,
        kind='relative',
        balance=lambda: Balance((2 * _LN2, 2 * _LN2)),
        title='Relativistic average',
    ),
    'wasserstein': Loss(
        wasserstein_discriminator, wasserstein_generator,
        kind='critic',
        title='Wasserstein (WGAN)',
    ),
}
