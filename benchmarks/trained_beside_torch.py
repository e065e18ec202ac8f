"""Train the same GANs here and in PyTorch, and compare their samples.

    pip install -e '.[bench]'
    python benchmarks/trained_beside_torch.py --data_dir=DATA \\
      --json=benchmarks/results/trained_beside_torch.json \\
      --picture=benchmarks/results/trained_beside_torch.png

DCGAN, WGAN-GP and SNGAN with the networks of torch_step.py, on MNIST and
CIFAR-10, narrow: the same layers, initial distributions, losses, optimizers,
batch size, number of steps and average of G's weights. Orders of data and noise
differ. Both sides' samples are measured by the same code, at several steps and
for several seeds. It shows whether ours end as good as PyTorch's.

Run the same command again to continue after an interruption: a finished run is
not repeated. --only and --seeds choose runs; the table is of all that are
chosen.
"""

import copy
import json
import pathlib
import statistics
import time

from absl import flags
import numpy as np

from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import reference
from gan_jax.evaluation import runner
from gan_jax.metrics import catalog
from gan_jax.metrics import registry
from gan_jax.ops import averaging
from gan_jax.runs import sampling
from gan_jax.runtime import environment
from gan_jax.runtime import writer
from gan_jax.training import train

ONLY = flags.DEFINE_list('only', [], 'Runs, like dcgan:mnist; all by default.')
SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds.')
DATA_DIR = flags.DEFINE_string('data_dir', '', 'Folder of TFDS.')
OUT = flags.DEFINE_string('out', 'runs/beside_torch', 'Folder of the runs.')
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 4000, 'Steps; a step of WGAN-GP has 5 updates of D.',
    lower_bound=1
)
POINTS = flags.DEFINE_integer(
    'points', 5, 'Measurements of a run, at equal distances.', lower_bound=1
)
WIDTH = flags.DEFINE_integer(
    'width', 16, 'Channels at full resolution.', lower_bound=1
)
NUM_SAMPLES = flags.DEFINE_integer(
    'num_samples', 5000, 'Samples of a measurement.', lower_bound=16
)
FEATURES = flags.DEFINE_list(
    'features', ['classifier', 'random'], 'Of the distances.'
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file to write.')

RECIPES = pathlib.Path(__file__).parent.parent / 'configs'
RUNS = [
    f'{recipe}:{data}' for data in ('mnist', 'cifar10')
    for recipe in ('dcgan', 'wgan_gp', 'sngan')
]
SIDES = ('ours', 'torch')
CHUNK = 500  # samples of a pass


def configure(name, seed):
    """Return the config of a run.

    Args:
        name: one of `RUNS`.
        seed: int.
    """
    recipe, _, data = name.partition(':')
    config = recipes.load(RECIPES / f'{recipe}.py', data)
    config.data.data_dir, config.seed = DATA_DIR.value, seed
    config.num_steps = NUM_STEPS.value
    config.checkpoint_every = config.keep_every = interval()
    config.log_every, config.sample_every = interval(), 0
    config.report = False
    for player in (config.generator, config.discriminator):
        player.width = WIDTH.value
    validation.validate(config)
    return config


def interval():
    """Return the steps between measurements."""
    return max(1, NUM_STEPS.value // POINTS.value)


def measured_steps():
    """Return the steps after which a run is measured."""
    return range(interval(), NUM_STEPS.value + 1, interval())


def title(metric, features):
    """Return the name of a distance by some features."""
    return f'{catalog.name_of(metric, features)} ({features})'


class Ruler:
    """Measures images by their distance to the training images of a config.

    Attributes:
        floors: {number: value between two halves of the real images}.
    """

    def __init__(self, config):
        training = reference.dataset(config, 'train')
        held_out = reference.held_out_of(config, 'train', training)
        chosen = reference.sample_indices(
            len(training.images), 2 * NUM_SAMPLES.value
        )
        self._real, self.floors = {}, {}
        for name in FEATURES.value:
            extractor = reference.extractor_of(
                name, config, training, held_out, print
            )
            real = reference.view_of(training, chosen, extractor, 'real')
            self._real[name] = extractor, real
            halves = registry.halves(real)
            self.floors |= self._numbers(name, *halves)

    def _numbers(self, name, real, fake):
        return {
            title(metric, name): registry.measure(metric, real, fake)[
                catalog.name_of(metric, name)
            ].value for metric in ('fid', 'kid')
        }

    def measure(self, images):
        """Measure uint8 images [N, H, W, C]; returns {number: value}."""
        return {
            key: value for name, (extractor, real) in self._real.items()
            for key, value in self._numbers(
                name, real, registry.View(images, None, extractor)
            ).items()
        }


def train_ours(config, workdir, measure):
    """Train a config here, or continue, and measure it.

    Args:
        config: ConfigDict.
        workdir: folder of the run.
        measure: function of uint8 images.

    Returns:
        {step: numbers}.
    """
    train.train(config, workdir)
    curve = {}
    for step in measured_steps():
        algorithm, state = sampling.load(workdir, step)
        curve[step] = measure(
            runner.sample(algorithm, state, NUM_SAMPLES.value)
        )
    return curve


def torch_step(config):
    """Return PyTorch's step on the images of a config.

    Its parameters begin with the same distributions as ours.
    """
    import torch
    import torch_step as steps

    data = np.asarray(sources.load(builders.request(config)).images[:])

    class Step(steps.Step):
        def _place_data(self):
            images = torch.from_numpy(np.moveaxis(data, -1, 1).copy())
            return images.contiguous(
                memory_format=torch.channels_last
            ).to(self._device)

        def step(self):
            done = self._count
            super().step()
            torch._foreach_lerp_(
                self._average, list(self.generator.parameters()),
                1 - float(averaging.ema_decay_at(done, config.ema_decay)),
            )

    torch.manual_seed(config.seed)
    plain = config.copy_and_resolve_references()
    plain.ema_decay = 0.0  # the average has our warm-up
    step = Step(plain, tuple(data.shape[1:]), 'channels_last')
    with torch.no_grad():
        for network in (step.generator, step.discriminator):
            for name, parameter in network.named_parameters():
                if parameter.ndim > 1:  # spectral norm: its `original`
                    parameter.normal_(0, 0.02)
                elif name.endswith('bias'):
                    parameter.zero_()
        for average, parameter in zip(
            step._average, step.generator.parameters()
        ):
            average.copy_(parameter)
    return step


def torch_samples(step, count):
    """Draw samples of the averaged generator: uint8 [count, H, W, C]."""
    import torch

    averaged = copy.deepcopy(step.generator).eval()
    with torch.no_grad():
        for parameter, average in zip(averaged.parameters(), step._average):
            parameter.copy_(average)
        images = [
            averaged(torch.randn(
                min(CHUNK, count - first), step._config.latent_size
            ).to(step._device)).float().cpu().numpy()
            for first in range(0, count, CHUNK)
        ]
    return writer.to_uint8(np.moveaxis(np.concatenate(images), 1, -1))


def train_torch(config, workdir, measure):
    """Train a config in PyTorch and measure it; returns {step: numbers}."""
    del workdir  # a run of PyTorch begins anew
    step, curve = torch_step(config), {}
    for number in range(1, config.num_steps + 1):
        step.step()
        if number in measured_steps():
            curve[number] = measure(torch_samples(step, NUM_SAMPLES.value))
    return curve


def perform(name, side, seed, ruler):
    """Train and measure a run, or read its result.

    Returns:
        {'settings', 'seconds', 'curve': {step: numbers}}.
    """
    config = configure(name, seed)
    workdir = pathlib.Path(OUT.value) / f'{name}-{side}-{seed}'.replace(
        ':', '-'
    )
    path, settings = workdir / 'result.json', {
        'num_steps': NUM_STEPS.value, 'width': WIDTH.value,
        'num_samples': NUM_SAMPLES.value, 'features': FEATURES.value,
    }
    if path.exists():
        result = json.loads(path.read_text())
        if result['settings'] != settings:
            raise errors.CheckpointError(
                f'{path} is of other settings ({result["settings"]}); move '
                f'{workdir} away'
            )
        return result
    print(f'{name}, {side}, seed {seed}', flush=True)
    began = time.perf_counter()
    run = train_ours if side == 'ours' else train_torch
    curve = run(config, workdir, ruler.measure)
    workdir.mkdir(parents=True, exist_ok=True)
    writer.write_json(path, {
        'settings': settings, 'seconds': time.perf_counter() - began,
        'curve': curve,
    })
    return json.loads(path.read_text())


def last(result):
    """Return the numbers of the last step of a run."""
    return result['curve'][max(result['curve'], key=int)]


def agree(ours, theirs):
    """Return whether the ranges of two lists of numbers overlap."""
    return max(min(ours), min(theirs)) <= min(max(ours), max(theirs))


def table(results, floors):
    """Format the last numbers of all seeds as a Markdown table.

    Args:
        results: {run: {side: {seed: result of `perform`}}}.
        floors: {run: floors of its data}.
    """
    lines = [
        '| run | number | ours, of each seed | PyTorch | means | ranges meet '
        '| halves of the real images |', '|---' * 7 + '|',
    ]
    for name, sides in results.items():
        for key in floors[name]:
            values = [
                [last(result)[key] for result in sides[side].values()]
                for side in SIDES
            ]
            form = ', '.join
            cells = [form(f'{v:.3g}' for v in one) for one in values]
            means = [f'{statistics.mean(one):.3g}' for one in values]
            lines.append(
                f'| {name} | {key} | {" | ".join(cells)} '
                f'| {" and ".join(means)} '
                f'| {"yes" if agree(*values) else "no"} '
                f'| {floors[name][key]:.3g} |'
            )
    return '\n'.join(lines)


def draw(results):
    """Draw the first number over the steps, a panel for each run.

    Returns:
        uint8 [H, W, 3].
    """
    from matplotlib.figure import Figure

    key = title('fid', FEATURES.value[0])
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(
        figsize=(3 * columns, 2.6 * rows), dpi=80, layout='constrained'
    )
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, sides) in zip(panels, results.items()):
        for color, side in enumerate(SIDES):
            for number, result in enumerate(sides[side].values()):
                curve = sorted(
                    (int(step), one[key])
                    for step, one in result['curve'].items()
                )
                axes.plot(
                    *zip(*curve), '-o' if side == 'ours' else '--x', ms=3,
                    color=f'C{color}', label=None if number else side,
                )
        axes.set_title(f'{name}: {key}', fontsize=9)
        axes.set_yscale('log')
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7)
    return writer.rasterize(figure)


def chosen():
    """Return the runs of --only, or all.

    Raises:
        errors.ConfigError: for another name, or a seed that is none.
    """
    unknown = sorted(set(ONLY.value) - set(RUNS))
    if unknown:
        raise errors.ConfigError(f'--only={unknown}: choose from {RUNS}')
    if not all(seed.isdecimal() for seed in SEEDS.value):
        raise errors.ConfigError(
            f'--seeds={",".join(SEEDS.value)}: integers from 0 on are allowed'
        )
    return ONLY.value or RUNS


def main(_):
    """Train and measure all runs; print the table."""
    names, results, floors = chosen(), {}, {}
    described = environment.describe(0)
    for name in names:
        ruler = Ruler(configure(name, 0))
        floors[name] = ruler.floors
        results[name] = {
            side: {
                seed: perform(name, side, int(seed), ruler)
                for seed in SEEDS.value
            } for side in SIDES
        }
    print(table(results, floors))
    if JSON.value:
        writer.write_json(JSON.value, {
            'environment': described, 'floors': floors, 'runs': results,
        })
    if PICTURE.value:
        writer.save_png(PICTURE.value, draw(results))


if __name__ == '__main__':
    app.run(main)
