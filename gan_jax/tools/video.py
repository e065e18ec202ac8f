"""Writing of films: GIF by Pillow, MP4 by the program ffmpeg.

It takes frames as uint8 arrays and does not know what they show.
"""

import os
import pathlib
import shutil
import subprocess

from PIL import Image

from gan_jax.core import errors
from gan_jax.core import files

ENDINGS = ('.gif', '.mp4')


def is_film(path):
    """Return whether a path has the ending of a film."""
    return str(path).lower().endswith(ENDINGS)


def check(path):
    """Check that a film can be written on this machine.

    Raises:
        errors.ConfigError: for an MP4 if ffmpeg is not installed.
    """
    if str(path).lower().endswith('.mp4') and not shutil.which('ffmpeg'):
        raise errors.ConfigError(
            f'{path} needs the program ffmpeg, which is not installed; a name '
            'that ends in .gif does not need it'
        )


def save(path, frames, fps):
    """Write frames to a film; the ending of the path selects the format.

    Args:
        path: local, ends in one of `ENDINGS`; its folder is created.
        frames: list of uint8 [H, W, C] of one size; C is 1, 3 or 4.
        fps: frames per second.

    Raises:
        OSError: if it cannot be written.
        errors.ConfigError: if ffmpeg is missing or fails.
    """
    check(path)
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [_opaque(frame) for frame in frames]
    with files.atomic_write(path) as file:
        if path.suffix.lower() == '.gif':
            frames[0].save(
                file, 'GIF', save_all=True, append_images=frames[1:],
                duration=10 * max(1, round(100 / fps)),  # GIF counts in 10 ms
                loop=0,
            )
        else:
            _save_mp4(path, file.name, frames, fps)


def _opaque(frame):
    """Convert a frame to a Pillow image, grey or RGB, on white."""
    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    if image.mode == 'RGBA':
        background = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(background, image).convert('RGB')
    return image


def _save_mp4(path, partial, frames, fps):
    """Call ffmpeg to write the existing file `partial`.

    `files.atomic_write` renames it to `path` afterwards.
    """
    width, height = frames[0].size
    process = subprocess.run(
        [
            'ffmpeg', '-loglevel', 'error', '-y', '-f', 'rawvideo',
            '-pix_fmt', 'rgb24', '-s', f'{width}x{height}', '-r', str(fps),
            '-i', '-', '-vf', 'pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white',
            '-pix_fmt', 'yuv420p', '-movflags', '+faststart', '-f', 'mp4',
            f'file:{os.path.abspath(partial)}',
        ],
        input=b''.join(frame.convert('RGB').tobytes() for frame in frames),
        capture_output=True,
    )
    if process.returncode:
        lines = process.stderr.decode(errors='replace').strip().splitlines()
        raise errors.ConfigError(
            f'ffmpeg could not write {path}: '
            f'{lines[-1] if lines else "it gave no reason"}'
        )
