"""Adversarial losses: pure functions over raw logits, real before fake.

Every loss is a pair of functions, one per player, and both are minimised.
`LOSSES` declares the properties of each loss that other modules need. This
module knows neither networks nor configs nor devices.
"""

import math
from typing import Callable, NamedTuple, Optional, Tuple

import chex
import jax
import jax.numpy as jnp

from gan_jax.core import options as options_lib
from gan_jax.objectives import targets as targets_lib


class Memory(NamedTuple):
    """The state that a loss keeps between updates.

    Attributes:
        init: () -> memory, a dict of float32 scalars.
        update: (memory, real, fake, **options) -> (memory, metrics), called
            once per update of G with means over all devices: of D's outputs on
            the real images of D's last update, and on the fakes of this update.
    """

    init: Callable
    update: Callable


class Balance(NamedTuple):
    """Losses and outputs of an undecided D, as at the equilibrium.

    Attributes:
        equilibrium: (D's loss, G's loss) if D cannot distinguish real from
            fake; None if the losses have no such value.
        unit: D's loss then, if `equilibrium` is None.
        middle: D's output then.
        reach: distance from `middle` to the output for a real image.
    """

    equilibrium: Optional[Tuple[float, float]] = None
    unit: Optional[float] = None
    middle: float = 0.0
    reach: float = 1.0


class Loss(NamedTuple):
    """The losses of both players, and their properties.

    Attributes:
        discriminator: (real_logits [B], fake_logits [B]) -> float32 scalar.
        generator: (real_logits [B], fake_logits [B]) -> float32 scalar. Losses
            of fakes only ignore `real_logits`; under jit, D's forward pass on
            the real images is then eliminated.
        options: `options.Option`s, one per keyword argument that both functions
            and the memory's update take: `loss.<name>` in a config.
        takes_targets: whether `discriminator` takes `targets`.
        energies: whether D's outputs are reconstruction errors, >= 0 and low
            on real images, so that D must be an autoencoder.
        memory: a `Memory`, passed to both functions as `memory`; or None.
        kind: the meaning of D's outputs, one of `game.KINDS`; rules that
            depend on it do not run if it is 'undeclared'.
        balance: (**options) -> `Balance`.
        saturates: whether G's loss is flat if D is certain that fakes are fake.
        title: display name; '' for the name itself.
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
    """Compute the mean in float32, whatever the dtype of the logits."""
    return jnp.mean(values.astype(jnp.float32))


def cross_entropy_discriminator(
    real_logits, fake_logits, *, targets=targets_lib.HARD
):
    """Compute the binary cross-entropy of real and fake images.

    E softplus(-D(x)) + E softplus(D(G(z)))
    = -E log sigmoid(D(x)) - E log(1 - sigmoid(D(G(z)))). With a target t
    instead of a hard label, each term is -t log sigmoid - (1 - t) log(1 -
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
    """Compute -t log sigmoid(logit) - (1 - t) log(1 - sigmoid(logit))."""
    logits = logits.astype(jnp.float32)
    # -log sigmoid(l) = softplus(-l), -log(1 - sigmoid(l)) = softplus(l)
    positive, negative = jax.nn.softplus(-logits), jax.nn.softplus(logits)
    return target * positive + (1 - target) * negative


def minimax_generator(real_logits, fake_logits):
    """Compute the generator's minimax loss, which saturates.

    E log(1 - sigmoid(D(G(z)))) = -E softplus(D(G(z))). Its gradient vanishes
    if the discriminator is certain that a fake is fake.

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
    """Compute the generator's non-saturating loss.

    -E log sigmoid(D(G(z))) = E softplus(-D(G(z))): the discriminator's loss of
    the fakes with their label flipped.

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
    """Compute the squared error of real outputs from b and fake ones from a.

    1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2. The 0-1 coding has a = 0, b = c
    = 1; a = -1, b = 1, c = 0 minimises a Pearson chi^2 divergence. A target t
    stands for a + (b - a) t. The outputs are linear, without a sigmoid.

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.
        a, b: desired outputs on fake and on real images.
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
    """Compute the squared error of fake outputs from c: 1/2 E (D(G(z)) - c)^2.

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.
        a, b: unused; the discriminator's.
        c: desired output on fakes.

    Returns:
        float32 scalar, >= 0; c^2 / 2 where every output is 0.

    References:
        Mao et al., Least Squares Generative Adversarial Networks,
        https://arxiv.org/abs/1611.04076, 2016, equations 2 and 9.
    """
    del real_logits, a, b
    return 0.5 * _mean(jnp.square(fake_logits.astype(jnp.float32) - c))


def wasserstein_discriminator(real_logits, fake_logits):
    """Compute the difference of the critic's means: E f(G(z)) - E f(x).

    It is minus the critic's estimate of the earth mover's distance, times the
    critic's Lipschitz constant. The authors' code has the opposite sign.

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
    """Compute minus the critic's mean output on fakes: -E f(G(z)).

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
    """Compute the hinge loss: E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))).

    It is 0 if real outputs are above 1 and fake outputs below -1.

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
    """Compute minus the mean output on fakes: -E D(G(z)).

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
    """Compute the relativistic loss: E softplus(-(D(x) - D(G(z)))).

    It ranks each real image above the fake at the same index of the batch.

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; ln 2 where every logit is equal.

    References:
        Jolicoeur-Martineau, The relativistic discriminator: a key element
        missing from standard GAN, https://arxiv.org/abs/1807.00734, 2018.
    """
    chex.assert_equal_shape([real_logits, fake_logits])
    margin = (real_logits - fake_logits).astype(jnp.float32)
    return _mean(jax.nn.softplus(-margin))  # -log sigmoid(margin)


def relativistic_generator(real_logits, fake_logits):
    """Compute the relativistic loss of G: E softplus(-(D(G(z)) - D(x))).

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
    """Compute the relativistic average loss.

    E softplus(-(D(x) - E D(G(z)))) + E softplus(D(G(z)) - E D(x)), averages
    over this device's batch. It ranks real images above the average fake, and
    fakes below the average real image. The terms are summed as in the paper;
    the authors' code halves the sum.

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
    """Compute the relativistic average loss of G.

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
    """Compute the energy-based loss: E D(x) + E max(0, m - D(G(z))).

    D is the reconstruction error; fakes with an energy above the margin m do
    not contribute.

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
    """Compute the mean energy of fakes: E D(G(z)).

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
    """Compute BEGAN's loss of D: E L(x) - k E L(G(z)), L the energy.

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
    """Compute the mean reconstruction error of fakes: E L(G(z)).

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
    """Update k towards the balance E L(G(z)) = gamma E L(x).

    k <- clip(k + lambda_k (gamma L(x) - L(G(z_G))), 0, 1), and the measure of
    convergence M = L(x) + |gamma L(x) - L(G(z_G))|. x are the images of D's
    last update, z_G the latents of G's update, not those of D's fakes. The
    paper has one update per player in a step; with more, k changes in each
    update of G and is constant in updates of D. The authors' code uses the same
    z for both players, as `reuse_fakes` does.

    Args:
        memory: {'k': scalar}.
        real, fake: mean energies of x and of G(z_G) over all devices.
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
        name: one of `LOSSES`.
        values: {option: number}; other options are ignored.
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
            'margin', 10.0, 'energy above which fakes do not contribute',
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
            _Option(
                'a', 0.0, "target of fakes for D; -1 in Pearson's coding",
                options_lib.FINITE,
            ),
            _Option('b', 1.0, 'target of real images for D',
                    options_lib.FINITE),
            _Option(
                'c', 1.0, "target of fakes for G; 0 in Pearson's coding",
                options_lib.FINITE,
            ),
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
