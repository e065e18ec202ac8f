"""Kill, interrupt and damage real runs; print what they survived as a table.

    python -m tests.survival --runs=50 --jobs=2
    python -m tests.survival --only=damage,devices

Exit code 1 where anything was lost. `training/test_survival_table.py` runs a
short form of each section.
"""

import argparse
import collections
import os
import pathlib
import sys
import tempfile
import time

SECTIONS = ('kills', 'recipes', 'damage', 'devices')


def run(sections, options, folder):
    """Run sections, print a line a case and a table.

    Args:
        sections: {name: function of (options, folder) that yields cases}.
        options: a `survival_tools.Options`.
        folder: an empty one; each section gets a part of it.

    Returns:
        Whether nothing failed.
    """
    rows = []
    for name, section in sections.items():
        place, began, found = folder / name, time.monotonic(), []
        place.mkdir()
        for case in section(options, place):
            found.append(case)
            print(f'{name:8} {described(case)}', flush=True)
        rows.append((name, found, time.monotonic() - began))
    print(table(rows), flush=True)
    return all(not c.failure for _, found, _ in rows for c in found)


def described(case):
    """Return the line of a case."""
    if case.skipped:
        return f'skipped {case.name}: {case.skipped}'
    note = f' ({case.note})' if case.note else ''
    end = f': {case.failure}' if case.failure else ''
    return f'{"FAILED" if end else "passed"}  {case.name}{note}{end}'


def table(rows):
    """Return the table of sections, and below it what befell their runs.

    Args:
        rows: [(name of a section, its cases, seconds)].
    """
    lines = [
        '', '| section | cases | passed | failed | skipped | minutes |',
        '|---|---|---|---|---|---|',
    ]
    marks = []
    for name, found, seconds in rows:
        skipped = sum(bool(case.skipped) for case in found)
        failed = sum(bool(case.failure) for case in found)
        lines.append(
            f'| {name} | {len(found)} | {len(found) - failed - skipped} | '
            f'{failed} | {skipped} | {seconds / 60:.1f} |'
        )
        counted = collections.Counter(m for case in found for m in case.marks)
        if counted:
            told = ', '.join(f'{n} {mark}' for mark, n in counted.most_common())
            marks += ['', f'{name}: {told}']
    return '\n'.join(lines + marks)


def parse(arguments):
    """Read the command line; returns (names of sections, arguments)."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.survival', description=__doc__.splitlines()[0]
    )
    parser.add_argument('--runs', type=int, default=50, help='killed runs')
    parser.add_argument('--seed', type=int, default=0, help='of all draws')
    parser.add_argument(
        '--jobs', type=int, default=1, help='processes that train at once'
    )
    parser.add_argument(
        '--only', default=','.join(SECTIONS), help='sections, by commas'
    )
    given = parser.parse_args(arguments)
    names = given.only.split(',')
    for name in names:
        if name not in SECTIONS:
            parser.error(f'--only={name} is not one of {list(SECTIONS)}')
    return names, given


def main(arguments):
    """Run what the command line asks for; returns the exit code."""
    names, given = parse(arguments)
    with tempfile.TemporaryDirectory(prefix='survival-') as folder:
        # A cache of its own: a kill may leave an entry cut short.
        os.environ['JAX_COMPILATION_CACHE_DIR'] = f'{folder}/xla'
        # The tests import each other by their bare names.
        sys.path.insert(0, str(pathlib.Path(__file__).parent))
        import survival_damage
        import survival_devices
        import survival_kills
        import survival_recipes
        import survival_tools

        modules = dict(zip(SECTIONS, (
            survival_kills, survival_recipes, survival_damage, survival_devices
        )))
        survival_tools.hush()
        passed = run(
            {name: modules[name].cases for name in names},
            survival_tools.Options(given.runs, given.seed, given.jobs),
            pathlib.Path(folder),
        )
    return 0 if passed else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
