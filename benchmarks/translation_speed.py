"""Measure the time of a training step of CycleGAN, beside PyTorch's.

    python benchmarks/translation_speed.py --limit=1200 --json=out.json
    python benchmarks/translation_speed.py --dtype=bfloat16 \
        --torch=channels_last,channels_last+graph,channels_last+joined+graph

Ours and PyTorch's (torch_translation.py, the `bench` extra) take turns, each in
its own process. The networks are the paper's: ResNets with 6 residual blocks
and PatchGANs, width 64, with cycle and identity errors, a pool of 50 fakes and
an average of the generators. The data are noise. The output is that of
`step_throughput.py --table`; samples are translations.
"""

from absl import flags

import beside_torch
from gan_jax.cli import app

ONLY = flags.DEFINE_list('only', [], 'Cases; all by default.')
TORCH = flags.DEFINE_list(
    'torch', [
        'plain', 'heap', 'heap+joined', 'channels_last+heap',
    ], "Variants of PyTorch's step, see torch_base.py."
)
DTYPE = flags.DEFINE_enum(
    'dtype', 'float32', ['bfloat16', 'float32'], 'Dtype of the networks.'
)
ROUNDS = flags.DEFINE_integer('rounds', 8, 'Turns of each.', lower_bound=2)
SECONDS = flags.DEFINE_float('seconds', 1.0, 'Approximate time of a turn.')
PRODUCT = flags.DEFINE_integer('product', 4096, 'As of step_throughput.py.')
TF32 = flags.DEFINE_bool('tf32', True, 'As of step_throughput.py.')
PATIENCE = flags.DEFINE_float(
    'patience', 600.0, 'As of step_throughput.py.', lower_bound=1.0
)
LIMIT = flags.DEFINE_float(
    'limit', 0.0, 'As of step_throughput.py.', lower_bound=0.0
)
KERNELS = flags.DEFINE_integer(
    'kernels', 0, 'As of step_throughput.py.', lower_bound=0
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

CONFIG = f"{beside_torch.HERE / 'translation_config.py'}:6"
CASES = {  # as of `beside_torch.CASES`
    f'{side} x{size}': (CONFIG, {'batch_size': size}, f'{side}x{side}x3')
    for side in (64, 128) for size in (1, 4)
}


def main(argv):
    """Print the table; write --json."""
    del argv
    beside_torch.compare(
        beside_torch.cases(ONLY.value, DTYPE.value, CASES),
        beside_torch.Options(
            tuple(TORCH.value), ROUNDS.value, SECONDS.value, PRODUCT.value,
            KERNELS.value, TF32.value, PATIENCE.value, LIMIT.value,
        ), JSON.value,
    )


if __name__ == '__main__':
    app.run(main)
