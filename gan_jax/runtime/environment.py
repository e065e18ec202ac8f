"""What machine a run is on: versions, devices, revision, compilation cache."""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time

import jax
import platformdirs

import gan_jax

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def use_compilation_cache():
    """Keep compiled programs between runs, in the user's cache folder.

    A choice made by the environment (JAX_COMPILATION_CACHE_DIR) stands.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = pathlib.Path(platformdirs.user_cache_dir('gan_jax')) / 'xla'
        jax.config.update('jax_compilation_cache_dir', str(folder))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def describe(seed):
    """Collect what one needs to run the same thing again.

    Args:
        seed: the run's seed.

    Returns:
        dict that JSON can hold.
    """
    devices = jax.devices()
    python = os.path.basename(sys.executable)
    return {
        'started': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        'command': shlex.join([python, *sys.orig_argv[1:]]),
        'seed': seed,
        'backend': jax.default_backend(),
        'devices': [str(device) for device in devices],
        'device_kind': devices[0].device_kind,
        'processes': jax.process_count(),
        'platform': platform.platform(),
        'python': platform.python_version(),
        'versions': versions(),
        'git_revision': _git_revision(),
    }


def versions():
    """Give {package: version} of what computes."""
    return {
        'gan_jax': gan_jax.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _git_revision():
    """Give the revision of this package's own checkout, or None."""
    root = pathlib.Path(gan_jax.__file__).parent.parent
    if not (root / '.git').exists():
        return None
    try:
        return subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--abbrev=40'],
            cwd=root, capture_output=True, text=True, timeout=5, check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
