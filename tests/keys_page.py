"""The page of all config keys, made from their declarations.

    python tests/keys_page.py    # writes configs/KEYS.md anew
"""

import pathlib

from gan_jax.config import key_table
from gan_jax.config import validation
from gan_jax.core import options
from gan_jax import networks
from gan_jax.objectives import penalties

PATH = pathlib.Path(__file__).parent.parent / 'configs' / 'KEYS.md'
HEAD = '''# Every config key

Each can follow `--config.` on the command line. A key that differs from its
default where it has no use is refused; what a recipe set for another choice
than that on the command line is left out, with a line that says so. Floats are
float32, whose sizes are 1.2e-38 to 3.4e38. Made by `python tests/keys_page.py`.

| key | default | meaning | allowed | has a use with |
|---|---|---|---|---|
'''


def allowed(option):
    """Return the bounds of an option in words."""
    if option.bounds is options.ANY:
        return {bool: '`True`, `False`', str: 'text'}[type(option.default)]
    if isinstance(option.bounds, options.Bounds):
        return option.bounds.words
    return ', '.join(f'`{name}`' if name else "`''`" for name in (
        sorted(option.bounds)
    ))


def use(key, option):
    """Return what a key needs so that it has a use."""
    group, _, name = key.rpartition('.')
    found = [
        f'{" or ".join(map(_code, need.keys))} {need.bounds.words}'
        for need in option.needs
    ]
    for chooser, (above, owners) in key_table.choices().items():
        has = sorted(
            owner for owner, own in owners.items()
            if name in [o.name for o in own]
        )
        if above == group and has:
            found.append(f'{_code(chooser)} {_codes(has)}')
    if group in ('generator', 'discriminator'):
        pairs = {
            n: getattr(pair, group) for n, pair in networks.NETWORKS.items()
            if getattr(pair, group)
        }
        has = sorted(
            n for n, module in pairs.items()
            if name in module.__dataclass_fields__
        )
        if name != 'name' and len(has) < len(pairs):
            found.append(f'{_code(group + ".name")} {_codes(has)}')
    if group == 'labels':
        found.append('a loss that has targets')
    if group == 'data' and name in validation.OF_IMAGES:
        found.append('images')
    if group == 'data' and name in validation.OF_FILES:
        found.append('data that are read')
    return '; '.join(found)


def _code(text):
    return f'`{text}`'


def _codes(texts):
    return ', '.join(map(_code, texts))


def page():
    """Return the text of the page."""
    first, *others = sorted(penalties.PENALTIES)
    rows = []
    for key, option in key_table.keys().items():
        if key.startswith(tuple(f'penalties.{name}.' for name in others)):
            continue
        cells = [
            _code(key), _code(repr(option.default)), option.meaning,
            allowed(option), use(key, option),
        ]
        row = f'| {" | ".join(cells)} |'
        rows.append(row.replace(f'penalties.{first}.', (
            'penalties.<name>.'
        )))
    return HEAD + '\n'.join(rows) + '\n'


if __name__ == '__main__':
    PATH.write_text(page())
