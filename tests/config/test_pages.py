"""Commands of all pages: each training command has a valid config."""

import re

import pytest

from conftest import ROOT
import helpers
from gan_jax.config import validation

PAGES = sorted(
    path.relative_to(ROOT) for folder in (
        '*.md', 'configs/*.md', 'benchmarks/*.md', 'gan_jax/**/*.md',
        'tests/*.md',
    ) for path in ROOT.glob(folder)
)
TRAINS = re.compile(r'(?:python -m )?gan_jax(?:\.main| train) (.*)')
BLOCK = re.compile(r'```bash\n(.*?)```', re.DOTALL)
CODE = re.compile(r'`([^`\n]+)`')


def commands(page):
    """Yield the arguments of each training command that a page shows."""
    text = (ROOT / page).read_text()
    lines = [
        line for block in BLOCK.findall(text)
        for line in block.replace('\\\n', ' ').splitlines()
    ]
    lines += CODE.findall(BLOCK.sub('', text))
    for line in lines:
        found = TRAINS.match(line.strip())
        if found and '…' not in line and '=$' not in line:
            yield [word.strip('"\'') for word in found[1].split()]


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_training_commands_of_a_page_have_valid_configs(page):
    for words in commands(page):
        recipe = next(
            (w.partition('=')[2] for w in words if w.startswith('--config=')),
            '',
        )
        recipe = recipe.removeprefix('configs/').replace('.py', '')
        if not recipe or '/' in recipe:  # a run goes on; a file of one's own
            continue
        config = helpers.typed(recipe, *(
            word.removeprefix('--config.') for word in words
            if word.startswith('--config.')
        ))
        validation.validate(config)


def test_commands_are_found():
    found = [words for page in PAGES for words in commands(page)]
    assert len(found) > 60
    assert ['--config=dcgan:images', '--config.data.path=my/images'] in [
        words[:2] for words in found
    ]
