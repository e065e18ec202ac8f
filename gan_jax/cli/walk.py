"""Show how samples change along single coordinates of z, or directions of w.

    python -m gan_jax walk --workdir=runs/dcgan --seeds=0 --coordinates=0-7
    python -m gan_jax walk --workdir=runs/dcgan --seeds=0-3 --coordinates=5 \\
        --span=4 --frames=25 --out=walk.gif
    python -m gan_jax walk --workdir=runs/stylegan2 --space=w --styles=0-3

One coordinate of a seed's z goes from -span to span; the others keep their
values. A PNG has one row for each seed and coordinate. A film has one tile for
each, and runs forwards and backwards.

With --space=w, for a style-based generator, w goes from -span to span standard
deviations from its mean along one of its principal components, by default the
first 8 (GANSpace, Härkönen et al., https://arxiv.org/abs/2004.02546, 2020).
--styles moves w in some styles only.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string(
    'seeds', '0', "Seeds of z to start from, such as '0-3' or '1,5'."
)
COORDINATES = flags.DEFINE_string(
    'coordinates', None, "Coordinates of z, or numbers of the directions of w, "
    "such as '5' or '0-7'; by default the first 8."
)
SPAN = flags.DEFINE_float(
    'span', 3, 'Largest value of the coordinate; in w in standard deviations.',
    lower_bound=1e-3
)
FRAMES = flags.DEFINE_integer(
    'frames', 11, 'Number of values of the coordinate.', lower_bound=2
)
OUT = run_flags.define_film('walk.png')
FPS = run_flags.define_fps()
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()
SPACE = run_flags.define_space('the walk goes')
DIRECTIONS = flags.DEFINE_enum(
    'directions', 'principal', ['principal', 'coordinates'],
    'Directions of w: its principal components, or its coordinates.'
)
STYLES = flags.DEFINE_string(
    'styles', None, "Styles in which w moves, such as '0-3', the lowest "
    'resolution first; by default all.'
)


def main(argv):
    """Generate walks along --coordinates and write --out."""
    import numpy as np

    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.tools import video

    seeds = sampling.parse_seeds(SEEDS.value)
    coordinates = COORDINATES.value and (
        sampling.parse_seeds(COORDINATES.value, '--coordinates')
    )
    if SPACE.value == 'z':
        for flag in (STYLES, DIRECTIONS):
            if flag.value != flag.default:
                raise errors.ConfigError(
                    f'--{flag.name}={flag.value} needs --space=w'
                )
    algorithm, state = run_flags.open_run(argv)
    coordinates = coordinates or range(min(8, algorithm.latent_size))
    walk = _walk_in_w if SPACE.value == 'w' else _walk_in_z
    rows = walk(
        algorithm, state, seeds, coordinates,
        run_flags.labels(LABELS, len(seeds)),
    )
    frames = rows
    if video.is_film(OUT.value):
        forwards = rows.swapaxes(0, 1)  # [frames, rows, ...]
        frames = np.concatenate([forwards, forwards[-2:0:-1]])
    run_flags.save_rows(OUT.value, frames, FPS.value)
    app.say(
        f'Wrote {len(rows)} walks of {run_flags.describe(state)} to {OUT.value}'
    )


def _walk_in_z(algorithm, state, seeds, coordinates, labels):
    """Return the images [rows, frames, ...] of a walk along coordinates of z.
    """
    import numpy as np

    from gan_jax.algorithms import latents
    from gan_jax.runs import sampling
    from gan_jax.tools import latent_paths

    labels = latents.labels_from_seeds(algorithm, seeds, labels)
    truncation = TRUNCATION()
    z = latent_paths.traverse(
        algorithm,
        sampling.latents_of(algorithm, seeds, truncation['truncation']),
        coordinates, SPAN.value, FRAMES.value,
    )
    if labels is not None:
        labels = np.repeat(labels, len(coordinates) * FRAMES.value)
    images = sampling.generate(
        algorithm, state, z.reshape(-1, algorithm.latent_size), labels,
        weights=run_flags.WEIGHTS.value, **truncation,
    )
    return images.reshape(len(z), FRAMES.value, *images.shape[1:])


def _walk_in_w(algorithm, state, seeds, directions, labels):
    """Return the images [rows, frames, ...] of a walk along directions of w."""
    from gan_jax.runs import sampling
    from gan_jax.runs import styles

    weights = run_flags.WEIGHTS.value
    places = run_flags.parse_styles(STYLES.value, algorithm)
    starts = sampling.styles_of(
        algorithm, state, seeds, labels, weights=weights, **TRUNCATION()
    )
    moved = styles.traverse(
        starts, styles.directions(
            algorithm, state, DIRECTIONS.value, weights=weights
        ), directions, SPAN.value, FRAMES.value, places=places,
    )
    images = sampling.generate(
        algorithm, state, moved.reshape(-1, *starts.shape[1:]), weights=weights
    )
    return images.reshape(*moved.shape[:2], *images.shape[1:])
