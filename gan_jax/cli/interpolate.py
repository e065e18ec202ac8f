"""Show the ways from seed to seed: a grid, or a film.

    python -m gan_jax interpolate --workdir=runs/dcgan --seeds=1,2,3 --loop
    python -m gan_jax interpolate --workdir=runs/dcgan --seeds=1,2,3 --loop \
        --frames=30 --out=ways.gif
    python -m gan_jax interpolate --workdir=runs/dcgan --seeds='1-4;5-8' \
        --out=ways.mp4

A PNG has a row for each way. A film goes them one after the other; each group
of seeds, parted by ;, is a tile of its own.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SEEDS = flags.DEFINE_string(
    'seeds', '0-4', "Such as '1,2,3'; '1,2;3,4' are two ways side by side."
)
FRAMES = flags.DEFINE_integer(
    'frames', 12, 'Images of each way, both ends counted.', lower_bound=2
)
PATH = flags.DEFINE_enum('path', 'slerp', ['lerp', 'slerp'], 'Arc or line.')
LOOP = flags.DEFINE_bool('loop', False, 'From the last seed to the first too.')
OUT = run_flags.define_film('ways.png')
FPS = run_flags.define_fps()
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()


def main(argv):
    """Interpolate --seeds of --workdir into --out."""
    import numpy as np

    from gan_jax.core import errors
    from gan_jax.runs import sampling
    from gan_jax.tools import latent_paths
    from gan_jax.tools import video

    groups = [sampling.parse_seeds(part) for part in SEEDS.value.split(';')]
    if video.is_film(OUT.value) and len({len(group) for group in groups}) > 1:
        raise errors.ConfigError(
            f'--seeds={SEEDS.value}: ways side by side need as many seeds each'
        )
    algorithm, state = run_flags.open_run(argv)
    made = [latent_paths.interpolate(
        algorithm, state, group, FRAMES.value, loop=LOOP.value, path=PATH.value,
        labels=run_flags.labels(LABELS, len(group)),
        weights=run_flags.WEIGHTS.value, truncation=TRUNCATION.value,
    ) for group in groups]
    if video.is_film(OUT.value):
        tiles = [latent_paths.as_film(each, LOOP.value) for each in made]
        shown = np.stack(tiles, 1)  # [T, groups, ...]
    else:
        shown = np.concatenate(made)  # [ways, frames, ...]
    run_flags.save_rows(OUT.value, shown, FPS.value)
    app.say(
        f'{sum(map(len, made))} ways of {run_flags.told(state)} are in '
        f'{OUT.value}'
    )
