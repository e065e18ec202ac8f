"""A page that asks which of two images is real, and what people answered."""

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
from gan_jax.evaluation import runner
from gan_jax.runs import sampling
from gan_jax.runtime import writer

SIDES = ('left', 'right')
LEVELS = {1: 'guess', 2: 'likely', 3: 'certain'}  # as the page names them
NEEDED = ('run', 'step', 'weights', 'pair', 'real', 'answer', 'confidence')
SMALL = 128  # sides below are enlarged without smoothing
MAX_BYTES = 10 * 2**20  # of one file of answers


class Answer(NamedTuple):
    """One answer.

    Attributes:
        of: what made the fake: run, step and weights, for a person.
        fooled: whether the fake was taken for real.
        confidence: of `LEVELS`.
    """

    of: str
    fooled: bool
    confidence: int


def page(
    workdir, algorithm, state, *, count=20, seed=0, split='', weights='ema'
):
    """Make the page.

    Which real images, which seeds of fakes and which sides is drawn by `seed`.

    Args:
        workdir: folder of the run.
        algorithm: the value that trained.
        state: `algorithm.TrainState`.
        count: pairs.
        seed: int.
        split: of the real images; by default test where there is one.
        weights: one of `Algorithm.weight_names`.

    Returns:
        str, HTML that asks for nothing outside of it.

    Raises:
        errors.UserError: for points, or too few real images.
    """
    if len(sampling.load_data(workdir)['image_shape']) == 1:
        raise errors.ConfigError('a quiz shows images, and these are points')
    reals, source = _reals(workdir, split)
    if len(reals) < count:
        raise errors.ConfigError(
            f'--pairs={count}: {source} has {len(reals):,} images'
        )
    random = np.random.RandomState(seed)
    numbers = random.permutation(len(reals))[:count]
    seeds = random.randint(0, 2**31 - 1, count)
    left = random.randint(0, 2, count)
    fakes = writer.to_uint8(
        sampling.sample(algorithm, state, seeds, weights=weights)
    )
    shape = tuple(reals.shape[1:])
    if shape != fakes.shape[1:]:
        raise errors.DataError(
            f'{source} has images of shape {list(shape)}, and the run makes '
            f'{list(fakes.shape[1:])}'
        )
    pairs = []
    for number, fake_seed, fake, real_left in zip(numbers, seeds, fakes, left):
        real, fake = (_uri(image) for image in (reals[number], fake))
        pairs.append({
            'left': real if real_left else fake,
            'right': fake if real_left else real,
            'real': 'left' if real_left else 'right',
            'fake_seed': int(fake_seed), 'real_number': int(number),
        })
    quiz = {
        'run': epath.Path(workdir).name, 'step': int(state.step),
        'weights': weights, 'data': source, 'seed': seed, 'pairs': pairs,
        'pixels': max(shape[:2]) < SMALL,
    }
    quiz['id'] = hashlib.sha256(json.dumps(quiz).encode()).hexdigest()[:12]
    folder = resources.files('gan_jax.tools')
    text = folder.joinpath('quiz_page.html').read_text()
    # No tag in a name ends the element that holds the data.
    return text.replace('@DATA@', json.dumps(quiz).replace('<', '\\u003c'))


def _reals(workdir, split):
    """Give (real images, what they are)."""
    sampling.check_data(workdir)
    config = sampling.load_data_config(workdir)
    dataset = None if split == 'train' else runner.held_out_of(config)
    if dataset is not None:
        return dataset.images, f'{dataset.name} test'
    if split == 'test':
        raise errors.DataError('the data of the run have no images held out')
    dataset = builders.dataset(config)
    return dataset.images, f'{dataset.name} train'


def _uri(image):
    """Give an image as PNG in a data: URI."""
    file = io.BytesIO()
    image = np.asarray(image)
    squeezed = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(squeezed).save(file, 'PNG')
    return 'data:image/png;base64,' + base64.b64encode(
        file.getvalue()
    ).decode()


def read_answers(path):
    """Read a CSV that the page saved.

    Args:
        path: local.

    Returns:
        list of `Answer`.

    Raises:
        errors.DataError: one line with file and line number.
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
        raise errors.DataError(f'{path} is no text in UTF-8') from error
    rows = csv.DictReader(io.StringIO(text, newline=''), strict=True)
    answers, seen = [], set()
    try:
        missing = [n for n in NEEDED if n not in (rows.fieldnames or ())]
        if missing:
            raise errors.DataError(
                f'{path}, line 1: no column {missing[0]!r}; the page of '
                f'gan_jax.quiz saves {", ".join(NEEDED)}'
            )
        for row in rows:
            answers.append(_answer(row, seen, f'{path}, line {rows.line_num}'))
    except csv.Error as error:  # told before the line is counted
        raise errors.DataError(
            f'{path}, line {rows.line_num + 1}: {error}'
        ) from error
    if not answers:
        raise errors.DataError(f'{path} holds no answer')
    return answers


def _answer(row, seen, place):
    """Read one row; `place` names it in messages."""
    if None in row or None in row.values():
        raise errors.DataError(
            f'{place}: has {"more" if None in row else "fewer"} cells than '
            'the first line'
        )
    for name in ('real', 'answer'):
        if row[name] not in SIDES:
            raise errors.DataError(
                f'{place}: {name}={row[name]!r} is neither left nor right'
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
    """Give an interval for a share, of 95 % by default.

    (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), which
    holds for few answers and for shares of 0 and 1.

    Args:
        hits: out of `count` > 0.
        z: quantile of N(0, 1).

    Returns:
        (low, high).

    References:
        Wilson, Probable Inference, the Law of Succession, and Statistical
        Inference, https://doi.org/10.1080/01621459.1927.10502953, 1927.
    """
    share = hits / count
    middle = share + z**2 / (2 * count)
    reach = z * math.sqrt(
        share * (1 - share) / count + z**2 / (4 * count**2)
    )
    scale = 1 + z**2 / count
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return max(0.0, low), min(1.0, high)


def summarize(answers):
    """Count the fakes that were taken for real, by confidence.

    Args:
        answers: list of `Answer`.

    Returns:
        list of dicts of types of JSON, one for what each fake was of:
        {'of', 'rows': [{'confidence', 'answers', 'fooled', 'share', 'low',
        'high'}]}; the last row is of all.
    """
    results, groups = [], {}
    for answer in answers:
        groups.setdefault(answer.of, []).append(answer)
    for of, own in groups.items():
        rows = [
            _row(name, [a for a in own if a.confidence == level])
            for level, name in LEVELS.items()
        ]
        results.append({'of': of, 'rows': [*rows, _row('all', own)]})
    return results


def _row(name, answers):
    count, fooled = len(answers), sum(answer.fooled for answer in answers)
    low, high = wilson(fooled, count) if count else (None, None)
    return {
        'confidence': name, 'answers': count, 'fooled': fooled,
        'share': fooled / count if count else None, 'low': low, 'high': high,
    }


def told(results):
    """Give lines of a table of `summarize`."""
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
