"""Survival table: kills, interrupts and damages real runs and compares them.

    python -m tests.survival --runs=50 --jobs=2
    python -m tests.survival --only=damage,devices

The exit code is 1 if anything was lost. `training/test_survival_table.py` runs
a short form of each section.
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
    """Run sections; print a line for each case and a table.

    Args:
        sections: {name: function of (options, folder) that yields cases}.
        options: a `survival_tools.Options`.
        folder: an empty folder; each section gets a subfolder.

    Returns:
        bool, whether nothing failed.
    """
    rows = []
    for name, section in sections.items():
        place, began, results = folder / name, time.monotonic(), []
        place.mkdir()
        for case in section(options, place):
            results.append(case)
            print(f'{name:8} {described(case)}', flush=True)
        rows.append((name, results, time.monotonic() - began))
    print(table(rows), flush=True)
    return all(not case.failure for _, results, _ in rows for case in results)


def described(case):
    """Format a case as a line."""
    if case.skipped:
        return f'skipped {case.name}: {case.skipped}'
    note = f' ({case.note})' if case.note else ''
    end = f': {case.failure}' if case.failure else ''
    return f'{"FAILED" if end else "passed"}  {case.name}{note}{end}'


def table(rows):
    """Format the table of sections, and below it the counts of their marks.

    Args:
        rows: [(name of a section, its cases, seconds)].
    """
    lines = [
        '', '| section | cases | passed | failed | skipped | minutes |',
        '|---|---|---|---|---|---|',
    ]
    marks = []
    for name, results, seconds in rows:
        skipped = sum(bool(case.skipped) for case in results)
        failed = sum(bool(case.failure) for case in results)
        lines.append(
            f'| {name} | {len(results)} | {len(results) - failed - skipped} | '
            f'{failed} | {skipped} | {seconds / 60:.1f} |'
        )
        counts = collections.Counter(m for case in results for m in case.marks)
        if counts:
            text = ', '.join(f'{n} {mark}' for mark, n in counts.most_common())
            marks += ['', f'{name}: {text}']
    return '\n'.join(lines + marks)


def parse(arguments):
    """Parse the command line; returns (names of sections, arguments)."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.survival', description=__doc__.splitlines()[0]
    )
    parser.add_argument('--runs', type=int, default=50, help='killed runs')
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument(
        '--jobs', type=int, default=1, help='processes that train at once'
    )
    parser.add_argument(
        '--only', default=','.join(SECTIONS), help='sections, by commas'
    )
    parsed = parser.parse_args(arguments)
    names = parsed.only.split(',')
    for name in names:
        if name not in SECTIONS:
            parser.error(f'--only={name} is not one of {list(SECTIONS)}')
    return names, parsed


def main(arguments):
    """Run the sections of the command line; returns the exit code."""
    names, parsed = parse(arguments)
    with tempfile.TemporaryDirectory(prefix='survival-') as folder:
        # A separate cache, because a kill may leave a truncated entry.
        os.environ['JAX_COMPILATION_CACHE_DIR'] = f'{folder}/xla'
        # The tests import each other by module name.
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
            survival_tools.Options(parsed.runs, parsed.seed, parsed.jobs),
            pathlib.Path(folder),
        )
    return 0 if passed else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
