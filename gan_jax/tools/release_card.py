"""Model cards of releases: README.md with the YAML header of model hubs.

All facts are read from the run folder: config, data, metrics, evaluations. A
number stands beside its protocol: how many samples, of which weights, against
which images, by which features.
"""

import json
from typing import NamedTuple

import gan_jax
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.runs import release_files
from gan_jax.runs import run_files
from gan_jax.runtime import environment
from gan_jax.tools import export
from gan_jax.tools import model_card

TASKS = {False: 'unconditional-image-generation', True: 'image-to-image'}
CONTENTS = {
    release_files.CONFIG: 'all settings of the run',
    release_files.DATA: 'form, classes and number of the training data',
    release_files.MODEL:
        'parameters and statistics of all networks, and averages',
    release_files.TRAINING: 'optimizers and memory, to go on with the training',
    release_files.SAMPLES: 'the picture above',
}
CARD_TEXT = '''\
---
{header}
---

# {name}

{picture}| | |
|---|---|
{what}

## Use

With gan_jax installed, and `{name}` the path of this folder:

```python
import gan_jax

run = gan_jax.load('{name}')  # or 'hf://OWNER/NAME'
{python}
```

```bash
{commands}
```

## Metrics

{metrics}

These values were measured on this run only.

## Files

| file | bytes | content |
|---|---|---|
{files}

`sha256sum -c SHA256SUMS` checks them. None of them is a program or a pickle.

## Licence

{licence}
'''
NO_LICENCE = (
    'None is set. Whoever publishes these files must choose one, considering '
    'the\nlicence of the data.'
)


class Licence(NamedTuple):
    """Licence of a release, in the fields of model hubs.

    Attributes:
        identifier: such as 'apache-2.0', or 'other'; '' for none.
        name, link: of a licence that the hub has no identifier for.
        data: licence or terms of the training data, as text.
    """

    identifier: str = ''
    name: str = ''
    link: str = ''
    data: str = ''


def build(workdir, algorithm, state, weights, *, name, licence, files):
    """Build the card of a release.

    Args:
        workdir: folder of the run.
        algorithm, state: of the run.
        weights: of the samples in the picture.
        name: of the release.
        licence: `Licence`.
        files: {name: size in bytes} of the other files.

    Returns:
        str, Markdown.
    """
    config = run_files.load_config(workdir)
    translates = algorithm.name in translation.KINDS
    evaluations = model_card.evaluations(workdir, int(state.step))
    lines = list(model_card.logged(workdir, int(state.step)))
    for evaluation in evaluations:
        lines += model_card.evaluated(evaluation)
    if not lines:
        lines = ['The run folder holds no metrics of this step.']
    picture = ''
    if release_files.SAMPLES in files:
        what = 'Images and their translations' if translates else (
            f'Samples of the seeds from 0 on, {weights} weights'
        )
        picture = f'![{what}]({release_files.SAMPLES})\n\n{what}.\n\n'
    rows = [
        *_facts(workdir, config, algorithm, state),
        ('made by', f'gan_jax {gan_jax.__version__}, jax '
         f'{environment.versions()["jax"]}'),
    ]
    return redact.mask(CARD_TEXT.format(
        header='\n'.join(_header(
            algorithm, translates, name, licence, evaluations
        )),
        name=name, picture=picture,
        what='\n'.join(f'| {key} | {value} |' for key, value in rows),
        python=_python(algorithm, translates),
        commands='\n'.join(_commands(
            name, translates, release_files.TRAINING in files,
            2 * int(state.step),
        )),
        metrics='\n'.join(lines),
        files='\n'.join(
            f'| `{file}` | {files[file]:,} | {what} |'
            for file, what in CONTENTS.items() if file in files
        ),
        licence='\n\n'.join(_licence_text(licence)),
    ))


def _header(algorithm, translates, name, licence, evaluations):
    """Yield the lines of the YAML header; a JSON value is YAML too."""
    yield 'library_name: gan_jax'
    yield f'pipeline_tag: {TASKS[translates]}'
    tags = sorted({'gan', 'jax', 'flax', algorithm.name, *(
        network for _, _, network in algorithm.summary
    )})
    yield f'tags: {json.dumps(tags)}'
    if licence.identifier or licence.name:
        yield f'license: {json.dumps(licence.identifier or "other")}'
        for key in ('name', 'link'):
            if getattr(licence, key):
                yield f'license_{key}: {json.dumps(getattr(licence, key))}'
    else:
        yield '# license: set one; it may depend on the data of the training.'
    results = [
        result for evaluation in evaluations
        if (result := _result(evaluation, translates))['metrics']
    ]
    if results:
        index = [{'name': name, 'results': results}]
        yield f'model-index: {json.dumps(index)}'


def _result(evaluation, translates):
    """Return an evaluation as an entry of the hub's `model-index`."""
    data = str(evaluation.get('data'))
    return {
        'task': {'type': TASKS[translates]},
        'dataset': {
            'name': data, 'type': data, 'split': str(evaluation.get('split')),
        },
        'metrics': [
            {'type': metric, 'value': value, 'name':
             f'{metric}, {model_card.protocol(evaluation)}'}
            for metric, value, _ in model_card.values(evaluation)
        ],
    }


def _facts(workdir, config, algorithm, state):
    """Yield (name, value) of the rows of the first table."""
    for source, data in run_files.load_sources(workdir).items():
        own = defaults.of_source(config, source)
        yield f'data {source}', export.describe(own, data)
    yield 'trained as', (
        f'`{algorithm.name}`' if algorithm.monitors is None
        else f'GAN, loss `{config.loss.name}`'
    )
    for label, player, network in algorithm.summary:
        count = algorithm_lib.count_params(state.players[player])
        yield label, f'`{network}`, {count:,} parameters (`{player}`)'
    if algorithm.latent_size:
        yield 'latent', f'{algorithm.latent_size} values, {algorithm.latent}'
    yield 'steps', (
        f'{int(state.step):,}, batches of {config.batch_size}'
    )
    yield 'weights', ', '.join(f'`{name}`' for name in algorithm.weight_names)
    for start in run_files.load_dicts(workdir, 'environment.json')[-1:]:
        yield 'command', f'`{start.get("command", "unknown")}`'


def _python(algorithm, translates):
    """Return the lines of Python that use a release."""
    if translates:
        return 'image = run.translate(image)  # uint8 [H, W, C]'
    labels = ', labels=range(16)' if algorithm.num_classes >= 16 else (
        ', labels=16 * [0]' if algorithm.num_classes else ''
    )
    return (
        f'samples = run.sample(seeds=range(16){labels})  # float32, '
        f'[-1, 1]\nlatents = run.project(images).codes  # of images, '
        'uint8 [N, H, W, C]'
    )


def _commands(name, translates, training, num_steps):
    """Yield the command lines that use a release."""
    if translates:
        yield (
            f'python -m gan_jax translate --workdir={name} '
            '--input=image.png --out=out.png'
        )
    else:
        yield (
            f'python -m gan_jax sample --workdir={name} --seeds=0-63 '
            '--out=grid.png'
        )
    train = f'python -m gan_jax train --config=./{name} --workdir=runs/tuned'
    yield f'{train} \\\n  --config.init_from={name}'
    if training:
        yield (
            f'{train} \\\n  --config.init_from={name} '
            f'--config.init_resume=True --config.num_steps={num_steps}'
        )


def _licence_text(licence):
    """Yield the paragraphs on the licence."""
    title = licence.name or licence.identifier
    if title:
        yield f'[{title}]({licence.link})' if licence.link else title
    else:
        yield NO_LICENCE
    if licence.data:
        yield f'Training data: {licence.data}'


def check_licence(licence):
    """Check the fields of a licence as a hub does.

    Raises:
        errors.ConfigError: where a field contradicts another.
    """
    if (licence.name or licence.link) and licence.identifier not in (
            '', 'other'):
        raise errors.ConfigError(
            f'--license={licence.identifier} needs no name or link, which are '
            'for --license=other'
        )
    if licence.identifier == 'other' and not licence.name:
        raise errors.ConfigError('--license=other needs --license_name')
    if licence.link and not licence.name:
        raise errors.ConfigError('--license_link needs --license_name')
