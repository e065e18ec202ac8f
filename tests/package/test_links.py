"""Every link between the pages leads to a file, and to a heading of it."""

import pathlib
import re

import pytest

from conftest import ROOT

LINK = re.compile(r'\]\((?!https?:|mailto:)([^)\s]*)\)')
FENCE = re.compile(r'^```.*?^```', re.M | re.S)


def pages():
    """Return the paths of all pages, from the root."""
    paths = [*ROOT.glob('*.md'), *(
        path for folder in ('benchmarks', 'configs', 'gan_jax', 'tests')
        for path in (ROOT / folder).rglob('*.md')
    )]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def anchors(path):
    """Return the anchors that GitHub gives to the headings of a page."""
    found = {}
    for heading in re.findall(
        r'^#+ (.*)$', FENCE.sub('', path.read_text()), re.M
    ):
        words = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading).lower()
        name = re.sub(r'[^\w\- ]', '', words).replace(' ', '-')
        count = found.get(name, 0)
        found[name] = count + 1
        if count:
            found[f'{name}-{count}'] = 1
    return set(found)


@pytest.mark.parametrize('page', pages())
def test_links_lead_to_files_and_headings(page):
    folder, dead = (ROOT / page).parent, []
    for target in LINK.findall(FENCE.sub('', (ROOT / page).read_text())):
        name, _, anchor = target.partition('#')
        path = pathlib.Path(folder / name) if name else ROOT / page
        if not path.exists() or (
                anchor and path.suffix == '.md' and (
                    anchor not in anchors(path))):
            dead.append(target)
    assert dead == []
