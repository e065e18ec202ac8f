"""Output of a run: metrics, pictures, JSON files, terminal lines, loggers.

Drawing functions return uint8 arrays; `Writer` owns the files of a running run.
Knows nothing of networks or training.
"""

import contextlib
import json
import math
import sys

from etils import epath
import numpy as np
from PIL import Image
from tqdm import tqdm

from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.runtime import loggers

METRICS = 'metrics.jsonl'
DIAGNOSIS = 'diagnosis.jsonl'


def grid(images, columns=None, *, tile=64, gap=2, units=None):
    """Render images as a grid; small images are enlarged by an integer factor.

    Args:
        images: [N, H, W, C] float in [-1, 1] or uint8; C is 1, 3 or 4, or any
            number with `units`.
        columns: images per row; ceil(sqrt(N)) by default.
        tile: the enlargement brings the longer side of an image nearest to this
            number of pixels.
        gap: white pixels between images, before the enlargement.
        units: `fields.Units`, whose channels are shown, or None.

    Returns:
        uint8 [height, width, C].
    """
    images = to_uint8(images) if units is None else units.draw(images)
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    step = (height + gap, width + gap)
    canvas = np.full(
        (rows * step[0] - gap, columns * step[1] - gap, channels), 255, np.uint8
    )
    for index, image in enumerate(images):
        top, left = (n * s for n, s in zip(divmod(index, columns), step))
        canvas[top:top + height, left:left + width] = image
    factor = max(1, round(tile / max(height, width)))
    return canvas.repeat(factor, 0).repeat(factor, 1)


def scatter(points, real=None):
    """Plot generated points over real ones, with the same scale on both axes.

    With D > 2, points are projected onto the two `main_axes` of the real
    points, or of the generated ones where real is None. With D = 1, histograms
    are plotted as densities.

    Args:
        points: [N, D] generated.
        real: [M, D] or None; sets the limits of the axes.

    Returns:
        uint8 [640, 640, 3].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.4), dpi=100, layout='constrained')
    axes = figure.add_subplot()
    if points.shape[1] == 1:
        _histograms(axes, points, real)
        figure.legend(loc='outside upper center', ncols=2)
        return rasterize(figure)
    if points.shape[1] > 2:
        center, plane = main_axes(points if real is None else real)
        points = (points - center) @ plane
        real = None if real is None else (real - center) @ plane
        whose = 'generated' if real is None else 'real'
        axes.set(
            xlabel=f'first principal axis of the {whose} points',
            ylabel='second principal axis',
        )
    style = {'s': 4, 'linewidths': 0, 'alpha': 0.5}
    if real is not None:
        axes.scatter(*real.T, label='real', color='#0072b2', **style)
    axes.scatter(*points.T, label='generated', color='#d55e00', **style)
    reach = 1.25 * np.abs(points if real is None else real).max() or 1.0
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect='equal')
    figure.legend(loc='outside upper center', ncols=2, markerscale=3)
    return rasterize(figure)


def _histograms(axes, points, real):
    """Plot the density of generated points over that of the real ones."""
    reach = 1.25 * np.abs(points if real is None else real).max() or 1.0
    style = {'bins': np.linspace(-reach, reach, 101), 'density': True}
    if real is not None:
        axes.hist(real[:, 0], label='real', color='#0072b2', **style)
    axes.hist(
        np.clip(points[:, 0], -reach, reach), label='generated',
        color='#d55e00', histtype='step', linewidth=2, **style,
    )
    axes.set(xlim=(-reach, reach), ylabel='density')


def rasterize(figure):
    """Render a matplotlib `Figure` without a display, as uint8 [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def main_axes(points):
    """Compute the first two principal axes of points.

    Args:
        points: [N, D], D >= 2.

    Returns:
        (mean, axes): float64 [D], and float64 [D, 2] with orthonormal columns,
        in each of which the entry of largest magnitude is positive.
    """
    points = np.asarray(points, np.float64)
    center = points.mean(0)
    offsets = points - center
    axes = np.linalg.eigh(offsets.T @ offsets)[1][:, :-3:-1]
    largest = np.abs(axes).argmax(0)
    return center, axes * np.sign(axes[largest, [0, 1]])


def picture(samples, real=None, units=None):
    """Render images as a grid, points as a scatter plot, uint8 [H, W, C]."""
    samples = np.asarray(samples)
    if samples.ndim == 2:
        return scatter(samples, real)
    return grid(samples, units=units)


def to_uint8(images):
    """Convert images in [-1, 1] to uint8 by rounding; uint8 is unchanged."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    scaled = (images.astype(np.float32) + 1) * 127.5
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def like(images, others):
    """Convert images in [-1, 1] to the type of others: uint8, or clipped."""
    if others.dtype == np.uint8:
        return to_uint8(images)
    return np.clip(np.asarray(images, np.float32), -1, 1)


def save_png(path, image):
    """Save a uint8 image [H, W, C] as PNG; creates its folder."""
    path = files.to_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    squeezed = image[..., 0] if image.shape[-1] == 1 else image
    with files.atomic_write(path) as file:
        Image.fromarray(squeezed).save(file, 'png')


def save_array(path, array):
    """Save an array as an .npy file; creates its folder."""
    path = files.to_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        np.save(file, array)


def save_arrays(path, **arrays):
    """Save named arrays as an .npz file; creates its folder."""
    path = files.to_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        np.savez(file, **arrays)


def write_json(path, content):
    """Write a JSON file atomically."""
    files.write_json(path, content)


def append_json(path, item):
    """Add an item to a JSON list; a missing file is created.

    A file that is damaged or has become too large is renamed and a new one
    begun. Safe with several processes at the same time.

    Raises:
        OSError: where it cannot be read or written.
    """
    path = files.to_path(path)
    with files.exclusive(path.parent):
        try:
            items = files.read_json(path, files.MAX_JSON)
            if not isinstance(items, list):
                raise ValueError('is not a list')
        except FileNotFoundError:
            items = []
        except ValueError:  # damaged or too large
            files.move_damaged(path)
            items = []
        write_json(path, [*items, item])


def _lines(path, step):
    """Yield (raw line, record) of a JSON Lines file, up to a step."""
    for line, record in files.lines(path):
        if record is None or type(record.get('step')) is not int:
            continue  # the process was killed while it wrote the line
        if record['step'] <= step:
            yield line, record


class Writer:
    """All output of a run but its checkpoints.

    Scalars go to `metrics.jsonl` and the loggers, images to `samples/` and
    the loggers, lines to the terminal. Where `enabled` is False, nothing is
    written or printed.
    """

    def __init__(
        self, workdir, *, enabled, start, total, names=('tensorboard',),
        config=None,
    ):
        """Open the files of a run folder.

        Args:
            workdir: the run folder, which must exist.
            enabled: whether this host writes.
            start: step from which the run continues; records of later steps
                are removed, because they will be written again.
            total: steps of the whole run.
            names: of `loggers.LOGGERS`.
            config: {key: value} that loggers keep, without secrets.
        """
        self._enabled = enabled
        self._workdir = epath.Path(workdir)
        self._names, self._config = names, config or {}
        if not enabled:
            return
        self._keep_lines(start)
        self._bar = None
        self._loggers = self._open_loggers(start)
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total, initial=start, unit='step', dynamic_ncols=True
            )

    def _open_loggers(self, start):
        """Return the opened loggers; some may not work on this file system."""
        opened = (
            loggers.LOGGERS[name](self._workdir, start, self._config, self.say)
            for name in self._names
        )
        return [logger for logger in opened if logger is not None]

    def rewind(self, step):
        """Remove the records of later steps, which will be trained again."""
        if not self._enabled:
            return
        for logger in self._loggers:
            logger.close()
        self._keep_lines(step)
        self._loggers = self._open_loggers(step)
        if self._bar is not None:
            self._bar.n = step
            self._bar.refresh()

    def _keep_lines(self, start):
        """Remove the records of later steps from the JSON Lines files."""
        for name in (METRICS, DIAGNOSIS):
            path = self._workdir / name
            if name == DIAGNOSIS and not files.lexists(path):
                continue
            with contextlib.suppress(OSError):
                if path.stat().length > files.MAX_FILE:  # minutes to read
                    files.move_aside(path)
            with files.atomic_write(path) as file:
                with contextlib.suppress(FileNotFoundError, ValueError):
                    file.writelines(line for line, _ in _lines(path, start))

    def past(self, step):
        """Load the records of metrics up to a step, oldest first."""
        records = []
        with contextlib.suppress(OSError, ValueError):
            for _, record in _lines(self._workdir / METRICS, step):
                records.append(record)
        return records

    def say(self, text=''):
        """Print a line, above the progress bar if there is one."""
        if self._enabled:
            tqdm.write(redact.escape(text), file=sys.stdout)
            sys.stdout.flush()

    def advance(self, steps):
        """Move the progress bar forward."""
        if self._enabled and self._bar is not None:
            self._bar.update(steps)

    def scalars(self, step, metrics, line):
        """Record {'group/name': float} of a step and print a summary line."""
        if not self._enabled:
            return
        record = {'step': step}
        for name, value in metrics.items():
            record[name] = value if math.isfinite(value) else None
            for logger in self._loggers if math.isfinite(value) else ():
                logger.add_scalar(name, value, step)
        files.append(self._workdir / METRICS, json.dumps(record) + '\n')
        if self._bar is not None:
            self._bar.set_postfix_str(line)
        else:
            self.say(f'step {step}  {line}')

    def open_diagnosis(self):
        """Create an empty `diagnosis.jsonl`.

        It distinguishes a run without findings from one without diagnosis.
        """
        if self._enabled:
            files.append(self._workdir / DIAGNOSIS, '')

    def finding(self, step, finding):
        """Report a finding of a step, {'rule', 'level', 'text', …}.

        It goes to the terminal, `diagnosis.jsonl` and the loggers.
        """
        if not self._enabled:
            return
        line = '{level}: {text}. {advice}'.format(**finding)
        self.say(f'step {step}  {line}')
        for logger in self._loggers:
            logger.add_text(f'diagnosis/{finding["rule"]}', line, step)
        record = {'step': step, **finding}
        files.append(self._workdir / DIAGNOSIS, json.dumps(record) + '\n')

    def picture(self, name, image, *, step=None):
        """Save uint8 [H, W, C] as `samples/<name>.png`.

        With a step it goes to the loggers too.
        """
        if not self._enabled:
            return
        save_png(self._workdir / 'samples' / f'{name}.png', image)
        for logger in self._loggers if step is not None else ():
            logger.add_image('samples', image, step, dataformats='HWC')
            logger.flush()

    def close(self):
        """Close the files and the progress bar."""
        if self._enabled:
            for logger in self._loggers:
                logger.close()
            if self._bar is not None:
                self._bar.close()
