"""How like digits, and how varied, are the samples of a run on the digits?

    python benchmarks/digits_score.py --workdir=runs/dcgan

Needs the `test` extra. Four numbers, each a ratio to real held-out digits, on
8x8 images in [0, 1] (the mean over 3x3 blocks inside the border):

- confidence: mean top probability of a classifier trained on 70 % of the real
  digits, over that of the other 30 % (split seed 0);
- rarest class: share of the samples in the class that has fewest;
- nearest: mean distance of a sample to the nearest of the 70 %, over that of
  the other 30 %. Under 1 is memory, over 1 is not yet a digit;
- spread: mean distance within a class, over that of the real digits.
"""

from absl import flags
import numpy as np

from gan_jax import command
from gan_jax import sampling
from gan_jax.data import sources
from gan_jax.metrics import distances
from gan_jax.runtime import writer

WORKDIR = flags.DEFINE_string('workdir', 'runs/dcgan', 'Folder of the run.')
STEP = flags.DEFINE_integer('step', None, 'A saved step; newest by default.')
NUM_SAMPLES = flags.DEFINE_integer('num_samples', 1000, 'Seeds 0 to this.')
EMA = flags.DEFINE_bool('ema', True, 'Use the averaged generator.')
JSON = flags.DEFINE_string('json', '', 'File to write the numbers to.')

BOUNDS = {
    'confidence': (0.97, float('inf')),
    'rarest_class': (0.04, float('inf')),
    'nearest': (0.8, 1.2),
    'spread': (0.85, float('inf')),
}


def reduce(images):
    """Bring uint8 [N, 32, 32, 1] to [N, 64] in [0, 1]: 8x8, flattened."""
    inside = images[:, 4:-4, 4:-4, 0].astype(np.float64) / 255
    return inside.reshape(-1, 8, 3, 8, 3).mean((2, 4)).reshape(-1, 64)


def spread(values, labels):
    """Average over classes the mean distance between two of one class."""
    groups = [values[labels == label] for label in range(10)]
    return np.mean(
        [distances.mean_pairwise(g) for g in groups if len(g) > 1]
    )


def score(samples):
    """Measure samples of digits.

    Args:
        samples: [N, 32, 32, 1] in [-1, 1] or uint8.

    Returns:
        dict: the four numbers, the classifier's accuracy and mean top
        probability on the held-out digits, and the nearest distance to all
        the digits in place of the 70 %.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    digits = sources.load(sources.Request('digits'))
    real = reduce(digits.images)
    train, held, train_labels, held_labels = train_test_split(
        real, digits.labels, train_size=0.7, random_state=0
    )
    classifier = CalibratedClassifierCV(SVC(), ensemble=False)
    classifier.fit(train, train_labels)
    real_top = classifier.predict_proba(held)
    samples = reduce(writer.to_uint8(samples))
    top = classifier.predict_proba(samples)
    labels = top.argmax(1)
    floor = distances.nearest(held, train).mean()
    return {
        'confidence': top.max(1).mean() / real_top.max(1).mean(),
        'rarest_class': np.bincount(labels, minlength=10).min() / len(labels),
        'nearest': distances.nearest(samples, train).mean() / floor,
        'spread': spread(samples, labels) / spread(real, digits.labels),
        'nearest_of_all': distances.nearest(samples, real).mean() / floor,
        'classifier_accuracy': (real_top.argmax(1) == held_labels).mean(),
        'classifier_top': real_top.max(1).mean(),
    }


def main(argv):
    """Print the score of --workdir."""
    del argv
    gan, state = sampling.load(WORKDIR.value, STEP.value)
    samples = sampling.sample(
        gan, state, range(NUM_SAMPLES.value), ema=EMA.value
    )
    result = {name: float(value) for name, value in score(samples).items()}
    print(
        f'classifier: accuracy {result["classifier_accuracy"]:.3f}, mean top '
        f'probability {result["classifier_top"]:.3f} on held-out digits\n'
        f'{len(samples)} samples of step {int(state.step)}, '
        f'{"EMA" if EMA.value else "raw"}'
    )
    for name, (low, high) in BOUNDS.items():
        verdict = 'ok' if low <= result[name] <= high else 'outside'
        print(f'{name:14} {result[name]:.3f}   [{low}, {high}] {verdict}')
    print(f'nearest_of_all {result["nearest_of_all"]:.3f}')
    if JSON.value:
        writer.write_json(JSON.value, {'step': int(state.step), **result})


if __name__ == '__main__':
    command.run(main)
