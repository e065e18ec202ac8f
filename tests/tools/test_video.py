"""Films: what is written is read back, one frame at a time."""

import shutil
import subprocess

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.data import pictures
from gan_jax.tools import video

needs_ffmpeg = pytest.mark.skipif(
    not shutil.which('ffmpeg'), reason='ffmpeg is not installed'
)


def levels(count, size=(16, 24)):
    return [np.full((*size, 3), 40 * n % 256, np.uint8) for n in range(count)]


def noise(count, size=(64, 64)):
    return list(helpers.random_images(count, (*size, 3)))


@pytest.mark.parametrize('loop', [None, 0, 3])
def test_gif_keeps_durations_and_loop(loop, tmp_path):
    path, durations = tmp_path / 'new' / 'a.gif', [50, 120, 70, 10]
    video.save_gif(path, iter(levels(4)), durations, loop)
    content = path.read_bytes()
    found = pictures.animation(content)
    assert found == pictures.Animation((16, 24), tuple(durations), loop)
    frames = pictures.frames(content, pictures.Preparation(channels=3))
    np.testing.assert_allclose(list(frames), levels(4), atol=1)


@needs_ffmpeg
@pytest.mark.parametrize('fps, rate', [
    (25, '25:1'), (12.5, '25:2'), ('30000:1001', '30000:1001'),
])
def test_mp4_is_read_back_at_its_frame_rate(fps, rate, tmp_path):
    video.save_mp4(tmp_path / 'a.mp4', iter(levels(5)), fps)
    mp4 = video.read_mp4(tmp_path / 'a.mp4')
    assert mp4 == video.Mp4((16, 24), rate)
    frames = list(video.mp4_frames(tmp_path / 'a.mp4', mp4))
    np.testing.assert_allclose(frames, levels(5), atol=3)


@needs_ffmpeg
def test_frames_are_read_and_written_one_at_a_time(tmp_path):
    first, second = tmp_path / 'a.mp4', tmp_path / 'b.mp4'
    video.save_mp4(first, iter(noise(30)), 25)
    mp4, events = video.read_mp4(first), []

    def frames():
        for number, frame in enumerate(video.mp4_frames(first, mp4)):
            events.append(number)
            yield 255 - frame

    video.save_mp4(second, frames(), mp4.rate)
    assert events == list(range(30))
    stopped = video.mp4_frames(first, mp4)
    next(stopped)
    stopped.close()  # ends ffmpeg, without an error


@needs_ffmpeg
def test_sound_is_copied(tmp_path):
    video.save_mp4(tmp_path / 'silent.mp4', iter(levels(25)), 25)
    subprocess.run([
        'ffmpeg', '-loglevel', 'error', '-i', tmp_path / 'silent.mp4',
        '-f', 'lavfi', '-i', 'sine=duration=1', '-c:v', 'copy',
        tmp_path / 'loud.mp4',
    ], check=True)
    video.save_mp4(
        tmp_path / 'out.mp4', iter(levels(25)), 25, tmp_path / 'loud.mp4'
    )
    samples = [subprocess.run([
        'ffmpeg', '-loglevel', 'error', '-i', tmp_path / name, '-map', '0:a',
        '-f', 's16le', '-',
    ], check=True, capture_output=True).stdout
        for name in ('loud.mp4', 'out.mp4')]
    assert len(samples[0]) > 50_000 and samples[0] == samples[1]
    assert video.read_mp4(tmp_path / 'out.mp4').rate == '25:1'
    video.save_mp4(  # there is none to copy
        tmp_path / 'out.mp4', iter(levels(2)), 25, tmp_path / 'silent.mp4'
    )


@needs_ffmpeg
@pytest.mark.parametrize('content', [
    b'', b'no film' * 99, b'#EXTM3U\nhttp://example.org/a.ts\n',
    b"ffconcat version 1.0\nfile 'a.mp4'\n",
])
def test_other_files_are_refused_in_one_line(content, tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='^cannot be decoded: [^\n]+$'):
        video.read_mp4(path)


@needs_ffmpeg
def test_film_that_breaks_off_is_an_error_and_nothing_is_written(tmp_path):
    path = tmp_path / 'a.mp4'
    video.save_mp4(path, iter(noise(60)), 25)
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    mp4 = video.read_mp4(path)
    with pytest.raises(ValueError, match='cannot be decoded'):
        video.save_mp4(
            tmp_path / 'b.mp4', video.mp4_frames(path, mp4), mp4.rate
        )
    assert [each.name for each in tmp_path.iterdir()] == ['a.mp4']


@needs_ffmpeg
def test_large_frames_are_refused(tmp_path, monkeypatch):
    video.save_mp4(tmp_path / 'a.mp4', iter(levels(1)), 25)
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 16 * 24 - 1)
    with pytest.raises(ValueError, match='has 16x24 pixels, more than 383'):
        video.read_mp4(tmp_path / 'a.mp4')


@needs_ffmpeg
def test_error_of_ffmpeg_is_one_line(tmp_path):
    with pytest.raises(errors.ConfigError, match='could not write .*b.mp4: '):
        video.save_mp4(tmp_path / 'b.mp4', iter(noise(50)), '0:1')
    assert not list(tmp_path.iterdir())


def test_mp4_cannot_be_read_without_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(errors.ConfigError, match='needs the program ffmpeg'):
        video.read_mp4(tmp_path / 'a.mp4')


def test_gif_of_equal_frames_is_a_picture(tmp_path):
    frames = [np.full((4, 4, 1), 9, np.uint8)] * 3
    video.save_gif(tmp_path / 'a.gif', iter(frames), [10, 20, 30], 0)
    with Image.open(tmp_path / 'a.gif') as film:
        assert film.n_frames == 1 and film.info['duration'] == 60
