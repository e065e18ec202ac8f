"""Interpolate between seeds in latent space, as a grid or a film.

    python -m gan_jax interpolate --workdir=runs/dcgan --seeds=1,2,3 --loop
    python -m gan_jax interpolate --workdir=runs/dcgan --seeds=1,2,3 --loop \\
        --frames=30 --out=ways.gif
    python -m gan_jax interpolate --workdir=runs/dcgan --seeds='1-4;5-8' \\
        --out=ways.mp4
    python -m gan_jax interpolate --workdir=runs/stylegan2 --space=w

A PNG has one row for the path from each seed to the next. A film (.gif or .mp4)
shows these paths one after the other. Groups of seeds, separated by a
semicolon, are tiles of the film, side by side. For a PNG of a single group in
z, `python -m gan_jax sample --between=12` draws the same picture.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string(
    'seeds', '0-4', "Seeds to pass through in order, such as '1,2,3'; "
    "'1,2;3,4' are two paths side by side."
)
FRAMES = flags.DEFINE_integer(
    'frames', 12, 'Images from each seed to the next, both included.',
    lower_bound=2
)
PATH = flags.DEFINE_enum(
    'path', None, ['lerp', 'slerp'],
    "Path in latent space: 'slerp' is an arc, the default in z; 'lerp' is a "
    'straight line, the only one in w.'
)
SPACE = run_flags.define_space('the path lies')
LOOP = flags.DEFINE_bool(
    'loop', False, 'Continue from the last seed to the first.'
)
OUT = run_flags.define_film('ways.png')
FPS = run_flags.define_fps()
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()


def main(argv):
    """Interpolate between --seeds of --workdir and write --out."""
    import numpy as np

    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.tools import latent_paths
    from gan_jax.tools import video

    groups = [sampling.parse_seeds(part) for part in SEEDS.value.split(';')]
    if video.is_film(OUT.value) and len({len(group) for group in groups}) > 1:
        raise errors.ConfigError(
            f'--seeds={SEEDS.value}: all groups of a film need equally many '
            'seeds'
        )
    algorithm, state = run_flags.open_run(argv)
    paths = [latent_paths.interpolate(
        algorithm, state, group, FRAMES.value, loop=LOOP.value, path=PATH.value,
        labels=run_flags.labels(LABELS, len(group)),
        weights=run_flags.WEIGHTS.value, space=SPACE.value, **TRUNCATION(),
    ) for group in groups]
    if video.is_film(OUT.value):
        tiles = [latent_paths.as_film(each, LOOP.value) for each in paths]
        images = np.stack(tiles, 1)  # [T, groups, ...]
    else:
        images = np.concatenate(paths)  # [paths, frames, ...]
    run_flags.save_rows(OUT.value, images, FPS.value)
    app.say(
        f'Wrote {sum(map(len, paths))} paths of {run_flags.describe(state)} '
        f'to {OUT.value}'
    )
