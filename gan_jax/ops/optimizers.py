"""Optimizers by name: optax transforms without a learning rate.

The step multiplies their updates by the learning rate, which may change
without recompilation.
"""

from typing import Callable, NamedTuple, Tuple

import optax

from gan_jax.core import options as options_lib


class Optimizer(NamedTuple):
    """One optimizer and its options.

    Attributes:
        make: (differentiable, **options) -> optax transform. If
            `differentiable`, square roots have an epsilon inside, because the
            derivative of an update is otherwise infinite at a gradient of 0.
        options: `options.Option`s, one per keyword argument.
    """

    make: Callable[..., optax.GradientTransformation]
    options: Tuple[options_lib.Option, ...]


def adam(differentiable, *, b1, b2):
    """Return Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980, 2014).

    Its `update` takes another b2 as a keyword argument, which may differ in
    each step. The correction of the bias is by the b2 of that step.
    """

    def make(b2):
        return optax.scale_by_adam(
            b1=b1, b2=b2, eps_root=1e-16 if differentiable else 0.0
        )

    def update(updates, state, params=None, *, b2=b2, **_):
        return make(b2).update(updates, state, params)

    return optax.GradientTransformationExtraArgs(make(b2).init, update)


def rmsprop(differentiable, *, decay):
    """Return RMSProp as in torch.optim.RMSprop, which WGAN's authors use.

    The defaults of optax differ: decay 0.9, and the epsilon inside the root.
    """
    if differentiable:
        return optax.scale_by_rms(decay=decay, eps=1e-16, eps_in_sqrt=True)
    return optax.scale_by_rms(decay=decay, eps=1e-8, eps_in_sqrt=False)


def sgd(differentiable, *, momentum):
    """Return gradient descent with momentum."""
    del differentiable
    return optax.trace(decay=momentum)


def _decay(name, default, meaning):
    return options_lib.Option(name, default, meaning, options_lib.BELOW_1)


OPTIMIZERS = {
    'adam': Optimizer(adam, (
        _decay('b1', 0.5, 'decay of the first moment'),
        _decay('b2', 0.999, 'decay of the second moment'),
    )),
    'rmsprop': Optimizer(rmsprop, (
        _decay('decay', 0.99, "decay of the squares (WGAN's authors')"),
    )),
    'sgd': Optimizer(sgd, (
        _decay('momentum', 0.0, 'decay of the accumulated gradient'),
    )),
}
