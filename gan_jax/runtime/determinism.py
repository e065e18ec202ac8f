"""The same bits on a GPU: XLA's flags, and its tuning kept beside a run.

Two things make two runs on one GPU differ. Some kernels add in the order in
which threads finish. And XLA times several kernels for a product or a
convolution at each start and takes the fastest, which is not always the same
one. `use` forbids the former and loads the choices of an earlier start.

https://openxla.org/xla/determinism and
https://openxla.org/xla/persisted_autotuning, 2026.
"""

import atexit
import importlib.metadata
import os
import pathlib
import pkgutil
import secrets
import shlex
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.runtime import cache

RESULTS = 'autotune.textproto'  # the ending makes XLA write text
VARIABLE = 'XLA_FLAGS'
FORBID = '--xla_gpu_exclude_nondeterministic_ops'
DUMP = '--xla_gpu_dump_autotune_results_to'
LOAD = '--xla_gpu_load_autotune_results_from'
PLATFORMS = ('cuda', 'gpu', 'rocm')
MOST = 64 * 2**20  # bytes of the results
REPEATS = 5


def use(workdir):
    """Set XLA's flags for a deterministic run; before JAX has its devices.

    Where JAX would not look for a GPU, nothing is set. Flags of the user that
    name other files for the results are kept. JAX's cache of compiled programs
    is turned off, so that the results in the run folder decide.

    Args:
        workdir: run folder, which may not exist yet.

    Returns:
        str, a line that says what was done.

    Raises:
        errors.ConfigError: where a flag of the user contradicts, jaxlib does
            not know a flag, or the user's cache folder cannot be written.
        errors.CheckpointError: where the results cannot be read.
    """
    if not looks_for_gpu():
        return 'CPUs and TPUs need no flags'
    kept = files.to_path(workdir) / RESULTS
    folder = _private_folder()
    wanted = {FORBID: 'true', DUMP: str(folder / RESULTS)}
    if kept.exists():
        wanted[LOAD] = str(folder / 'kept.textproto')
        files.write(wanted[LOAD], _content(kept))
    flags = merged(wanted, os.environ.get(VARIABLE, ''))
    _check_known(flags)
    os.environ[VARIABLE] = flags
    jax.config.update('jax_enable_compilation_cache', False)
    return 'nondeterministic kernels are forbidden; ' + (
        f'kernels are chosen as {kept} says' if LOAD in wanted
        else f'the choice of kernels is kept in {kept}'
    )


def _private_folder():
    """Create a folder for XLA's files in the user's cache, until the exit.

    Not the run folder: XLA does not know all file systems, its flags cannot
    hold all paths, and what it writes is not complete at once.
    """
    folder = cache.default().parent / f'kernels-{secrets.token_hex(8)}'
    if len(str(folder).split()) > 1:
        raise errors.ConfigError(
            f'--deterministic: XLA cannot write to {folder}, which has blanks; '
            'set XDG_CACHE_HOME to another folder'
        )
    try:
        folder.mkdir(0o700, parents=True)
    except OSError as error:
        raise errors.ConfigError(
            f'--deterministic: {folder} cannot be created: {error.strerror}; '
            'set XDG_CACHE_HOME to another folder'
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _content(path):
    try:
        return files.read(path, MOST)
    except (OSError, ValueError) as error:
        raise errors.CheckpointError(
            f'{path} {getattr(error, "strerror", None) or error}; without it '
            'kernels are chosen anew'
        ) from error


def looks_for_gpu():
    """Return whether JAX would look for a GPU, without starting it."""
    platforms = jax.config.jax_platforms or ''
    if platforms:
        return any(name in platforms.split(',') for name in PLATFORMS)
    return any(
        name.startswith(('xla_cuda', 'xla_rocm')) for name in _plugins()
    )


def _plugins():
    """Yield the names of the installed plugins of JAX."""
    for point in importlib.metadata.entry_points(group='jax_plugins'):
        yield point.name
    try:
        import jax_plugins
    except ImportError:
        return
    for module in pkgutil.iter_modules(jax_plugins.__path__):
        yield module.name


def merged(wanted, present):
    """Add flags to a value of XLA_FLAGS, which may name a file of flags.

    Args:
        wanted: {flag: value}.
        present: value of XLA_FLAGS. Its own choice of files is kept.

    Returns:
        The new value.

    Raises:
        errors.ConfigError: where `present` allows nondeterministic kernels, or
            names a file that cannot be read.
    """
    text = present.strip()
    if text and not text.startswith('-'):
        try:
            text = pathlib.Path(text).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise errors.ConfigError(
                f'{VARIABLE}={present}: the file cannot be read: {error}'
            ) from error
    own = [word.partition('=') for word in text.split()]
    for name, _, value in own:
        if name == FORBID and value.lower() in ('false', '0'):
            raise errors.ConfigError(
                f'--deterministic contradicts {VARIABLE}={name}={value}'
            )
    names = [name for name, *_ in own]
    added = [f'{k}={value}' for k, value in wanted.items() if k not in names]
    return ' '.join([*text.split(), *added])


def _check_known(flags):
    """Check in another process that jaxlib knows the flags.

    An unknown flag ends a process without an exception.

    Raises:
        errors.ConfigError: with the last line of what that process printed.
    """
    done = subprocess.run(
        [sys.executable, '-c', 'import jax; jax.devices()'],
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', VARIABLE: flags},
        capture_output=True, text=True,
    )
    if done.returncode:
        said = done.stderr.strip() or f'exit code {done.returncode}'
        raise errors.ConfigError(
            f'--deterministic: jaxlib {importlib.metadata.version("jaxlib")} '
            f'refuses {VARIABLE}={shlex.quote(flags)}: {said.splitlines()[-1]}'
        )


def flags_set():
    """Return the XLA flags of this process, {flag: value}."""
    words = os.environ.get(VARIABLE, '').split()
    return {name: value for name, _, value in (
        word.partition('=') for word in words
    )}


def is_set():
    """Return whether nondeterministic kernels of GPUs are forbidden."""
    return flags_set().get(FORBID, '').lower() in ('true', '1')


def keep(workdir):
    """Copy XLA's present choice of kernels into a run folder.

    Does nothing where XLA writes none. To be called when nothing is compiled.

    Raises:
        OSError: where the file cannot be written.
    """
    path = flags_set().get(DUMP)
    if path and pathlib.Path(path).exists():
        content = pathlib.Path(path).read_bytes()
        kept = workdir / RESULTS
        if not kept.exists() or files.read(kept, MOST) != content:
            files.write(kept, content)


def report():
    """Return a line on whether this machine repeats bits; starts its devices.
    """
    if not repeats_bits():
        return 'not the same from call to call; train with --deterministic'
    same = f'the same in {REPEATS} calls'
    if jax.default_backend() != 'gpu' or is_set():
        return same
    return f'{same}; the same at the next start only with --deterministic'


def repeats_bits():
    """Return whether a program with a step's kinds of work repeats its bits.

    A convolution, its gradient, a scatter and a product, `REPEATS` times in
    this process.
    """
    def program(images, kernel, index):
        def loss(kernel):
            features = jax.lax.conv_general_dilated(
                images, kernel, (2, 2), 'SAME',
                dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            )
            rows = features.reshape(-1, features.shape[-1])
            sums = jnp.zeros((8, rows.shape[1])).at[index].add(rows)
            return jnp.square(sums @ sums.T).mean(), features.sum((0, 1, 2))

        return jax.value_and_grad(loss, has_aux=True)(kernel)

    random = np.random.RandomState(0)
    inputs = (
        random.randn(64, 32, 32, 3).astype(np.float32),
        random.randn(4, 4, 3, 64).astype(np.float32),
        random.randint(0, 8, 64 * 16 * 16),
    )
    run = jax.jit(program)
    results = [
        b''.join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(
            run(*inputs)
        )) for _ in range(REPEATS)
    ]
    return len(set(results)) == 1
