"""Check a new machine: its health, its speed, and that runs resume.

    python benchmarks/new_machine.py --out=runs/new_machine
    python benchmarks/new_machine.py --out=runs/tiny --steps=200 \
        --table_flags="--only='mlp 64' --rounds=2 --product=256"

It runs `doctor`, a short training that is killed and resumed, `sample`,
`evaluate` and, in the remaining time, the table of step_throughput.py. It needs
this checkout and the packages of gan_jax. Without PyTorch the rows of PyTorch
are missing, with the reason.

Each part is a process with its own time limit. If a part fails, the others run
all the same, and the exit code is 1. The folder then has `summary.md` and
`summary.json`, written after each part, the output of each part as
`<part>.txt`, `table.md`, `table.json`, and the run with its samples and
metrics. `--parts=tests` runs the tests of pure functions on the device, which
need the `test` extra.
"""

import argparse
import json
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).absolute().parent.parent
# {part: largest share of the total time}, in order; the last part takes what
# the others leave.
SHARES = {
    'doctor': 0.1, 'train': 0.13, 'resume': 0.13, 'sample': 0.07,
    'evaluate': 0.13, 'tests': 0.8, 'table': 1.0,
}
DEFAULT = [part for part in SHARES if part != 'tests']
TABLE = (
    '--dtype=bfloat16', '--rounds=5', '--seconds=0.3', '--kernels=12',
    '--patience=120', '--torch=channels_last,channels_last+compile,'
    'channels_last+graph,channels_last+compile+graph,'
    'channels_last+joined+graph',
)
TESTS = (  # of pure functions
    'algorithms/test_updates.py', 'metrics', 'networks', 'objectives', 'ops',
)
ENDING = 10  # seconds that the table has to write its rows and end


def commands(options, left):
    """Return {part: arguments of Python}.

    Args:
        options: options of the command line.
        left: seconds that the table may take.
    """
    out, run = options.out, f'--workdir={options.out / "run"}'
    train = [
        '-m', 'gan_jax.main', '--config=configs/dcgan.py', run,
        f'--config.num_steps={options.steps}',
        f'--config.checkpoint_every={max(1, options.steps // 4)}',
    ]
    return {
        'doctor': ['-m', 'gan_jax', 'doctor', f'--workdir={out}'],
        'train': train, 'resume': train,
        'sample': [
            '-m', 'gan_jax', 'sample', run, '--seeds=0-63',
            f'--out={out / "samples.png"}',
        ],
        'evaluate': [
            '-m', 'gan_jax', 'evaluate', run, '--metrics=fid,kid,is,prdc',
            f'--out={out / "evaluation.json"}',
        ],
        'tests': [
            '-m', 'pytest', '-n', '4',
            *(f'tests/{name}' for name in TESTS),
        ],
        'table': [
            'benchmarks/step_throughput.py', '--table', *TABLE,
            f'--limit={max(1, left - ENDING):.0f}',
            f'--json={out / "table.json"}', *shlex.split(options.table_flags),
        ],
    }


class Part:
    """Process of a part, whose output goes to a file of the folder."""

    def __init__(self, name, arguments, out, seconds):
        self._end = time.monotonic() + seconds
        path = os.pathsep.join(filter(None, [
            str(ROOT), os.environ.get('PYTHONPATH')
        ]))
        self.printed = out / f'{name}.txt'
        shown = out / 'table.md' if name == 'table' else self.printed
        with shown.open('ab') as output, self.printed.open('ab') as errors:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, stdout=output,
                stderr=errors, stdin=subprocess.DEVNULL,
                env={**os.environ, 'PYTHONPATH': path}, start_new_session=True,
            )

    def wait(self, until=lambda: False):
        """Wait for the end, a condition or the time limit, and kill the rest.

        Returns:
            Exit code; None after the condition or the time limit.
        """
        try:
            while self._process.poll() is None:
                if until() or time.monotonic() > self._end:
                    return None
                time.sleep(0.02)
            return self._process.returncode
        finally:
            if self._process.poll() is None:
                # Together with its children, such as the table's workers.
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def last_line(self):
        """Return the last line that it printed."""
        text = self.printed.read_text(errors='replace').strip()
        return text.splitlines()[-1].strip() if text else 'nothing printed'


def saved(out):
    """List the steps with complete checkpoints."""
    return sorted(
        int(path.name) for path in (out / 'run' / 'checkpoints').glob('*')
        if path.name.isdigit()
    )


def perform(name, options, seconds):
    """Run a part.

    Returns:
        (whether it passed, remark).
    """
    if seconds < 1:
        return False, 'no time left'
    part = Part(name, commands(options, seconds)[name], options.out, seconds)
    if name == 'train':
        code = part.wait(until=lambda: saved(options.out))
        last = max(saved(options.out), default=0)
        if code == 0 or last >= options.steps:
            return False, 'it ended before it could be killed'
        if code is None and last:
            return True, f'killed after step {last} was saved'
    else:
        code = part.wait()
    if code is None:
        return False, f'not done within {seconds:.0f} s'
    if code:
        return False, f'exit code {code}: {part.last_line()}'
    return verdict(name, options, part)


def verdict(name, options, part):
    """Check a part that ended with exit code 0; return as `perform`."""
    if name == 'resume':
        lines = part.printed.read_text().splitlines()
        resumed = [line for line in lines if line.startswith('Continuing from')]
        whole = saved(options.out)[-1:] == [options.steps]
        if not resumed or not whole:
            return False, f'no resumed run to step {options.steps}'
        return True, f'{resumed[0]} to step {options.steps}'
    if name == 'table':
        table = json.loads((options.out / 'table.json').read_text())
        left = table['not_measured']
        measured = len([c for c in table['cases'] if c not in left])
        remark = f'{measured} cases measured'
        return measured > 0, remark + (
            f', not {", ".join(left)}' if left else ''
        )
    return True, part.last_line() if name == 'tests' else ''


def summary(options, began, results):
    """Write summary.md and summary.json with the results so far."""
    head = {
        'date': began, 'command': shlex.join(['python', *sys.orig_argv[1:]]),
        'python': platform.python_version(), 'minutes': options.minutes,
    }
    (options.out / 'summary.json').write_text(json.dumps(
        {**head, 'parts': results}, indent=2
    ) + '\n')
    lines = [f'{name}: {value}  ' for name, value in head.items()] + [
        '', '| part | result | seconds | remark |', '|---|---|---|---|',
    ]
    for one in results:
        result = 'passed' if one['passed'] else 'FAILED'
        remark = one['remark'].replace('|', '/')
        lines.append(
            f"| {one['part']} | {result} | {one['seconds']:.0f} | {remark} |"
        )
    for name in ('doctor.txt', 'table.md'):
        path = options.out / name
        if path.exists():
            text = path.read_text(errors='replace').strip()
            fence = '' if name == 'table.md' else '```'
            lines += ['', *filter(None, [fence, text, fence])]
    (options.out / 'summary.md').write_text('\n'.join(lines) + '\n')


def parse(arguments):
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out', type=pathlib.Path, default='runs/new_machine',
        help='folder to write to',
    )
    parser.add_argument(
        '--minutes', type=float, default=8.0, help='time limit of all parts'
    )
    parser.add_argument(
        '--parts', default=','.join(DEFAULT),
        help=f'parts to run, of {",".join(SHARES)}',
    )
    parser.add_argument(
        '--steps', type=int, default=2000, help='steps of the training'
    )
    parser.add_argument(
        '--table_flags', default='', help='more flags of step_throughput.py'
    )
    options = parser.parse_args(arguments)
    unknown = set(options.parts.split(',')) - set(SHARES)
    if unknown:
        parser.error(f'--parts={options.parts}: some of {",".join(SHARES)}')
    options.out = options.out.absolute()
    if (options.out / 'summary.json').exists():
        parser.error(f'--out={options.out} holds another summary.json')
    return options


def main(arguments):
    """Run the parts; returns the exit code."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.strftime('%Y-%m-%dT%H:%M:%S%z')
    end = time.monotonic() + 60 * options.minutes
    results = []
    for name in SHARES:
        if name not in options.parts.split(','):
            continue
        start = time.monotonic()
        seconds = min(60 * options.minutes * SHARES[name], end - start)
        try:
            passed, remark = perform(name, options, seconds)
        except Exception as error:  # the rest is worth more than this part
            passed, remark = False, f'{type(error).__name__}: {error}'
        results.append({
            'part': name, 'passed': passed, 'remark': remark,
            'seconds': round(time.monotonic() - start, 1),
        })
        print(
            f"{'passed' if passed else 'FAILED'}  {name}: "
            f"{results[-1]['seconds']:.0f} s  {remark}", flush=True,
        )
        summary(options, began, results)
    print(f'Summary  {options.out / "summary.md"}')
    return 0 if all(one['passed'] for one in results) else 1


if __name__ == '__main__':
    # An exception, so that the part at work is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
