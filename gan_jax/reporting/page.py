"""The report as one HTML page: what was gathered in, text out.

All that comes from files is escaped. The page's Content-Security-Policy lets it
run its own two scripts, known by their hashes, show its own pictures and ask no
host, whatever text it holds.
"""

import base64
import hashlib
from html import escape
from importlib import resources
import json
import string
import time

import gan_jax
from gan_jax.config import defaults as defaults_lib
from gan_jax.core import files
from gan_jax.reporting import figures as figures_lib
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.reporting import pictures

LEVELS = {'alarm': '✖ alarm', 'warning': '▲ warning', 'note': '● note'}
EACH = {'worst': 'lowest', 'median': 'middle', 'best': 'highest'}


def of_run(run, looked):
    """Write the page of one run.

    Args:
        run: `load_run.Run`.
        looked: `inspect_model.Looked`.

    Returns:
        str, a whole HTML document.
    """
    page = _Page()
    sections = [
        ('curves', 'Curves', _curves(page, run)),
        ('film', 'Samples over time', _film(page, run)),
        ('samples', 'Samples beside real data', _samples(run, looked)),
        ('metrics', 'Metrics', _metrics(page, run)),
        ('diagnosis', 'Diagnosis', _diagnosis(run)),
        ('neighbours', 'Nearest neighbours', _neighbours(run, looked)),
        ('config', 'Config', _config(run)),
        ('environment', 'Environment', _environment(run)),
    ]
    return page.write(run.name, _header(run), sections)


def of_runs(runs):
    """Write the page that compares several runs.

    Args:
        runs: list of `load_run.Run`.

    Returns:
        str, a whole HTML document.
    """
    page = _Page()
    labels = _labels(runs)
    named = [run._replace(name=name) for run, name in zip(runs, labels)]
    sections = [
        ('runs', 'Runs', _facts_of_all(named)),
        ('numbers', 'Final numbers', _final_numbers(named)),
        ('differences', 'Config keys that differ', _differences(named)),
        ('curves', 'Curves', _charts(page, *figures_lib.compared(named))),
        ('samples', 'Samples beside real data', ''.join(
            f'<h3>{_mark(n)}{escape(run.name)}</h3>{_grids(run)}'
            for n, run in enumerate(named)
        )),
    ]
    title = f'{len(runs)} runs'
    return page.write(title, f'<h1>{title} side by side</h1>', sections)


class _Page:
    """Figures and frames of one document, numbered."""

    def __init__(self):
        self._plots, self.film = [], []

    def figure(self, figure):
        """Give the place of a figure, whose data stand at the foot."""
        number = len(self._plots)
        self._plots.append({k: figure[k] for k in ('traces', 'layout')})
        buttons = ''.join(
            f'<button type="button" data-act="{act}" title="{words}" '
            f'aria-label="{words}: {escape(figure["title"])}">{sign}</button>'
            for act, sign, words in (
                ('in', '+', 'zoom in'), ('out', '−', 'zoom out'),
                ('left', '←', 'earlier steps'), ('right', '→', 'later steps'),
                ('reset', '⟲', 'whole run'),
            )
        )
        note = f'<span>{escape(figure["note"])}</span>'
        return (
            f'<figure class="chart"><h3>{escape(figure["title"])}</h3>'
            f'<div class="plot" data-plot="{number}" role="img" '
            f'aria-label="{escape(figure["alt"])}"></div>'
            f'<figcaption>{note}<span class="zoom">{buttons}</span>'
            '</figcaption></figure>'
        )

    def write(self, title, header, sections):
        """Give the document."""
        from plotly import offline

        files = resources.files('gan_jax.reporting')
        plotly, script, style, page = offline.get_plotlyjs(), *(
            files.joinpath(name).read_text('utf-8')
            for name in ('page.js', 'page.css', 'page.html')
        )
        links = ''.join(
            f'<a href="#{key}">{name}</a>' for key, name, _ in sections
        )
        body = ''.join(
            f'<section id="{key}"><h2>{name}</h2>{text}</section>'
            for key, name, text in sections
        )
        data = {'plots': self._plots, 'film': self.film}
        return string.Template(page).substitute(
            title=escape(title), header=header, links=links, body=body,
            hashes=' '.join(map(_hash, (plotly, script))), style=style,
            plotly=plotly, script=script, data=_inert(data),
            version=escape(gan_jax.__version__),
            now=time.strftime('%Y-%m-%d %H:%M %z'),
        )


def _hash(script):
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _inert(data):
    """Give JSON that ends no script element."""
    text = json.dumps(data, separators=(',', ':'), allow_nan=False)
    for sign in '<>&':
        text = text.replace(sign, f'\\u{ord(sign):04x}')
    return text


def _image(picture, alt, *, whole=False):
    """Show uint8 [H, W, C]; with a button for its full size."""
    return _shown(
        pictures.uri(picture), picture.shape[1], picture.shape[0], alt, whole
    )


def _shown(uri, width, height, alt, whole=False):
    image = (
        f'<img src="{uri}" alt="{escape(alt)}" width="{width}" '
        f'height="{height}">'
    )
    if not whole:
        return f'<div class="strip">{image}</div>'
    return (
        f'<div class="whole" tabindex="0" role="group" '
        f'aria-label="{escape(alt)}">{image}</div><button type="button" '
        'class="size" aria-pressed="false">Full size</button>'
    )


def _words(text):
    return f'<p>{escape(text)}</p>'


def _table(head, rows, kind=''):
    """Give a table of escaped cells, the first of each row its heading."""
    top = ''.join(f'<th scope="col">{escape(str(cell))}</th>' for cell in head)
    lines = ''.join(
        f'<tr><th scope="row">{escape(str(first))}</th>' + ''.join(
            f'<td>{escape(str(cell))}</td>' for cell in rest
        ) + '</tr>' for first, *rest in rows
    )
    top = f'<thead><tr>{top}</tr></thead>' if head else ''
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="table">'
        f'<table class="{kind}">{top}<tbody>{lines}</tbody></table></div>'
    )


def _folded(summary, content):
    return (
        f'<details><summary>{escape(summary)}</summary>{content}</details>'
    )


def _header(run):
    rows = [row for row in _facts(run) if row[1]]
    facts = ''.join(
        f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in rows
    )
    return (
        f'<h1>{escape(run.name)}</h1><dl class="facts">{facts}'
        f'<dt>Diagnosis</dt><dd><a href="#diagnosis">'
        f'{escape(_diagnosed(run))}</a></dd></dl>'
    )


def _facts(run):
    """List (name, text) of what one asks first of a run."""
    start = run.starts[-1] if run.starts else {}
    wanted = run.config.get('num_steps')
    steps = f'{run.steps:,} of {wanted:,}' if isinstance(wanted, int) else (
        f'{run.steps:,}'
    )
    if isinstance(wanted, int) and run.steps < wanted:
        steps += ' (not finished)'
    versions = start.get('versions')
    versions = versions if isinstance(versions, dict) else {}
    return [
        ('Folder', run.workdir),
        ('Command', str(start.get('command', 'not known'))),
        ('Data', _data(run)),
        ('Networks', _networks(run.config)),
        ('Steps', steps),
        ('Time trained', _time(run)),
        ('Devices', _devices(start)),
        ('Versions', ', '.join(f'{k} {v}' for k, v in versions.items())),
        ('Started', _started(run)),
    ]


def _data(run):
    source = run.config.get('data.path') or run.config.get('data.name')
    shape = 'x'.join(map(str, run.image_shape))
    count = run.data.get('count')
    many = f'{count:,} ' if isinstance(count, int) else ''
    if run.has_points:
        dimensions = run.image_shape[0]
        return f'{source}: points in {dimensions} dimensions'
    classes = run.data.get('classes')
    of = f', {len(classes)} classes' if isinstance(classes, list) and (
        classes) else ''
    return f'{source}: {many}images of {shape}{of}'


def _networks(config):
    return '; '.join(
        f'{sign}: {config.get(f"{player}.name")}, width '
        f'{config.get(f"{player}.width")}'
        for sign, player in (('G', 'generator'), ('D', 'discriminator'))
    )


def _time(run):
    """Tell how long the steps took, by the speeds that were logged."""
    seconds = load_run.seconds(run)
    if seconds is None:
        return 'not known'
    unit, size = next(
        (pair for pair in (('h', 3600), ('min', 60)) if seconds >= pair[1]),
        ('s', 1),
    )
    return f'{seconds / size:.1f} {unit} (without the first compilation)'


def _devices(start):
    devices = start.get('devices')
    if not isinstance(devices, list):
        return 'not known'
    return (
        f'{len(devices)} x {start.get("device_kind")} '
        f'({start.get("backend")}), {start.get("processes")} process(es)'
    )


def _started(run):
    times = [str(start.get('started')) for start in run.starts]
    if len(times) < 2:
        return ''.join(times)
    return f'{times[0]}, gone on with {len(times) - 1} times, last {times[-1]}'


def _curves(page, run):
    found = _charts(page, figures_lib.curves(run), figures_lib.others(run))
    damaged = ''
    if run.damaged:
        damaged = _words(
            f'{run.damaged} of the lines of metrics cannot be read and are '
            'left out.'
        )
    return damaged + found


def _charts(page, first, rest=()):
    """Lay figures out, the rest in a folded block."""
    def laid(some):
        charts = ''.join(page.figure(figure) for figure in some)
        return f'<div class="charts">{charts}</div>'

    return laid(first) + (
        _folded('All other numbers', laid(rest)) if rest else ''
    )


def _film(page, run):
    frames, whole = pictures.film(run.frames)
    if not frames:
        return _words('No picture of samples lies in this folder.')
    last, uri = frames[-1]
    page.film = [
        {'step': step, 'uri': uri, 'alt': _alt_of_frame(run, step)}
        for step, uri in frames
    ]
    told = f'{len(frames)} of {len(run.frames)} pictures, evenly chosen' if (
        len(frames) < len(run.frames)) else f'All {len(frames)} pictures'
    how = 'as they lie in samples/' if whole else (
        'made smaller with loss (WebP); those in samples/ are exact'
    )
    return (
        f'<figure class="film"><img id="film-image" src="{uri}" '
        f'alt="{escape(_alt_of_frame(run, last))}">'
        '<div class="player"><button type="button" id="film-play">Play'
        '</button><label for="film-slider">Step</label><input type="range" '
        f'id="film-slider" min="0" max="{len(frames) - 1}" '
        f'value="{len(frames) - 1}" aria-valuetext="step {last}"><output '
        f'id="film-step" for="film-slider">{last:,}</output></div>'
        f'<figcaption>The same latents at each step. {told}, {how}.'
        '</figcaption></figure>'
    )


def _alt_of_frame(run, step):
    kind = 'Generated and real points' if run.has_points else (
        'Samples of fixed latents'
    )
    return f'{kind} at step {step}'


def _grids(run):
    """Show the last samples beside real images; points in one scatter."""
    last = pictures.read(run.frames[-1].path) if run.frames else None
    reals = pictures.read(run.reals)
    if run.has_points:
        reals = None  # they are in the same scatter
    shown = []
    if last is not None:
        step = run.frames[-1].step
        words = f'Samples of seeds 0 to 63 at step {step:,}, never chosen'
        if run.has_points:
            words = f'Samples over real points at step {step:,}'
        shown.append((words, pictures.first(last, run.image_shape)))
    if reals is not None:
        shown.append((
            'Real images, evenly spaced in the data',
            pictures.spread(reals, run.image_shape),
        ))
    if not shown:
        return _words('No picture of samples lies in this folder.')
    return '<div class="grids">{}</div>'.format(''.join(
        f'<figure><figcaption>{words}</figcaption>'
        f'{_image(picture, words, whole=True)}</figure>'
        for words, picture in shown
    ))


def _samples(run, looked):
    found = _grids(run)
    if run.reconstructed is not None:
        picture = pictures.read(run.reconstructed.path)
        if picture is not None:
            words = (
                'Images (odd rows) and what is made of their codes (even rows) '
                f'at step {run.reconstructed.step:,}'
            )
            found += (
                f'<figure><figcaption>{words}</figcaption>'
                f'{_image(picture, words, whole=True)}</figure>'
            )
    return f'{found}<h3>By score</h3>{_scored(looked)}'


def _scored(looked):
    if not looked.scored:
        return _words(looked.why.get('scored', 'No sample was scored.'))
    rows = []
    for name, scored in looked.scored.items():
        numbers = ', '.join(f'{score:.2f}' for score in scored.scores)
        seeds = ', '.join(map(str, scored.seeds))
        words = f'{name.capitalize()}: the {EACH[name]} of D'
        rows.append(
            f'<figure><figcaption><b>{words}</b> · seeds {seeds} · scores '
            f'{numbers}</figcaption>'
            f'{_image(scored.picture, f"{words}; seeds {seeds}")}</figure>'
        )
    return _words(
        f'Seeds 0 to {inspect_model.JUDGED - 1} of step {looked.step:,}, '
        "judged one by one by the run's own discriminator; high means real to "
        'it. It judges by what it has learned to tell apart, which need not be '
        'what a person sees.'
    ) + ''.join(rows)


def _metrics(page, run):
    found = figures_lib.metrics(run)
    rows = [
        (name, figures_lib.final(value), figures_lib.final(floor),
         figures_lib.BETTER.get(name, ''), 'unknown' if step is None else step,
         seen)
        for name, (value, floor, step, seen)
        in sorted(load_run.measured(run).items())
    ]
    table = _words('gan_jax.evaluate was not run on this folder.')
    if rows:
        table = _words(
            'Newest of each number of gan_jax.evaluate. The floor is the same '
            'number of two halves of the real images, or of these themselves.'
        ) + _table(
            ('metric', 'samples', 'floor', 'better', 'step', 'seen by'), rows,
            'numbers',
        )
    during = _charts(page, found) if found else _words(
        'Nothing was measured at several steps: eval_every is 0, or there were '
        'too few.'
    )
    return during + table + _folded(
        'Last numbers of training', _table(
            ('number', 'last', 'step'), _last_numbers(run), 'numbers'
        )
    )


def _last_numbers(run):
    for name in load_run.names([run]):
        steps, values = load_run.series(run, name)
        if steps:
            yield name, figures_lib.final(values[-1]), f'{steps[-1]:,}'


def _diagnosed(run):
    """Tell in a few words what the diagnosis found."""
    if run.findings is None:
        return 'not diagnosed'
    counts = [
        (level, sum(f['level'] == level for f in run.findings))
        for level in load_run.LEVELS
    ]
    return ', '.join(
        f'{count} {level}{"s" if count > 1 else ""}'
        for level, count in counts if count
    ) or 'nothing was found'


def _diagnosis(run):
    if run.findings is None:
        return _words('This run was not diagnosed.')
    if not run.findings:
        return _words('Nothing was found.')
    order = sorted(
        run.findings, key=lambda f: load_run.LEVELS.index(f['level'])
    )
    return '<ul class="findings">{}</ul>'.format(''.join(map(_finding, order)))


def _finding(finding):
    evidence = ', '.join(
        f'{name} {_evidence(value)}'
        for name, value in finding['evidence'].items()
    )
    step = '' if finding['step'] is None else f'step {finding["step"]:,}'
    level = finding['level']
    parts = [
        f'<b class="{level}">{LEVELS[level]}</b> '
        f'<span class="aside">{escape(finding["rule"])} · {step}</span>',
        f'<p>{escape(finding["text"])}</p>',
    ]
    if evidence:
        parts.append(f'<p class="aside">Evidence: {escape(evidence)}</p>')
    if finding['advice']:
        parts.append(f'<p>Advice: {escape(finding["advice"])}</p>')
    return f'<li>{"".join(parts)}</li>'


def _evidence(value):
    number = files.number(value)
    return str(value) if number is None else figures_lib.final(number)


def _neighbours(run, looked):
    found = ''.join(
        _words(
            f'Measured by {key}: {verdict.get("verdict", "no verdict")}; '
            + _share(verdict)
        ) for key, verdict in load_run.verdicts(run).items()
    )
    kept = pictures.read(run.neighbours)
    if kept is not None:
        words = (
            'Left by gan_jax.evaluate: in each row the sample that lies '
            'nearest to the training images, and these, nearest first'
        )
        return found + (
            f'<figure><figcaption>{words}.</figcaption>'
            f'{_image(kept, words, whole=True)}</figure>'
        )
    if looked.pairs is None:
        return found + _words(
            looked.why.get('pairs', 'No neighbours were looked for.')
        )
    far = ', '.join(f'{row[0]:,.0f}' for row in looked.distances)
    among = f'all {looked.of:,}' if looked.among == looked.of else (
        f'{looked.among:,} of {looked.of:,}, evenly spaced'
    )
    words = (
        f'Of seeds 0 to {inspect_model.MATCHED - 1} of step {looked.step:,}, '
        'those nearest to training images: in each row the sample, then its '
        f'nearest training images by pixels, among {among}'
    )
    return found + (
        f'<figure><figcaption>{words}. Distances to the nearest, in grey '
        f'levels of 0 to 255: {far}.</figcaption>'
        f'{_image(looked.pairs, words, whole=True)}</figure>'
    )


def _share(verdict):
    nearer = files.number(verdict.get('nearer'))
    expected = files.number(verdict.get('nearer_expected'))
    if nearer is None or expected is None:
        return ''
    return (
        f'{100 * nearer:.1f} % of samples lie nearer to training images than '
        f'{100 * expected:.1f} % of held-out images do.'
    )


def _config(run):
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    changed = sorted(set(load_run.changed(run)) - set(run.overrides))

    def rows(keys):
        return [
            (key, repr(run.config[key]), repr(defaults[key])
             if key in defaults else 'no such key') for key in keys
        ]

    head = ('key', 'value', "library's default")
    parts = []
    for words, keys in (
        ('Set on the command line, so that it differs from the recipe',
         run.overrides),
        ("What differs from the library's defaults besides", changed),
    ):
        parts.append(f'<h3>{escape(words)}</h3>')
        parts.append(
            _table(head, rows(keys), 'keys') if keys else _words('Nothing.')
        )
    rest = sorted(set(run.config) - set(changed) - set(run.overrides))
    parts.append('<h3>All other keys</h3>' + _table(
        ('key', 'value'), [(key, repr(run.config[key])) for key in rest], 'keys'
    ))
    return _folded(
        f'{len(run.overrides)} set on the command line, {len(changed)} others '
        f'not as by default, {len(run.config)} in all', ''.join(parts)
    )


def _environment(run):
    if not run.starts:
        return _words('environment.json is not there or cannot be read.')
    return ''.join(
        _folded(
            f'Start {place} of {len(run.starts)}: {start.get("started")}',
            _table((), [
                (key, value if isinstance(value, str) else json.dumps(value))
                for key, value in start.items()
            ], 'keys'),
        ) for place, start in enumerate(run.starts, 1)
    )


def _labels(runs):
    """Name runs by the last part of their paths, by all where that is one."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [run.workdir for run in runs]


def _mark(place):
    series = place % figures_lib.NUM_SERIES
    return f'<span class="mark series-{series}" aria-hidden="true"></span>'


def _facts_of_all(runs):
    facts = [dict(_facts(run)) for run in runs]
    rows = [
        (name, *(fact[name] for fact in facts)) for name in facts[0]
        if name != 'Command'
    ]
    rows.append(('Diagnosis', *map(_diagnosed, runs)))
    rows.append(('Command', *(fact['Command'] for fact in facts)))
    return _table(('', *(run.name for run in runs)), rows, 'keys')


def _final_numbers(runs):
    measured = [load_run.measured(run) for run in runs]
    rows = [
        (name, *(
            figures_lib.final((load_run.series(run, name)[1] or [None])[-1])
            for run in runs
        )) for name in load_run.names(runs)
    ]
    for name in sorted(set().union(*measured)):
        rows.append((f'{name} (evaluate)', *(
            figures_lib.final(found[name][0]) if name in found else '–'
            for found in measured
        )))
    return _table(('', *(run.name for run in runs)), rows, 'numbers')


def _differences(runs):
    keys = load_run.differing(runs)
    if not keys:
        return _words('None: the configs are the same.')
    return _table(('key', *(run.name for run in runs)), [
        (key, *(repr(run.config.get(key)) for run in runs)) for key in keys
    ], 'keys')
