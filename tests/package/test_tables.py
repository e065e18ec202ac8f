"""Tables of the documents: they list all entries of the registries."""

import re

import pytest

from conftest import ROOT
import keys_page
from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import update_order
from gan_jax.algorithms import latents
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.config import key_table
from gan_jax.data import packs
from gan_jax.data import pair_folders
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.data import tasks
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax import networks
from gan_jax.networks import activations
from gan_jax.networks import autoencoder
from gan_jax.networks import conditioning
from gan_jax.networks import layers
from gan_jax.networks import resampling
from gan_jax.objectives import losses
from gan_jax.objectives import reconstructions
from gan_jax.objectives import penalties
from gan_jax.ops import augment
from gan_jax.ops import mixtures
from gan_jax.ops import optimizers
from gan_jax.ops import schedules

DATA = (ROOT / 'gan_jax' / 'data' / 'README.md').read_text()
DATA_NAMES = [
    *sources.DATASETS, *pictures.CROPS, *packs.FORMS, *key_table.FEEDS,
    *tasks.TASKS, *pair_folders.LAYOUTS, *defaults.default_config().data,
]
FEATURES = (ROOT / 'gan_jax' / 'features' / 'README.md').read_text()
MEASURING = (ROOT / 'gan_jax' / 'metrics' / 'README.md').read_text()
NUMBERS = [
    *(name for kind in catalog.METRICS.values() for name in kind.better),
    *(name.removeprefix('eval/') for name in catalog.RANKED),
    *catalog.OF_RUNS,
    *(n for kind in catalog.OF_TRANSLATIONS.values() for n in kind.better),
]
OBJECTIVES = (ROOT / 'configs' / 'OBJECTIVES.md').read_text()
NAMES = [
    *losses.LOSSES, *penalties.PENALTIES, *schedules.SCHEDULES,
    *networks.FAMILIES, *translation.KINDS, *autoencoder.ENERGIES,
    *layers.NORMS,
    *resampling.UPSAMPLINGS, *resampling.DOWNSAMPLINGS,
    *conditioning.GENERATOR_CONDITIONS, *conditioning.DISCRIMINATOR_CONDITIONS,
    *update_order.SCHEDULES, *latents.LATENTS, *latents.PATHS, *latents.WEIGHTS,
    *augment.AUGMENTATIONS, *mixtures.MIXTURES, *optimizers.OPTIMIZERS,
    *activations.OUTPUTS, *reconstruction.KINDS,
    *adversarial_autoencoder.KINDS,
    *reconstructions.RECONSTRUCTIONS,
]


@pytest.mark.parametrize('name', NAMES)
def test_every_name_is_in_the_table(name):
    assert f'`{name}`' in OBJECTIVES


@pytest.mark.parametrize('name', DATA_NAMES)
def test_every_name_of_data_is_on_its_page(name):
    assert f'`{name}`' in DATA or f'={name}`' in DATA


@pytest.mark.parametrize('name', [*extractors.EXTRACTORS, 'discriminator'])
def test_every_extractor_is_on_the_page_of_features(name):
    assert f'| `{name}` | ' in FEATURES


@pytest.mark.parametrize('name', sorted(set(NUMBERS)))
def test_every_metric_has_a_row_on_the_page_of_metrics(name):
    assert f'\n| `{name}` | ' in MEASURING


@pytest.mark.parametrize('name, way', [
    row for kind in catalog.METRICS.values() for row in kind.better.items()
])
def test_page_of_metrics_says_which_direction_is_better(name, way):
    table = MEASURING.partition('## Conventions')[0]
    (row,) = re.findall(rf'\n\| `{name}` \| (.*)', table)
    assert row.split(' | ')[3] == (way or 'near its floor')


@pytest.mark.parametrize('scheme', sources.SCHEMES)
def test_every_scheme_is_on_the_page_of_data(scheme):
    assert re.search(f'`{scheme}:<(path|name)>`', DATA)


def test_page_of_keys_is_up_to_date():
    assert keys_page.PATH.read_text() == keys_page.page()


@pytest.mark.parametrize('name, declared', [
    *((name, [
        *(f'`loss.{option.name}`' for option in loss.options),
        *['`labels.*`'] * loss.takes_targets,
    ]) for name, loss in losses.LOSSES.items()),
    *((name, [
        f'`schedule.{option.name}`'
        for option in update_order.OPTIONS.get(name, ())
    ]) for name in update_order.SCHEDULES),
])
def test_last_cell_of_a_row_lists_the_declared_options(name, declared):
    (row,) = re.findall(rf'\n\| `{name}` \| (.*) \|', OBJECTIVES)
    cell = row.split(' | ')[-1]
    assert re.findall(r'`(?:loss|schedule|labels)\.[a-z_*]+`', cell) == declared


@pytest.mark.parametrize(
    'name',
    [n for n, r in penalties.PENALTIES.items() if r.input_gradient],
)
def test_penalties_that_batchnorm_spoils_are_marked(name):
    assert f'| `{name}` * |' in OBJECTIVES


def test_every_test_file_named_in_tables_exists():
    for page in (OBJECTIVES, (ROOT / 'tests' / 'README.md').read_text()):
        words = page.replace('`', ' ').replace(',', ' ').split()
        for word in words:
            if word.endswith('.py') and 'test_' in word:
                name = word.removeprefix('tests/')
                assert (ROOT / 'tests' / name).is_file(), name


def test_every_test_file_is_described():
    page = (ROOT / 'tests' / 'README.md').read_text()
    for path in (ROOT / 'tests').glob('*/test_*.py'):
        assert f'`{path.parent.name}/{path.name}`' in page, path.name


def test_readme_stays_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 200


PAGES = [
    path for path in sorted(ROOT.rglob('*.md'))
    if not any(part.startswith('.') for part in path.relative_to(ROOT).parts)
]


@pytest.mark.parametrize('path', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_key_in_the_commands_of_a_page_exists(path):
    keys = defaults.flatten(defaults.default_config())
    for key in re.findall(r'--config\.([a-z0-9_.]+)', path.read_text()):
        key = re.sub(r'^data\.[ab]\.', 'data.', key)  # of one of two sources
        assert key in keys or key.endswith('.'), key  # a prefix in a sentence


def test_each_tool_on_a_run_folder_has_its_row():
    page = (ROOT / 'gan_jax' / 'tools' / 'README.md').read_text()
    tools = {
        path.stem for path in (ROOT / 'gan_jax' / 'cli').glob('*.py')
        if 'import run_flags' in path.read_text()
    }
    assert len(tools) >= 7
    assert [t for t in tools if f'| `{t}` |' not in page] == []
    shown = [
        (section, picture) for section in page.split('\n## ')
        for picture in re.findall(r'!\[.*\]\(\.\./\.\./(.+)\)', section)
    ]
    assert shown
    for section, picture in shown:
        assert (ROOT / picture).stat().st_size < 200_000
        above = section.partition('![')[0]  # has the command that made it
        assert f'--out={(ROOT / picture).name}\n' in above
