"""Pictures of a report with their captions, from a folder and its networks.

It must not know HTML; `pictures` cuts and encodes.
"""

from typing import NamedTuple

from gan_jax.algorithms import translation
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.reporting import pictures

SAMPLES_BY_SCORE = {'worst': 'lowest', 'median': 'middle', 'best': 'highest'}


class Shown(NamedTuple):
    """A picture and its texts.

    Attributes:
        picture: `pictures.Embedded`.
        caption: under which it is shown.
        alt: the text that stands for it where it is not seen.
        title: before the caption, or ''.
    """

    picture: pictures.Embedded
    caption: str
    alt: str
    title: str = ''


def _shown(picture, caption, alt='', title=''):
    return Shown(pictures.embed(picture), caption, alt or caption, title)


def film(run):
    """Return [(step, `Shown`)] of the samples over time."""
    kind = 'Generated and real points' if run.has_points else (
        f'{"Translations" if run.translates else "Samples"} of fixed '
        f'{fixed_inputs(run)}'
    )
    return [
        (step, Shown(embedded, '', f'{kind} at step {step}'))
        for step, embedded in pictures.film(run.frames)
    ]


def fixed_inputs(run):
    """Return what the pictures of all steps have in common, as a noun."""
    return 'images' if run.translates else 'latents'


def grids(run):
    """Return [`Shown`] of the last samples and of each source's real images.

    Real points are in the scatter of the samples already.
    """
    grids = []
    last = pictures.read(run.frames[-1].path) if run.frames else None
    if last is not None:
        step = run.frames[-1].step
        if run.translates:
            grids.append(_shown(last, _columns(run, step)))
        else:
            caption = f'Samples of seeds 0 to 63 at step {step:,}, not selected'
            if run.has_points:
                caption = f'Samples over real points at step {step:,}'
            shown = pictures.first(last, run.image_shape)
            grids.append(_shown(shown, caption))
    if run.has_points:
        return grids
    for name, path in run.reals.items():
        reals = pictures.read(path)
        if reals is None:
            continue
        caption = 'Real images, evenly spaced in the data'
        if len(run.sources) > 1:
            caption = f'Real images of {name}, evenly spaced in it'
        shape = load_run.shape_of(run.sources.get(name, {}))
        grids.append(_shown(pictures.spread(reals, shape), caption))
    return grids


def _columns(run, step):
    """Describe the columns of a picture of translations."""
    columns = [
        'an image of {0}, its translation to {1}, '.format(
            *translation.DIRECTIONS[name]
        ) + ('the true image' if len(names) == 1 else 'that translated back')
        for names in [translation.KINDS[run.config['algorithm']]]
        for name in names
    ]
    return (
        f'Training images, evenly spaced, at step {step:,}. Columns: '
        f'{"; ".join(columns)}'
    )


def translations(inspection):
    """Return [`Shown`] of the translations of each direction."""
    return [
        _shown(
            rows.picture, f'Rows, from the top: {"; ".join(rows.rows)}'
            + ('' if rows.error is None else
               f'. Mean error to the true images: {rows.error:.3f}'),
            title=f'From {rows.source} to {rows.target}, at step '
            f'{inspection.step:,}, images '
            + ('that were held out' if rows.held_out else 'trained on'),
        ) for rows in inspection.translations
    ]


OF_CODES = {  # caption of each of `load_run.SHOWN_CODES`
    'reconstructed':
        'Images (odd rows) and their reconstructions (even rows)',
    'interpolated':
        'From the reconstruction of one image to that of another, by the codes '
        'on the line between theirs,',
    'codes':
        'Share of each code of the codebook, the most used first; the gray '
        'line is the mean share,',
}


def reconstructions(run):
    """Return [`Shown`] of the newest reconstructions and what is beside them.
    """
    shown = []
    for name, frame in run.reconstructed.items():
        picture = pictures.read(frame.path)
        if picture is not None:
            shown.append(_shown(
                picture, f'{OF_CODES[name]} at step {frame.step:,}'
            ))
    return shown


def by_score(inspection):
    """Return [`Shown`] of rows of samples, lowest scores of D first."""
    rows = []
    for name, scored in inspection.scored.items():
        scores = ', '.join(f'{score:.2f}' for score in scored.scores)
        seeds = ', '.join(map(str, scored.seeds))
        title = f'{name.capitalize()}: the {SAMPLES_BY_SCORE[name]} of D'
        rows.append(_shown(
            scored.picture, f'seeds {seeds} · scores {scores}',
            f'{title}; seeds {seeds}', title,
        ))
    return rows


def styles(inspection):
    """Return [`Shown`] of truncated and mixed samples."""
    return [_shown(picture, text) for text, picture in inspection.styles]


def neighbours(run, inspection):
    """Return `Shown` of samples beside training images, or None.

    The picture of `gan_jax evaluate` comes before that of the inspection.
    """
    picture = pictures.read(run.neighbours)
    if picture is not None:
        return _shown(picture, (
            'From gan_jax evaluate: in each row a sample that is near to '
            'training images, then these, nearest first'
        ))
    if inspection.pairs is None:
        return None
    distances = ', '.join(f'{row[0]:,.0f}' for row in inspection.distances)
    count = f'all {inspection.num_images:,}'
    if inspection.num_searched != inspection.num_images:
        count = (
            f'{inspection.num_searched:,} of {inspection.num_images:,}, evenly '
            'spaced'
        )
    caption = (
        f'Of seeds 0 to {inspect_model.NUM_MATCHED - 1} at step '
        f'{inspection.step:,}, the samples nearest to training images: in each '
        f'row the sample, then its nearest training images by pixels, among '
        f'{count}'
    )
    return _shown(
        inspection.pairs, f'{caption}. Distances to the nearest, in grey '
        f'levels of 0 to 255: {distances}.', caption,
    )
