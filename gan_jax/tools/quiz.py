"""Quiz page on which of two images is real, and statistics of its answers.

Answers come back as CSV files, which people can edit, so each cell is checked.
"""

import base64
import csv
import hashlib
from importlib import resources
import io
import json
import math
import pathlib
from typing import NamedTuple

from etils import epath
import numpy as np
from PIL import Image

from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.evaluation import reference
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer

SIDES = ('left', 'right')
LEVELS = {1: 'guess', 2: 'likely', 3: 'certain'}  # as the page names them
COLUMNS = ('run', 'step', 'weights', 'pair', 'real', 'answer', 'confidence')
SMALL = 128  # smaller images are enlarged without smoothing
MAX_BYTES = 10 * 2**20  # largest file of answers


class Answer(NamedTuple):
    """One answer.

    Attributes:
        of: run, step and weights that made the fake, as text.
        fooled: whether the fake was taken for real.
        confidence: key of `LEVELS`.
    """

    of: str
    fooled: bool
    confidence: int


def page(
    workdir, algorithm, state, *, count=20, seed=0, split='', weights='ema'
):
    """Build the page.

    The real images, the seeds of the fakes and their sides depend on `seed`.

    Args:
        workdir: folder of the run.
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState`.
        count: number of pairs.
        seed: int.
        split: split of the real images; by default 'test' if images were held
            out.
        weights: one of `Algorithm.weight_names`.

    Returns:
        str, HTML that loads nothing from elsewhere.

    Raises:
        errors.UserError: for points, or too few real images.
    """
    if len(run_files.load_data(workdir)['image_shape']) == 1:
        raise errors.ConfigError('a quiz needs a run on images, not points')
    if run_files.units(workdir) is not None:
        raise errors.ConfigError('a quiz needs a run on pictures, not on .npy')
    reals, source = _reals(workdir, split)
    if len(reals) < count:
        raise errors.ConfigError(
            f'--pairs={count}: {source} has {len(reals):,} images'
        )
    random = np.random.RandomState(seed)
    indices = random.permutation(len(reals))[:count]
    seeds = random.randint(0, 2**31 - 1, count)
    left = random.randint(0, 2, count)
    fakes = writer.to_uint8(
        sampling.sample(algorithm, state, seeds, weights=weights)
    )
    shape = tuple(reals.shape[1:])
    if shape != fakes.shape[1:]:
        raise errors.DataError(
            f'{source} has images of shape {list(shape)}, but the run makes '
            f'{list(fakes.shape[1:])}'
        )
    pairs = []
    for index, fake_seed, fake, real_left in zip(indices, seeds, fakes, left):
        real, fake = (_data_uri(image) for image in (reals[index], fake))
        pairs.append({
            'left': real if real_left else fake,
            'right': fake if real_left else real,
            'real': 'left' if real_left else 'right',
            'fake_seed': int(fake_seed), 'real_number': int(index),
        })
    quiz = {
        'run': epath.Path(workdir).name, 'step': int(state.step),
        'weights': weights, 'data': source, 'seed': seed, 'pairs': pairs,
        'pixels': max(shape[:2]) < SMALL,
    }
    quiz['id'] = hashlib.sha256(json.dumps(quiz).encode()).hexdigest()[:12]
    folder = resources.files('gan_jax.tools')
    text = folder.joinpath('quiz_page.html').read_text()
    # A run's name may contain </script>, which would end the data element.
    return text.replace('@DATA@', json.dumps(quiz).replace('<', '\\u003c'))


def _reals(workdir, split):
    """Load the real images; return (images, description)."""
    sampling.check_data(workdir)
    config = sampling.load_data_config(workdir)
    dataset = None if split == 'train' else reference.held_out_of(config)
    if dataset is not None:
        return dataset.images, f'{dataset.name} test'
    if split == 'test':
        raise errors.DataError('the run held out no images of its data')
    dataset = builders.dataset(config)
    return dataset.images, f'{dataset.name} train'


def _data_uri(image):
    """Encode an image as PNG in a data: URI."""
    file = io.BytesIO()
    image = np.asarray(image)
    squeezed = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(squeezed).save(file, 'PNG')
    return 'data:image/png;base64,' + base64.b64encode(
        file.getvalue()
    ).decode()


def read_answers(path):
    """Read a CSV file that the page saved.

    Args:
        path: local.

    Returns:
        list of `Answer`.

    Raises:
        errors.DataError: with file and line number.
    """
    path = pathlib.Path(path).expanduser()
    try:
        content = files.read(path, MAX_BYTES)
    except OSError as error:
        raise errors.DataError(
            f'{path} cannot be read: {error.strerror or error}'
        ) from error
    except ValueError as error:
        raise errors.DataError(f'{path} {error}') from error
    try:
        text = content.decode('utf-8-sig')
    except ValueError as error:
        raise errors.DataError(f'{path} is not UTF-8 text') from error
    rows = csv.DictReader(io.StringIO(text, newline=''), strict=True)
    answers, seen = [], set()
    try:
        missing = [n for n in COLUMNS if n not in (rows.fieldnames or ())]
        if missing:
            raise errors.DataError(
                f'{path}, line 1: no column {missing[0]!r}; needed are '
                f'{", ".join(COLUMNS)}'
            )
        for row in rows:
            answers.append(_answer(row, seen, f'{path}, line {rows.line_num}'))
    except csv.Error as error:  # raised before the line is counted
        raise errors.DataError(
            f'{path}, line {rows.line_num + 1}: {error}'
        ) from error
    if not answers:
        raise errors.DataError(f'{path} holds no answers')
    return answers


def _answer(row, seen, place):
    """Parse one row; `place` names it in error messages."""
    if None in row or None in row.values():
        raise errors.DataError(
            f'{place}: has {"more" if None in row else "fewer"} cells than '
            'the header'
        )
    for name in ('real', 'answer'):
        if row[name] not in SIDES:
            raise errors.DataError(
                f'{place}: {name}={row[name]!r} is not left or right'
            )
    if row['confidence'] not in map(str, LEVELS):
        raise errors.DataError(
            f'{place}: confidence={row["confidence"]!r} is not 1, 2 or 3'
        )
    pair = row.get('quiz'), row['pair']
    if pair in seen:
        raise errors.DataError(f'{place}: pair {row["pair"]} is answered twice')
    seen.add(pair)
    return Answer(
        f'{row["run"]} at step {row["step"]} ({row["weights"]})',
        row['real'] != row['answer'], int(row['confidence']),
    )


def wilson(hits, count, z=1.959964):
    """Compute Wilson's confidence interval of a proportion.

    (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), which
    is valid for small n and for p = 0 or 1 too.

    Args:
        hits: successes.
        count: trials n, > 0.
        z: quantile of N(0, 1); the default gives 95 %.

    Returns:
        (low, high).

    References:
        Wilson, Probable Inference, the Law of Succession, and Statistical
        Inference, https://doi.org/10.1080/01621459.1927.10502953, 1927.
    """
    share = hits / count
    center = share + z**2 / (2 * count)
    half_width = z * math.sqrt(
        share * (1 - share) / count + z**2 / (4 * count**2)
    )
    scale = 1 + z**2 / count
    low, high = (center - half_width) / scale, (center + half_width) / scale
    return max(0.0, low), min(1.0, high)


def summarize(answers):
    """Count the fakes that were taken for real, by confidence.

    Args:
        answers: list of `Answer`.

    Returns:
        List of JSON-compatible dicts, one for each `Answer.of`: {'of', 'rows':
        [{'confidence', 'answers', 'fooled', 'share', 'low', 'high'}]}. The last
        row counts all answers.
    """
    results, groups = [], {}
    for answer in answers:
        groups.setdefault(answer.of, []).append(answer)
    for of, group in groups.items():
        rows = [
            _row(name, [a for a in group if a.confidence == level])
            for level, name in LEVELS.items()
        ]
        results.append({'of': of, 'rows': [*rows, _row('all', group)]})
    return results


def _row(name, answers):
    count, fooled = len(answers), sum(answer.fooled for answer in answers)
    low, high = wilson(fooled, count) if count else (None, None)
    return {
        'confidence': name, 'answers': count, 'fooled': fooled,
        'share': fooled / count if count else None, 'low': low, 'high': high,
    }


def table(results):
    """Yield the lines of a table of the results of `summarize`."""
    for result in results:
        yield f'Fakes of {result["of"]} taken for real (chance: 50 %):'
        yield '  confidence  answers  fakes    share  95 %'
        for row in result['rows']:
            line = (
                f'{row["confidence"]:>12} {row["answers"]:>8} '
                f'{row["fooled"]:>6}'
            )
            if row['answers']:
                line += (
                    f' {100 * row["share"]:>6.1f} %  {100 * row["low"]:.1f} to '
                    f'{100 * row["high"]:.1f} %'
                )
            yield line
