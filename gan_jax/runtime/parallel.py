"""Devices and hosts: pmap, collectives, scan, replication, multi-host runs.

A training call is `pmap(scan(step))`. This is the only module with collectives
and with loops on devices; the step sees one device's share of the batch, and
gets the mean over devices as a function.
"""

import functools
import math
import os
import pathlib
from typing import Any, NamedTuple
import zlib

from flax import jax_utils
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.core import errors
from gan_jax.ops import prng

AXIS = 'devices'
HEARTBEAT = 30  # seconds without a heartbeat after which a host is lost
SHUTDOWN_TIMEOUT = 60  # seconds that an ending host waits for the others
CONTAINER_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')
MAX_STEPS_PER_CALL = 64
MAX_BYTES_PER_CALL = 64 * 2**20  # of the input of a call


class Constants(NamedTuple):
    """The inputs of a call other than state and batches, on every device.

    Between calls only `hyperparams` and `number` are replaced.

    Attributes:
        resident: arrays of the feeds that stay on the device.
        hyperparams: pytree of float32 scalars.
        key_data: uint32 data of the run's PRNG key. (A key array itself cannot
            be placed on the devices of several processes.)
        sample_index: [b] int32, positions of this device's samples in the
            global batch.
        number: int32, index of the first update where a call makes only a part
            of a step.
    """

    resident: Any
    hyperparams: Any
    key_data: Any
    sample_index: Any
    number: Any


ACROSS = algorithm.Collectives(
    mean=lambda tree: jax.lax.pmean(tree, AXIS),
    gather=lambda array: jax.lax.all_gather(array, AXIS, tiled=True),
)


def initialize_hosts(**kwargs):
    """Connect the processes of a multi-host run, before any other use of JAX.

    Without arguments JAX detects the cluster. When a process is lost, JAX ends
    the others: after `HEARTBEAT` seconds without a heartbeat, or at once if it
    was the first process. A process that fails waits `SHUTDOWN_TIMEOUT` seconds
    for the others, which then end too.

    Args:
        **kwargs: passed to `jax.distributed.initialize`.

    Raises:
        errors.ConfigError: where no cluster is found.
    """
    # JAX's own service for SIGTERM counts single steps, but a call may make
    # many; `Agreement` replaces it.
    jax.config.update('jax_enable_preemption_service', False)
    try:
        jax.distributed.initialize(
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
            **kwargs,
        )
    except ValueError as error:
        raise errors.ConfigError(
            f'--multihost finds no cluster: {error}'
        ) from error


def is_first_host():
    """Return whether this process is the one that writes files."""
    return jax.process_index() == 0


class Agreement:
    """Consensus of all hosts on the call after which a signal stops the run."""

    def __init__(self):
        """Create an agreement on no signal."""
        self._pending = None

    def signal(self, number):
        """Return the signal at which all hosts stop after this call, or None.

        All hosts must call this once after each training call. With several
        hosts a signal takes effect one call later, so that no call has to wait
        for the exchange.

        Args:
            number: the signal that this process received, or None.
        """
        if jax.process_count() == 1:
            return number
        previous, self._pending = self._pending, _max_over_hosts(number or 0)
        if must_block():
            jax.block_until_ready(self._pending)
        return None if previous is None else int(previous) or None


def _max_over_hosts(number):
    """Start computing the maximum of a number over all hosts."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()), (AXIS,))
    numbers = jax.make_array_from_process_local_data(
        jax.NamedSharding(mesh, jax.P(AXIS)),
        np.full(jax.local_device_count(), number, np.int32),
    )
    everywhere = jax.NamedSharding(mesh, jax.P())
    return jax.jit(jnp.max, out_shardings=everywhere)(numbers)


def on_all_hosts(holds):
    """Return whether a condition holds on every host.

    All hosts must call this at the same point; it is a barrier too.
    """
    if jax.process_count() == 1:
        return holds
    return bool(multihost_utils.process_allgather(np.bool_(holds)).all())


def same_on_all_hosts(text):
    """Return whether a text is the same on every host; a barrier too."""
    if jax.process_count() == 1:
        return True
    digest = np.uint32(zlib.crc32(text.encode()))
    return bool(np.ptp(multihost_utils.process_allgather(digest)) == 0)


def is_lost_host_error(error):
    """Return whether an error means that another process is unreachable.

    JAX raises JaxRuntimeError, or ValueError where it calls a program in the
    caller's thread. The words UNAVAILABLE and the like also occur in errors of
    file systems, so they count in errors of JAX alone.
    """
    words = ('Gloo', 'NCCL')
    if isinstance(error, jax.errors.JaxRuntimeError):
        words += ('UNAVAILABLE', 'DEADLINE_EXCEEDED', 'Barrier')
    return jax.process_count() > 1 and any(word in str(error) for word in words)


def device_count():
    """Count the devices of all hosts."""
    return jax.device_count()


def has_fast_control_flow(convolutional):
    """Return whether `scan` and `cond` run at full speed on this backend.

    On CPU a convolution inside either is 20 to 100 times slower.
    """
    return not (convolutional and jax.default_backend() == 'cpu')


def fast_key(key):
    """Return the same PRNG key, in the fastest form for dense networks."""
    on_cpu = jax.default_backend() == 'cpu'
    return prng.unrolled(key) if on_cpu else key


@functools.cache
def compiler_options(convolutional):
    """Return the compiler options for networks on this backend.

    XLA's CPU compiler uses a library (YNNPACK) for matrix products,
    convolutions and reductions. XLA's own products make a step on points 1/8
    faster and its own convolutions a step on images 1/7; the library's
    reductions are faster on large inputs, as of BatchNorm on images.

    Args:
        convolutional: whether a network has convolutions.

    Returns:
        dict for `jax.jit`, or None where there is nothing to set or XLA does
        not know the option.
    """
    kinds = 'LIBRARY_FUSION_TYPE_REDUCE' if convolutional else ''
    options = {'xla_cpu_experimental_ynn_fusion_type': kinds}
    try:
        if jax.default_backend() == 'cpu':
            jax.jit(lambda: 0, compiler_options=options)()
            return options
    except jax.errors.JaxRuntimeError:
        pass
    return None


def scan_or_none(convolutional):
    """Return `jax.lax.scan` where it runs at full speed, else None."""
    return jax.lax.scan if has_fast_control_flow(convolutional) else None


def steps_per_call(cadences, convolutional, bytes_per_step=0):
    """Choose the number of steps that one call makes.

    It divides every cadence, so that each logged, sampled or saved step is the
    last one of a call. It is at most 64, such that the input of a call is at
    most 64 MiB, and 1 where control flow is slow.

    Args:
        cadences: ints >= 0, where 0 is off. Should include the step at which
            the run starts and the one at which it ends.
        convolutional: whether a network has convolutions.
        bytes_per_step: size of the input of a step on this host.

    Returns:
        int >= 1.
    """
    if not has_fast_control_flow(convolutional):
        return 1
    common = math.gcd(*cadences)
    most = MAX_STEPS_PER_CALL
    if bytes_per_step:
        most = max(1, min(most, MAX_BYTES_PER_CALL // bytes_per_step))
    return next(s for s in range(most, 0, -1) if common % s == 0)


def largest_call(num_steps):
    """Return the largest divisor of `num_steps` up to `MAX_STEPS_PER_CALL`."""
    return next(
        s for s in range(MAX_STEPS_PER_CALL, 0, -1) if num_steps % s == 0
    )


def replicate(tree):
    """Copy a pytree to each local device, with a leading device axis."""
    # The axis name must be that of pmap, else its first and second call differ
    # in sharding and are compiled separately.
    return jax_utils.replicate(tree, axis_name=AXIS)


def unreplicate(tree):
    """Copy a pytree from the first local device to NumPy arrays.

    On CPU `np.asarray` would be a view of a buffer that the next call may
    overwrite while a save still reads it.
    """
    return jax.tree.map(np.array, jax_utils.unreplicate(tree))


def is_true(flag):
    """Return whether a flag on the first local device is true; waits for it.

    Args:
        flag: output of a training call that is equal on every device, so that
            one of them is enough.
    """
    return bool(np.asarray(flag.addressable_data(0)).all())


def split(fed, axis=2):
    """Split this host's share of the batches over its devices.

    Args:
        fed: pytree of [S, K, b, ...] arrays; b is the host's share, as of
            `host_slice`.
        axis: index of the axis b.

    Returns:
        pytree of [local devices, S, K, b / local devices, ...].
    """
    local = jax.local_device_count()

    def split_array(array):
        *leading, batch = array.shape[:axis + 1]
        trailing = array.shape[axis + 1:]
        parts = array.reshape(*leading, local, batch // local, *trailing)
        return np.ascontiguousarray(np.moveaxis(parts, axis, 0))

    return jax.tree.map(split_array, fed)


def host_slice(batch_size):
    """Return (start, stop) of this host's share of a global batch."""
    local = jax.local_device_count()
    share = batch_size // jax.device_count() * local
    start = jax.process_index() * share
    return start, start + share


def constants(resident, hyperparams, key, batch_size):
    """Place a `Constants` on the local devices.

    Args:
        resident: pytree of arrays, the same on every device.
        hyperparams: pytree of scalars.
        key: PRNG key.
        batch_size: of the global batch, divisible by the number of devices.

    Returns:
        `Constants` with a leading device axis.
    """
    sample_index = np.arange(*host_slice(batch_size), dtype=np.int32)
    sample_index = sample_index.reshape(jax.local_device_count(), -1)
    replicated = replicate(Constants(
        resident, hyperparams, jax.random.key_data(key), (), np.int32(0)
    ))
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
    sharding = jax.NamedSharding(mesh, jax.P(AXIS))
    return replicated._replace(
        sample_index=jax.device_put(sample_index, sharding)
    )


def train_call(
    step, num_steps, convolutional=True, members=None, devices=None
):
    """Build a function that makes `num_steps` steps on all devices.

    Args:
        step: (state, constants, fed, key, collectives) -> (state, metrics), one
            step on one device; `fed` are the batches of the feeds,
            [K, b, ...], and `collectives` is an `algorithm.Collectives`.
        num_steps: S, steps of a call.
        convolutional: whether a network has convolutions.
        members: `Constants` of `vmap` axes where several runs train at once: 0
            for leaves with an axis of members, None for shared ones. State and
            fed then have that axis too, [devices, members, ...] and
            [devices, S, members, ...]. None for a single run.
        devices: to compile for, such as those of a topology that this machine
            lacks; by default those of all hosts.

    Returns:
        Function (state, constants, fed) -> (state, metrics of the last step).
        All have a leading device axis, and fed is [local devices, S, K, b,
        ...]. The state is donated. It has the method `lower`, like `jax.jit`.
    """

    def device_step(state, constants, fed):
        key = jax.random.wrap_key_data(constants.key_data)
        key = key if convolutional else fast_key(key)
        return step(state, constants, fed, key, ACROSS)

    if members is not None:
        device_step = jax.vmap(device_step, (0, members, 0))

    def call(state, constants, fed):

        def body(state, fed):
            return device_step(state, constants, fed)

        if num_steps == 1:
            return body(state, jax.tree.map(lambda array: array[0], fed))
        state, metrics = jax.lax.scan(body, state, fed)
        return state, jax.tree.map(lambda array: array[-1], metrics)

    return jax.pmap(
        call, axis_name=AXIS, donate_argnums=0, devices=devices
    )


def compile_call(call, convolutional, *args):
    """Compile a function of `train_call` with this backend's options.

    Args:
        call: the function.
        convolutional: as of `train_call`.
        args: of its first call, or `jax.ShapeDtypeStruct`s of them.

    Returns:
        `jax.stages.Compiled`; with several processes `call` itself, because
        the arguments of `pmap` then do not match those that it is compiled for.
    """
    if jax.process_count() > 1:
        return call
    options = compiler_options(convolutional)
    return call.lower(*args).compile(compiler_options=options)


def repeat(step, state, count):
    """Repeat a step a number of times that is known only at run time.

    Args:
        step: state -> (state, metrics).
        state: pytree.
        count: int32.

    Returns:
        (state, metrics of the last step); metrics are 0 where count is 0.
    """
    forms = jax.eval_shape(step, state)[1]
    metrics = jax.tree.map(lambda form: jnp.zeros(form.shape), forms)
    return jax.lax.fori_loop(
        0, count, lambda number, carry: step(carry[0]), (state, metrics)
    )


def must_block():
    """Return whether each call must end before the next one is dispatched.

    Several virtual CPU devices on few cores can deadlock in a collective when
    calls are queued.
    """
    return jax.default_backend() == 'cpu' and jax.device_count() > 1


def device_memory():
    """Return the memory of one device, in bytes.

    On CPU it is an equal share of the memory of the machine or container.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    if 'bytes_limit' in stats:
        return stats['bytes_limit']
    return machine_memory() // jax.local_device_count()


def machine_memory():
    """Return the memory of the machine or its container, in bytes."""
    limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    try:
        limits.append(int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return min(limits)


def peak_memory():
    """Return the peak memory of the first device in bytes; None if unknown."""
    stats = jax.local_devices()[0].memory_stats()
    return stats.get('peak_bytes_in_use') if stats else None
