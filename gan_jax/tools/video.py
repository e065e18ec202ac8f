"""Pictures one after the other: GIF by Pillow, MP4 by ffmpeg where it is."""

import os
import pathlib
import shutil
import subprocess

from PIL import Image

from gan_jax.core import errors
from gan_jax.core import files

ENDINGS = ('.gif', '.mp4')


def is_film(path):
    """Say whether a path's ending asks for a film."""
    return str(path).lower().endswith(ENDINGS)


def check(path):
    """Refuse a film that cannot be made here.

    Raises:
        errors.ConfigError: for an MP4 without ffmpeg.
    """
    if str(path).lower().endswith('.mp4') and not shutil.which('ffmpeg'):
        raise errors.ConfigError(
            f'{path} needs the program ffmpeg, which is not here; a name '
            'that ends in .gif needs none'
        )


def save(path, frames, fps):
    """Write frames as the ending of the path says; its folder is made.

    Args:
        path: local, ends in one of `ENDINGS`.
        frames: list of uint8 [H, W, C] of one size; C is 1, 3 or 4.
        fps: frames in a second.

    Raises:
        OSError: where it cannot be written.
        errors.ConfigError: where ffmpeg is missing or fails.
    """
    check(path)
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [_opaque(frame) for frame in frames]
    with files.replacing(path) as file:
        if path.suffix.lower() == '.gif':
            frames[0].save(
                file, 'GIF', save_all=True, append_images=frames[1:],
                duration=10 * max(1, round(100 / fps)),  # it counts in 10 ms
                loop=0,
            )
        else:
            _save_mp4(path, file.name, frames, fps)


def _opaque(frame):
    """Give a Pillow image in grey or RGB; what shows through is white."""
    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    if image.mode == 'RGBA':
        behind = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(behind, image).convert('RGB')
    return image


def _save_mp4(path, partial, frames, fps):
    """Let ffmpeg write a file that is there already, to be given its name."""
    width, height = frames[0].size
    done = subprocess.run(
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
    if done.returncode:
        told = done.stderr.decode(errors='replace').strip().splitlines()
        raise errors.ConfigError(
            f'ffmpeg could not write {path}: {told[-1] if told else "no word"}'
        )
