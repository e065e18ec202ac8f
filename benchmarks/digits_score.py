"""Score the samples of a run on the digits: quality and variety.

    python benchmarks/digits_score.py --workdir=runs/dcgan

Images are compared at 8x8 in [0, 1], which is the mean over 3x3 blocks inside
the border. The numbers are ratios to real held-out digits, except the second:

- confidence: mean top probability of a classifier that is trained on 70 % of
  the real digits, over that on the other 30 % (split seed 0);
- rarest class: share of the samples in their rarest class;
- nearest: mean distance of a sample to the nearest of the 70 %, over that of
  the other 30 %. Below 1 the run memorises, above 1 samples are not digits yet;
- spread: mean distance within a class, over that of the real digits.

For a conditional GAN it also prints the share of samples to which the
classifier gives the requested class.
"""

from absl import flags
import numpy as np

import digits_metrics
from gan_jax.algorithms import latents
from gan_jax.cli import app
from gan_jax.runs import sampling
from gan_jax.runtime import writer

WORKDIR = flags.DEFINE_string('workdir', 'runs/dcgan', 'Folder of the run.')
STEP = flags.DEFINE_integer('step', None, 'Saved step; the newest by default.')
NUM_SAMPLES = flags.DEFINE_integer(
    'num_samples', 1000, 'Number of samples, of the seeds from 0 on.'
)
WEIGHTS = flags.DEFINE_enum(
    'weights', 'ema', list(latents.WEIGHTS), "Weights of the generator."
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')


def main(argv):
    """Print the score of --workdir."""
    del argv
    gan, state = sampling.load(WORKDIR.value, STEP.value)
    samples = sampling.sample(
        gan, state, range(NUM_SAMPLES.value), weights=WEIGHTS.value
    )
    result = digits_metrics.score(samples)
    print(
        f'classifier: accuracy {result["classifier_accuracy"]:.3f}, mean top '
        f'probability {result["classifier_top"]:.3f} on held-out digits\n'
        f'{len(samples)} samples of step {int(state.step)}, {WEIGHTS.value}'
    )
    for name, (low, high) in digits_metrics.BOUNDS.items():
        verdict = 'ok' if low <= result[name] <= high else 'outside'
        print(f'{name:14} {result[name]:.3f}   [{low}, {high}] {verdict}')
    print(f'nearest_of_all {result["nearest_of_all"]:.3f}')
    if gan.num_classes:
        labels = np.arange(len(samples)) % gan.num_classes
        result['agreement'] = digits_metrics.agreement(samples, labels)
        print(f'agreement      {result["agreement"]:.3f}')
    if JSON.value:
        writer.write_json(JSON.value, {'step': int(state.step), **result})


if __name__ == '__main__':
    app.run(main)
