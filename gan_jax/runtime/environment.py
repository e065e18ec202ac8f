"""Machine and software of a run: versions, devices, revision, JAX settings.

`prepare` sets up JAX before a run; the other functions collect what a run
folder and `doctor` report about the machine.
"""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import gan_jax
from gan_jax.core import redact
from gan_jax.runtime import cache
from gan_jax.runtime import determinism
from gan_jax.runtime import malloc
from gan_jax.runtime import parallel

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def prepare():
    """Set up the compilation cache and malloc; see `cache` and `malloc`.

    Must be called before JAX initializes its devices.
    """
    malloc.keep_freed_memory()
    jax.config.update('jax_compilation_cache_dir', cache.folder())
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.05)


def machine():
    """Return {name: text} of versions and hardware."""
    return {
        'python': f'{platform.python_version()} ({platform.platform()})',
        'versions': ', '.join(f'{k} {v}' for k, v in versions().items()),
        'revision': _git_revision() or 'none',
        'cores': str(os.cpu_count()),
        'memory': f'{parallel.machine_memory() / 2**30:.1f} GiB',
        'backend': f'{jax.default_backend()}, {jax.device_count()} device(s)',
    }


def try_devices(size=1024):
    """Multiply two matrices on each local device.

    Yields:
        (device name, its kind and the time taken, or 'FAILED: ' and a reason).
    """
    for device in jax.local_devices():
        try:
            ones = jax.device_put(np.ones((size, size), np.float32), device)
            product = jax.jit(jnp.matmul)
            wrong = np.ptp(np.asarray(product(ones, ones))) != 0 or (
                float(product(ones, ones)[0, 0]) != size
            )
            began = time.perf_counter()
            product(ones, ones).block_until_ready()
            taken = 1e3 * (time.perf_counter() - began)
            yield str(device), 'FAILED: a product is wrong' if wrong else (
                f'{device.device_kind}, float32 product of {size} in '
                f'{taken:.1f} ms'
            )
        except Exception as error:  # a broken driver may raise anything
            reason = ' '.join(str(error).split())
            yield str(device), f'FAILED: {reason or type(error).__name__}'


def free_space(folder):
    """Return a line about the free disk space at a folder's location."""
    path = pathlib.Path(folder).expanduser().absolute()
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return (
        f'{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free in '
        f'{path}'
    )


def describe(seed):
    """Collect what is needed to reproduce a run.

    Args:
        seed: the run's seed.

    Returns:
        JSON-serializable dict.
    """
    devices = jax.devices()
    python = os.path.basename(sys.executable)
    return {
        'started': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        'command': shlex.join(
            redact.mask_arguments([python, *sys.orig_argv[1:]])
        ),
        'seed': seed,
        'backend': jax.default_backend(),
        'devices': [str(device) for device in devices],
        'device_kind': devices[0].device_kind,
        'processes': jax.process_count(),
        'platform': platform.platform(),
        'python': platform.python_version(),
        'versions': versions(),
        'deterministic': determinism.is_set(),
        'xla_flags': determinism.flags_set(),
        'git_revision': _git_revision(),
    }


def versions():
    """Return {package: version} of gan_jax and the numerical packages."""
    return {
        'gan_jax': gan_jax.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _git_revision():
    """Return the git revision of this package's checkout, or None."""
    root = pathlib.Path(gan_jax.__file__).parent.parent
    if not (root / '.git').exists():
        return None

    def git(*arguments):
        # `git describe --dirty` would write to the index of the checkout.
        return subprocess.run(
            ['git', '--no-optional-locks', *arguments],
            cwd=root, capture_output=True, text=True, timeout=5, check=True,
        ).stdout.strip()

    try:
        changed = git('status', '--porcelain', '--untracked-files=no')
        return git('rev-parse', 'HEAD') + ('-dirty' if changed else '')
    except (OSError, subprocess.SubprocessError):
        return None
