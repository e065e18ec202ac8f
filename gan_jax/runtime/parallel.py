"""The only file that knows of devices: pmap, pmean, scan, replication, hosts.

A training call is `pmap(scan(step))`. Everything else sees a step on one
device's share of the batch, with the mean over devices as a function.
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
HEARTBEAT = 30  # seconds without a sign of life after which a host is lost
PARTING = 60  # seconds that a host which ends waits for the others
CONTAINER_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')
MAX_STEPS_PER_CALL = 64
MAX_BYTES_PER_CALL = 64 * 2**20  # of what a call is fed


class Constants(NamedTuple):
    """What a step reads and does not change; lies on every device.

    Attributes:
        resident: the feed's arrays.
        hyperparams: pytree of float32 scalars.
        key_data: uint32 data of the run's key. (A key array itself cannot be
            placed on the devices of several processes.)
        sample_index: [b] int32, this device's places in the global batch.
        number: int32, of the first update where a call makes a part of a step.
    """

    resident: Any
    hyperparams: Any
    key_data: Any
    sample_index: Any
    number: Any


ACROSS = algorithm.Across(
    mean=lambda tree: jax.lax.pmean(tree, AXIS),
    gather=lambda array: jax.lax.all_gather(array, AXIS, tiled=True),
)


def initialize_hosts(**kwargs):
    """Join the processes of a multi-host run; call before any other jax.

    JAX finds the cluster where no arguments name it. A process that is lost
    ends the others: JAX ends them when it has not heard of it for `HEARTBEAT`
    seconds, or at once where it was the first. One that fails alone waits
    `PARTING` seconds for them, and then they end too.

    Raises:
        errors.ConfigError: where there is no cluster.
    """
    # Its agreement on SIGTERM is by steps that follow one another, and a call
    # may make many; `Agreement` takes its place.
    jax.config.update('jax_enable_preemption_service', False)
    try:
        jax.distributed.initialize(
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PARTING,
            **kwargs,
        )
    except ValueError as error:
        raise errors.ConfigError(
            f'--multihost finds no cluster: {error}'
        ) from error


def is_first_host():
    """Say whether this process is the one that writes."""
    return jax.process_index() == 0


class Agreement:
    """Lets all hosts stop after the same call, whichever a signal came to."""

    def __init__(self):
        """Begin with nothing asked."""
        self._asked = None

    def signal(self, number):
        """Give the signal at which all hosts stop after this call, or None.

        To be asked once after each call, by all hosts. Of several, each learns
        what any of them was told one call before, so that no call waits.

        Args:
            number: the signal that reached this process, or None.
        """
        if jax.process_count() == 1:
            return number
        before, self._asked = self._asked, _largest(number or 0)
        if must_block():
            jax.block_until_ready(self._asked)
        return None if before is None else int(before) or None


def _largest(number):
    """Begin to find the largest of a number over all hosts."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()), (AXIS,))
    numbers = jax.make_array_from_process_local_data(
        jax.NamedSharding(mesh, jax.P(AXIS)),
        np.full(jax.local_device_count(), number, np.int32),
    )
    everywhere = jax.NamedSharding(mesh, jax.P())
    return jax.jit(jnp.max, out_shardings=everywhere)(numbers)


def on_all_hosts(holds):
    """Say whether something holds on every host; each asks at the same time.

    It is a barrier too: none goes on before all have come.
    """
    if jax.process_count() == 1:
        return holds
    return bool(multihost_utils.process_allgather(np.bool_(holds)).all())


def same_on_all_hosts(text):
    """Say whether a text is the same on every host, as `on_all_hosts`."""
    if jax.process_count() == 1:
        return True
    digest = np.uint32(zlib.crc32(text.encode()))
    return bool(np.ptp(multihost_utils.process_allgather(digest)) == 0)


def is_parting(error):
    """Say whether an error tells that another process cannot be reached.

    JAX raises its own, or ValueError where it calls a program in the caller's
    thread; so does the library of the files, which may be unavailable too.
    """
    told = ('Gloo', 'NCCL')
    if isinstance(error, jax.errors.JaxRuntimeError):
        told += ('UNAVAILABLE', 'DEADLINE_EXCEEDED', 'Barrier')
    return jax.process_count() > 1 and any(word in str(error) for word in told)


def device_count():
    """Count devices over all hosts."""
    return jax.device_count()


def bears_control_flow(convolutional):
    """Say whether XLA's scan and cond cost what they hold.

    On CPU a convolution inside either is 20 to 100 times slower.
    """
    return not (convolutional and jax.default_backend() == 'cpu')


def quick(key):
    """Give a key of the same bits that suits dense networks on this backend."""
    on_cpu = jax.default_backend() == 'cpu'
    return prng.unrolled(key) if on_cpu else key


@functools.cache
def compiler_options(convolutional):
    """Give what to compile networks with on this backend.

    XLA's CPU compiler hands products, convolutions and sums to a library
    (YNNPACK). Its own products are faster at the sizes of a step on points, by
    an eighth of the step, and its own convolutions by a seventh; the library's
    sums are faster where there is much to sum, as BatchNorm has of images.

    Args:
        convolutional: whether a network convolves.

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


def loop(convolutional):
    """Give `jax.lax.scan` where it is cheap, else None."""
    return jax.lax.scan if bears_control_flow(convolutional) else None


def steps_per_call(cadences, convolutional, bytes_per_step=0):
    """Choose how many steps one call scans.

    A divisor of every cadence, so that each logged, sampled or saved step ends
    a call; at most 64, and so few that a call is fed at most 64 MiB; 1 where
    control flow is dear.

    Args:
        cadences: ints >= 0; 0 is off. Should hold the number of steps still
            to make, and the one already made.
        convolutional: whether a network convolves.
        bytes_per_step: what this host feeds one step.

    Returns:
        int >= 1.
    """
    if not bears_control_flow(convolutional):
        return 1
    common = math.gcd(*cadences)
    most = MAX_STEPS_PER_CALL
    if bytes_per_step:
        most = max(1, min(most, MAX_BYTES_PER_CALL // bytes_per_step))
    return next(s for s in range(most, 0, -1) if common % s == 0)


def largest_call(num_steps):
    """Return the largest number of steps of a call that divides `num_steps`."""
    return next(
        s for s in range(MAX_STEPS_PER_CALL, 0, -1) if num_steps % s == 0
    )


def replicate(tree):
    """Copy a pytree to each local device, with a leading device axis."""
    # The axis name must be pmap's, or its first and second call differ in
    # sharding and compile apart.
    return jax_utils.replicate(tree, axis_name=AXIS)


def unreplicate(tree):
    """Take the first local device's copy, as NumPy arrays of their own.

    On CPU `np.asarray` would be a view of a buffer that the next call may be
    given to write into, while a save still reads it.
    """
    return jax.tree.map(np.array, jax_utils.unreplicate(tree))


def is_true(flag):
    """Wait for a flag that is the same on every device, and read it."""
    return bool(np.asarray(flag.addressable_data(0)).all())


def split(fed, axis=2):
    """Deal this host's part of batches to its devices.

    Args:
        fed: pytree of [S, K, b, ...] arrays; b are the host's `places`.
        axis: of b, where others come before it.

    Returns:
        pytree of [local devices, S, K, b / local devices, ...].
    """
    local = jax.local_device_count()

    def deal(array):
        *before, batch = array.shape[:axis + 1]
        rest = array.shape[axis + 1:]
        shared = array.reshape(*before, local, batch // local, *rest)
        return np.ascontiguousarray(np.moveaxis(shared, axis, 0))

    return jax.tree.map(deal, fed)


def places(batch_size):
    """Give (start, stop) of this host in a global batch."""
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
        batch_size: global batch, divisible by the number of devices.

    Returns:
        `Constants` with a leading device axis.
    """
    sample_index = np.arange(*places(batch_size), dtype=np.int32)
    sample_index = sample_index.reshape(jax.local_device_count(), -1)
    one = replicate(Constants(
        resident, hyperparams, jax.random.key_data(key), (), np.int32(0)
    ))
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
    sharding = jax.NamedSharding(mesh, jax.P(AXIS))
    return one._replace(sample_index=jax.device_put(sample_index, sharding))


def train_call(step, num_steps, convolutional=True, members=None):
    """Compile `num_steps` steps on all devices into one call.

    Args:
        step: (state, constants, fed, key, across) -> (state, metrics), one
            step on one device; `fed` is what the feeds give, [K, b, ...], and
            `across` an `algorithm.Across`.
        num_steps: S, steps a call.
        convolutional: whether a network convolves.
        members: where several runs of one program are made at once, the
            `Constants` whose leaves say which of the constants have an axis of
            members (0) and which all share (None). State and fed have one,
            [devices, members, ...] and [devices, S, members, ...].

    Returns:
        Function of (state, constants, fed [local devices, S, K, b, ...]), all
        with a leading device axis, to (state, metrics of the last step). The
        state is donated. It has `lower`, as `jax.jit` does.
    """

    def one(state, constants, fed):
        key = jax.random.wrap_key_data(constants.key_data)
        key = key if convolutional else quick(key)
        return step(state, constants, fed, key, ACROSS)

    if members is not None:
        one = jax.vmap(one, (0, members, 0))

    def call(state, constants, fed):

        def body(state, fed):
            return one(state, constants, fed)

        if num_steps == 1:
            return body(state, jax.tree.map(lambda array: array[0], fed))
        state, metrics = jax.lax.scan(body, state, fed)
        return state, jax.tree.map(lambda array: array[-1], metrics)

    return jax.pmap(call, axis_name=AXIS, donate_argnums=0)


def compile_call(call, convolutional, *args):
    """Compile what `train_call` gave, with this backend's options.

    Args:
        call: the function.
        convolutional: as of `train_call`.
        args: of its first call, or their forms.

    Returns:
        `jax.stages.Compiled`, a function of arguments of these forms; of
        several processes the call as it is, since pmap's arguments are then not
        of the form that it is compiled for.
    """
    if jax.process_count() > 1:
        return call
    options = compiler_options(convolutional)
    return call.lower(*args).compile(compiler_options=options)


def repeat(step, state, count):
    """Make a number of steps that is known when the program runs.

    Args:
        step: state -> (state, metrics).
        state: pytree.
        count: int32.

    Returns:
        (state, metrics of the last step), 0 where none is made.
    """
    forms = jax.eval_shape(step, state)[1]
    metrics = jax.tree.map(lambda form: jnp.zeros(form.shape), forms)
    return jax.lax.fori_loop(
        0, count, lambda number, carry: step(carry[0]), (state, metrics)
    )


def must_block():
    """Say whether each call must end before the next is dispatched.

    Several virtual CPU devices on few cores can lock up in a collective when
    calls queue up.
    """
    return jax.default_backend() == 'cpu' and jax.device_count() > 1


def memory():
    """Count the bytes of memory of one device.

    On CPU the devices share what the machine, or its container, has.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    if 'bytes_limit' in stats:
        return stats['bytes_limit']
    return machine_memory() // jax.local_device_count()


def machine_memory():
    """Count the bytes of memory that the machine, or its container, has."""
    limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    try:
        limits.append(int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return min(limits)


def memory_in_use():
    """Give peak bytes on the first device, or None where it does not tell."""
    stats = jax.local_devices()[0].memory_stats()
    return stats.get('peak_bytes_in_use') if stats else None
