"""Films: GIF by Pillow, MP4 by the program ffmpeg.

Frames are uint8 arrays; this module does not know what they show. MP4 files are
read and written one frame at a time.
"""

import collections
import contextlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import threading
from typing import NamedTuple, Tuple

import numpy as np
from PIL import Image

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import pictures

ENDINGS = ('.gif', '.mp4')
# Largest number of pixels of a GIF, which Pillow keeps in memory, 1 byte each.
MAX_GIF_PIXELS = 2**29
MAX_HEADER = 1024  # bytes before the pixels of the first frame


class Mp4(NamedTuple):
    """Format of the pictures in an MP4 file.

    Attributes:
        size: (height, width).
        rate: frames per second, as text, such as '25:1'.
    """

    size: Tuple[int, int]
    rate: str


def is_film(path):
    """Return whether a path has the ending of a film."""
    return str(path).lower().endswith(ENDINGS)


def is_mp4(path):
    """Return whether a path has the ending of an MP4 file."""
    return str(path).lower().endswith('.mp4')


def check(path):
    """Check that a film can be read and written on this machine.

    Raises:
        errors.ConfigError: for an MP4 if ffmpeg is not installed.
    """
    if is_mp4(path) and not shutil.which('ffmpeg'):
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
    if is_mp4(path):
        save_mp4(path, frames, fps)
    else:
        duration = 10 * max(1, round(100 / fps))  # GIF counts in 10 ms
        save_gif(path, frames, [duration] * len(frames), loop=0)


def save_gif(path, frames, durations, loop):
    """Write frames to a GIF. Equal successive frames become a single one.

    Args:
        path: local; its folder is created.
        frames: iterable of uint8 [H, W, C] of one size; C is 1, 3 or 4.
        durations: of each frame, in milliseconds; GIF counts in 10.
        loop: number of times that the frames are repeated, 0 for ever; None to
            show them once.

    Raises:
        OSError: if it cannot be written.
    """
    frames = map(_opaque, frames)
    with _written(path) as file:
        next(frames).save(
            file, 'GIF', save_all=True, append_images=frames,
            duration=list(durations), **({} if loop is None else {'loop': loop})
        )


def save_mp4(path, frames, fps, sound=None):
    """Write frames to an MP4 file, one at a time.

    Args:
        path: local; its folder is created.
        frames: iterable of uint8 [H, W, C] of one size; C is 1, 3 or 4. An odd
            side gets one more row or column of white.
        fps: frames per second, a number or text such as '25:1'.
        sound: path of an MP4 file whose sound is copied; None for a silent one.

    Raises:
        OSError: if it cannot be written.
        errors.ConfigError: if ffmpeg is missing or fails.
    """
    check(path)
    frames = (_opaque(frame).convert('RGB') for frame in frames)
    first = next(frames)
    tracks = [] if sound is None else [
        *_source(sound), '-map', '0:v', '-map', '1:a?', '-c:a', 'copy',
    ]
    with _written(path) as file:
        command = [
            '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24',
            '-s', '{}x{}'.format(*first.size),
            '-r', str(fps).replace(':', '/'), '-i', '-', *tracks,
            '-vf', 'pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white',
            '-pix_fmt', 'yuv420p', '-movflags', '+faststart', '-f', 'mp4',
            f'file:{os.path.abspath(file.name)}',
        ]
        with _ffmpeg(command, stdin=subprocess.PIPE) as (process, finish):
            with contextlib.suppress(BrokenPipeError):  # ffmpeg has ended
                for frame in itertools.chain([first], frames):
                    process.stdin.write(frame.tobytes())
            reason = finish()
        if reason:
            raise errors.ConfigError(f'ffmpeg could not write {path}: {reason}')


def read_mp4(path):
    """Read the format of an MP4 file.

    Args:
        path: local.

    Returns:
        `Mp4`.

    Raises:
        errors.ConfigError: if ffmpeg is missing.
        ValueError: with the reason, worded to follow the file's name, if it is
            not an MP4 file with pictures or a frame is too large.
    """
    with _decoding(
        path, '-frames:v', '1', '-pix_fmt', 'yuv420p', '-f', 'yuv4mpegpipe'
    ) as stream:
        header = stream.read(MAX_HEADER).partition(b'\n')[0].decode('latin-1')
        # Read the rest, so that ffmpeg ends without an error.
        while stream.read(2**20):
            pass
    match = re.match(r'YUV4MPEG2 W(\d+) H(\d+) F(\d+:\d+)', header)
    if not match:
        raise ValueError('holds no film')
    width, height = int(match[1]), int(match[2])
    if width * height > pictures.MAX_PIXELS:
        raise ValueError(
            f'has {height}x{width} pixels, more than {pictures.MAX_PIXELS:,}'
        )
    return Mp4((height, width), match[3])


def mp4_frames(path, mp4):
    """Decode an MP4 file, one frame at a time, at its own frame rate.

    Args:
        path: local.
        mp4: `Mp4` of the file.

    Yields:
        uint8 [H, W, 3].

    Raises:
        errors.ConfigError: if ffmpeg is missing.
        ValueError: as `read_mp4`, if the file is damaged.
    """
    shape = (*mp4.size, 3)
    size = int(np.prod(shape))
    with _decoding(
        path, '-r', mp4.rate.replace(':', '/'), '-pix_fmt', 'rgb24',
        '-f', 'rawvideo'
    ) as stream:
        while len(content := stream.read(size)) == size:
            yield np.frombuffer(content, np.uint8).reshape(shape)


@contextlib.contextmanager
def _decoding(path, *output):
    """Call ffmpeg to decode the pictures of an MP4 file, with output options.

    Yields:
        Binary file of what it writes, to be read to the end.

    Raises:
        errors.ConfigError: if ffmpeg is missing.
        ValueError: if it fails, after the block.
    """
    check(path)
    command = ['-xerror', *_source(path), '-map', '0:V:0', *output, '-']
    with _ffmpeg(command, stdout=subprocess.PIPE) as (process, finish):
        yield process.stdout
        reason = finish()
    if reason:
        raise ValueError(f'cannot be decoded: {reason}')


def _source(path):
    """Return the options of ffmpeg that read one local MP4 file, no other."""
    return [
        '-protocol_whitelist', 'file', '-f', 'mov',
        '-i', f'file:{os.path.abspath(os.path.expanduser(path))}',
    ]


@contextlib.contextmanager
def _ffmpeg(options, **pipes):
    """Start ffmpeg, and end it when the block is left.

    Args:
        options: of its command line.
        **pipes: stdin or stdout, as of `subprocess.Popen`.

    Yields:
        (process, function that waits for its end and returns why it failed, ''
        if it did not).
    """
    process = subprocess.Popen(
        ['ffmpeg', '-loglevel', 'error', *options], stderr=subprocess.PIPE,
        **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.DEVNULL, **pipes},
    )
    lines = collections.deque(maxlen=1)  # the last one names the error
    # A full pipe would block ffmpeg, so another thread reads it.
    reader = threading.Thread(target=lines.extend, args=(process.stderr,))
    reader.start()

    def close(pipe):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def finish():
        close(process.stdin)
        code = process.wait()
        reader.join()
        line = b' '.join(lines).decode(errors='replace').strip()
        line = re.sub(r'^\[[^]]*\] ', '', line)  # an address in memory
        return (line or 'it gave no reason') if code else ''

    try:
        yield process, finish
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            close(pipe)


@contextlib.contextmanager
def _written(path):
    """Open a file to write atomically; its folder is created."""
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        yield file


def _opaque(frame):
    """Convert a frame to a Pillow image, grey or RGB, on white."""
    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    if image.mode == 'RGBA':
        background = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(background, image).convert('RGB')
    return image
