"""Which kernels take the time of a training step, and what they do."""

import collections
import pathlib
import re
import tempfile

import jax

# On CPU a trace names instructions of the compiled program among much else.
INSTRUCTION = re.compile(r'[a-z][a-z0-9_-]*(\.\d+)*')
HOLDS_OTHERS = ('call', 'conditional', 'while')
# {group: what names of its kernels hold}; the first that fits counts. Those of
# convolutions are cuDNN's, of the rest cuDNN's and XLA's fusions.
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
    """Return the group of a kernel by its name: of `GROUPS`, or `OTHER`.

    A guess where names say little: a fusion that both pads and reduces counts
    once, and forward convolutions of PyTorch may compute gradients.
    """
    for one, pattern in GROUPS.items():
        if re.search(pattern, name.lower()):
            return one
    return OTHER


def trace(call):
    """Trace a call and add up the time of each kernel.

    Kernels run side by side, so the seconds of all may be more than those of
    the call.

    Args:
        call: function of nothing that ends when its work has.

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
        count: how many kernels to name, of the longest of all.

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
    """Return a Counter {kernel: seconds} of a profile's planes."""
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


def rows(groups):
    """Yield what `grouped` returned as Markdown."""
    yield '| group | of the time of all | longest kernels |'
    yield '|---|---|---|'
    for one, found in groups.items():
        names = ', '.join(
            f'{name} {share:.1%}' for name, _, share in found['longest']
        )
        yield f"| {one} | {found['share']:.1%} | {names} |"
