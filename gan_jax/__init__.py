"""Train GANs in JAX.

The public functions, each imported on first use:

    train(config, workdir)             train or continue a run, returns a `Run`
    default_config()                   config of all keys with their defaults
    load(path)                         a `Run` from its folder or a release
    sample(algorithm, state, seeds)    images or points by seed
    evaluate(workdir, metrics=…)       metrics of a run's samples

and the public modules of pure functions: `losses`, `penalties`, `metrics`,
`networks`, `transforms`. A `Run` has `algorithm`, `state`, `sample(seeds)`,
`evaluate(metrics)`, `project(images)` and `translate(image)`. All other names
may change without notice.
"""

import importlib

__version__ = '0.1.0'

# Public name: (module, its attribute; None for the module itself).
_PUBLIC = {
    'train': ('gan_jax.training.train', 'train'),
    'default_config': ('gan_jax.config.defaults', 'default_config'),
    'load': ('gan_jax.tools.trained_run', 'load'),
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
    imported = importlib.import_module(module)
    return getattr(imported, attribute) if attribute else imported


def __dir__():
    return sorted({*globals(), *__all__})
