"""Time of a training step by kernel, grouped by what the kernels do.

The groups are guessed from the names of the kernels.
"""

import collections
import pathlib
import re
import tempfile

import jax

# On CPU a trace has instructions of the compiled program among other events.
INSTRUCTION = re.compile(r'[a-z][a-z0-9_-]*(\.\d+)*')
HOLDS_OTHERS = ('call', 'conditional', 'while')
# {group: pattern of the names of its kernels}; the first match counts. Names of
# convolutions are cuDNN's, the others cuDNN's and those of XLA's fusions.
GROUPS = {
    'dgrad': r'dgrad|bprop_data|backward_data|bwd_data',
    'wgrad': r'wgrad|bprop_filter|backward_filter|bwd_filter|bwd_weight',
    'fprop': r'fprop|conv(olve|olution|2d|_)|implicit_gemm|winograd|fft',
    'normalisation and reductions': r'reduce|norm|variance|bn_(fw|bw)',
    'padding and layout':
        r'pad|nchw|nhwc|transpose|copy|memcpy|bitcast|converttensor'
        r'|concatenate|slice',
}
OTHER = 'other'


def group(name):
    """Return the group of a kernel by its name, or `OTHER`.

    This is a guess: a fusion that both pads and reduces counts once, and
    forward convolutions of PyTorch may compute gradients.
    """
    for one, pattern in GROUPS.items():
        if re.search(pattern, name.lower()):
            return one
    return OTHER


def trace(call):
    """Trace a call and sum the time of each kernel.

    Kernels run in parallel, so their total may exceed the time of the call.

    Args:
        call: function without arguments that waits for its work to end.

    Returns:
        Counter {kernel: seconds}.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        path, = pathlib.Path(folder).rglob('*.xplane.pb')
        profile = jax.profiler.ProfileData.from_file(str(path))
        return add_up(profile.planes)


def grouped(seconds, count):
    """Group kernels by what they do.

    Args:
        seconds: {kernel: seconds}.
        count: number of the longest kernels to name.

    Returns:
        {group: {'share': of all kernels' time, 'longest': [(name, seconds,
        share)]}}, largest share first.
    """
    total = sum(seconds.values()) or 1.0
    shares = collections.Counter()
    for name, taken in seconds.items():
        shares[group(name)] += taken / total
    longest = collections.Counter(seconds).most_common(count)
    return {
        one: {'share': share, 'longest': [
            (name, taken, taken / total) for name, taken in longest
            if group(name) == one
        ]} for one, share in shares.most_common()
    }


def add_up(planes):
    """Sum the time of kernels over the planes of a profile; as `trace`."""
    planes = list(planes)
    devices = [p for p in planes if p.name.startswith('/device:')]
    seconds = collections.Counter()
    for plane in devices or planes:
        for line in plane.lines:
            # A GPU has a line for each stream, and others that sum them.
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


def rows(groups):
    """Yield the result of `grouped` as lines of Markdown."""
    yield '| group | share of the time | longest kernels |'
    yield '|---|---|---|'
    for one, result in groups.items():
        names = ', '.join(
            f'{name} {share:.1%}' for name, _, share in result['longest']
        )
        yield f"| {one} | {result['share']:.1%} | {names} |"
