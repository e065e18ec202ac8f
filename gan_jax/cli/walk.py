"""Show how samples change along single coordinates of z.

    python -m gan_jax walk --workdir=runs/dcgan --seeds=0 --coordinates=0-7
    python -m gan_jax walk --workdir=runs/dcgan --seeds=0-3 --coordinates=5 \\
        --span=4 --frames=25 --out=walk.gif

One coordinate of a seed's z goes from -span to span; the others keep their
values. A PNG has one row for each seed and coordinate. A film has one tile for
each, and runs forwards and backwards.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string(
    'seeds', '0', "Seeds of z to start from, such as '0-3' or '1,5'."
)
COORDINATES = flags.DEFINE_string(
    'coordinates', None, "Coordinates of z to change, such as '5' or '0-7'; by "
    'default the first 8.'
)
SPAN = flags.DEFINE_float(
    'span', 3, 'Largest value of the coordinate.', lower_bound=1e-3
)
FRAMES = flags.DEFINE_integer(
    'frames', 11, 'Number of values of the coordinate.', lower_bound=2
)
OUT = run_flags.define_film('walk.png')
FPS = run_flags.define_fps()
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()


def main(argv):
    """Generate walks along --coordinates of z and write --out."""
    import numpy as np

    from gan_jax.algorithms import latents
    from gan_jax.runs import sampling
    from gan_jax.tools import latent_paths
    from gan_jax.tools import video

    seeds = sampling.parse_seeds(SEEDS.value)
    coordinates = COORDINATES.value and (
        sampling.parse_seeds(COORDINATES.value, '--coordinates')
    )
    algorithm, state = run_flags.open_run(argv)
    coordinates = coordinates or range(min(8, algorithm.latent_size))
    labels = latents.labels_from_seeds(
        algorithm, seeds, run_flags.labels(LABELS, len(seeds))
    )
    z = latent_paths.traverse(
        algorithm, sampling.latents_of(algorithm, seeds, TRUNCATION.value),
        coordinates, SPAN.value, FRAMES.value,
    )
    if labels is not None:
        labels = np.repeat(labels, len(coordinates) * FRAMES.value)
    images = sampling.generate(
        algorithm, state, z.reshape(-1, algorithm.latent_size), labels,
        weights=run_flags.WEIGHTS.value,
    )
    rows = images.reshape(len(z), FRAMES.value, *images.shape[1:])
    frames = rows
    if video.is_film(OUT.value):
        forwards = rows.swapaxes(0, 1)  # [frames, rows, ...]
        frames = np.concatenate([forwards, forwards[-2:0:-1]])
    run_flags.save_rows(OUT.value, frames, FPS.value)
    app.say(
        f'Wrote {len(rows)} walks of {run_flags.describe(state)} to {OUT.value}'
    )
