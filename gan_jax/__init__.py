"""Train GANs in JAX.

The public names, each loaded when it is asked for:

    train(config, workdir)             train, or go on; a `Run`
    default_config()                   every key of a config with its default
    load(workdir)                      (algorithm, state) of a trained run
    sample(algorithm, state, seeds)    images, or points, by seed
    evaluate(workdir, metrics=…)       numbers about a run's samples

and the rooms of pure functions: `losses`, `penalties`, `metrics`, `networks`,
`transforms`. What is not named here may change.
"""

import importlib

__version__ = '0.1.0'

# Public name: (module, its attribute; None for the module itself).
_PUBLIC = {
    'train': ('gan_jax.training.train', 'train'),
    'default_config': ('gan_jax.config.defaults', 'default_config'),
    'load': ('gan_jax.runs.sampling', 'load'),
    'sample': ('gan_jax.runs.sampling', 'sample'),
    'evaluate': ('gan_jax.evaluation.runner', 'evaluate'),
    'losses': ('gan_jax.objectives.losses', None),
    'penalties': ('gan_jax.objectives.penalties', None),
    'metrics': ('gan_jax.metrics', None),
    'networks': ('gan_jax.networks', None),
    'transforms': ('gan_jax.ops.transforms', None),
}
__all__ = ['__version__', *_PUBLIC]


def __getattr__(name):
    """Import a public name."""
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module, attribute = _PUBLIC[name]
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__():
    return sorted({*globals(), *__all__})
