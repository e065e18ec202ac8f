"""Which kernels take the time of a training step."""

import collections
import pathlib
import re
import tempfile

import jax

# On CPU a trace names instructions of the compiled program among much else.
INSTRUCTION = re.compile(r'[a-z][a-z0-9_-]*(\.\d+)*')
HOLDS_OTHERS = ('call', 'conditional', 'while')


def longest(call, count):
    """Trace a call and add up the time of each kernel.

    Args:
        call: function of nothing that ends when its work has.
        count: how many to give.

    Returns:
        [(name, seconds, share of all kernels' time)], longest first. Kernels
        run side by side, so the seconds of all may be more than those of the
        call.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        path, = pathlib.Path(folder).rglob('*.xplane.pb')
        profile = jax.profiler.ProfileData.from_file(str(path))
        seconds = add_up(profile.planes)
    total = sum(seconds.values())
    return [
        (name, taken, taken / total)
        for name, taken in seconds.most_common(count)
    ]


def add_up(planes):
    """Give a Counter {kernel: seconds} of a profile's planes."""
    planes = list(planes)
    devices = [p for p in planes if p.name.startswith('/device:')]
    seconds = collections.Counter()
    for plane in devices or planes:
        for line in plane.lines:
            # Lines of a GPU are its streams, beside others that add them up.
            if devices and not line.name.startswith(('Stream', 'XLA Ops')):
                continue
            for event in line.events:
                if devices or _is_kernel(event.name):
                    seconds[event.name] += 1e-9 * event.duration_ns
    return seconds


def _is_kernel(name):
    return bool(INSTRUCTION.fullmatch(name)) and (
        name.partition('.')[0] not in HOLDS_OTHERS
    )


def rows(found):
    """Give what `longest` found as Markdown."""
    yield '| kernel | of the time of all |'
    yield '|---|---|'
    for name, _, share in found:
        yield f'| {name} | {share:.1%} |'
