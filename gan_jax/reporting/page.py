"""Reports as HTML documents: values of a run in, text out.

The values come from untrusted folders. The templates (*.html) escape all of
them, and none may be marked as safe there; scripts and style are the package's
own. The Content-Security-Policy of a page allows these by their hashes and
pictures inside the page, and no request to any host.
"""

import base64
import functools
import hashlib
from importlib import resources
import itertools
import time

import gan_jax
from gan_jax.reporting import facts
from gan_jax.reporting import figures
from gan_jax.reporting import galleries
from gan_jax.reporting import inspect_model


def of_run(run, inspection):
    """Render the page of one run.

    Args:
        run: `load_run.Run`.
        inspection: `inspect_model.Inspection`.

    Returns:
        str, a whole HTML document.
    """
    charts = {
        'curves': figures.curves(run), 'others': figures.others(run),
        'metrics': figures.metrics(run),
    }
    return _render(
        'run.html', charts, galleries.film(run), title=run.name, run=run,
        summary=facts.summary(run), diagnosed=facts.diagnosed(run),
        grids=galleries.grids(run),
        reconstructions=galleries.reconstructions(run),
        translations=galleries.translations(inspection),
        styles=galleries.styles(inspection),
        fixed_inputs=galleries.fixed_inputs(run),
        by_score=galleries.by_score(inspection),
        num_scored=inspect_model.NUM_SCORED, inspection=inspection,
        metrics=facts.metrics(run), last_metrics=facts.last_metrics(run),
        findings=facts.findings(run), copying=facts.copying(run),
        neighbours=galleries.neighbours(run, inspection),
        config=facts.config(run), environment=facts.environment(run),
    )


def of_runs(runs):
    """Render the page that compares several runs.

    Args:
        runs: list of `load_run.Run`.

    Returns:
        str, a whole HTML document.
    """
    runs = [
        run._replace(name=label)
        for run, label in zip(runs, facts.labels(runs))
    ]
    curves, others = figures.compared(runs)
    return _render(
        'comparison.html', {'curves': curves, 'others': others},
        title=f'{len(runs)} runs side by side', runs=runs,
        summaries=facts.summaries(runs),
        final_metrics=facts.final_metrics(runs),
        differences=facts.differences(runs),
        grids=[galleries.grids(run) for run in runs],
        num_series=figures.NUM_SERIES,
    )


def _render(template, charts, film=(), **values):
    """Render a template.

    Args:
        template: name of its file.
        charts: {name: list of figures}.
        film: [(step, `galleries.Shown`)].
        **values: of the template, all escaped.
    """
    figures_in_order = list(itertools.chain(*charts.values()))
    for number, figure in enumerate(figures_in_order):
        figure['number'] = number
    data = {
        'charts': [
            {key: figure[key] for key in ('axis', 'log', 'curves')}
            for figure in figures_in_order
        ],
        'film': [
            {'step': step, 'alt': shown.alt, 'uri': shown.picture.uri,
             'pixelated': shown.picture.pixelated} for step, shown in film
        ],
    }
    if film:
        data['film'][-1]['uri'] = ''  # the page has it as the first shown
    return _templates().get_template(template).render(
        charts=charts, film=film, data=data, version=gan_jax.__version__,
        now=time.strftime('%Y-%m-%d %H:%M %z'), **values,
    )


@functools.cache
def _templates():
    """Return the jinja2 environment of this package's templates."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.policies['json.dumps_kwargs'] = {
        'separators': (',', ':'), 'allow_nan': False,
    }
    environment.filters['thousands'] = '{:,}'.format
    scripts = [_read('chart.js'), _read('page.js')]
    style = _read('page.css')
    environment.globals.update(
        scripts=list(map(markupsafe.Markup, scripts)),
        style=markupsafe.Markup(style), style_hash=_hash(style),
        script_hashes=list(map(_hash, scripts)),
    )
    return environment


def _read(name):
    path = resources.files('gan_jax.reporting').joinpath(name)
    return path.read_text('utf-8')


def _hash(text):
    """Return the digest by which a Content-Security-Policy knows a text."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
