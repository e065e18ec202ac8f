"""Optimised programs of XLA as text: collectives, padding, what is unwanted.

The text is that of `jax.stages.Compiled.as_text()`. A program is a set of
computations; loops, conditionals and fusions call others. Each instruction
counts as often as its computation runs. The branches of a conditional count as
if all of them ran, and a loop of unknown length as if it ran once.
"""

import collections
import math
import re
from typing import NamedTuple

COLLECTIVES = (
    'all-gather', 'all-reduce', 'all-to-all', 'collective-broadcast',
    'collective-permute', 'ragged-all-to-all', 'reduce-scatter',
)
BITS = {
    'pred': 8, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 's16': 16, 'u16': 16,
    's32': 32, 'u32': 32, 's64': 64, 'u64': 64, 'bf16': 16, 'f16': 16,
    'f32': 32, 'f64': 64, 'c64': 64, 'c128': 128,
}
HOST = ('infeed', 'outfeed', 'recv', 'send')
# They write no arrays of their own.
VIEWS = (
    'bitcast', 'conditional', 'constant', 'get-tuple-element', 'parameter',
    'tuple', 'while',
)
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?')
_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = ')
_CALLED = re.compile(
    r'\b(body|condition|calls|to_apply|branch_computations|'
    r'called_computations|true_computation|false_computation)='
    r'(\{[^}]*\}|%?[\w.\-]+)'
)


class Array(NamedTuple):
    """The type of an array.

    Attributes:
        dtype: such as 'bf16'.
        shape: tuple of ints.
        order: axes from the fastest varying to the slowest.
        tile: sizes of the tiles of the fastest axes, slower before faster; ()
            without.
    """

    dtype: str
    shape: tuple
    order: tuple
    tile: tuple

    @property
    def bytes(self):
        """Return the size of the elements."""
        return math.prod(self.shape) * BITS.get(self.dtype, 0) // 8

    @property
    def padded_bytes(self):
        """Return the size in memory, where tiles are filled up."""
        sides = [self.shape[axis] for axis in reversed(self.order)]
        # Tiles of more axes than there are also pad the axes of size 1.
        sides = [1] * (len(self.tile) - len(sides)) + sides
        for axis, size in enumerate(reversed(self.tile), 1):
            sides[-axis] = -(-sides[-axis] // size) * size
        return math.prod(sides) * BITS.get(self.dtype, 0) // 8


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        name: unique in its computation.
        arrays: the `Array`s that it returns.
        opcode: such as 'fusion'.
        inputs: text in its parentheses.
        text: the rest of the line.
    """

    name: str
    arrays: tuple
    opcode: str
    inputs: str
    text: str

    @property
    def operands(self):
        """Return the names of its inputs."""
        return re.findall(r'%([\w.\-]+)', self.inputs)


class Program(NamedTuple):
    """A parsed program.

    Attributes:
        computations: {name: [`Instruction`]}.
        entry: name of the computation that runs first.
    """

    computations: dict
    entry: str


def parse(text):
    """Parse the text of a program.

    Returns:
        `Program`.

    Raises:
        ValueError: where it has no entry.
    """
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head and ' = ' not in line.partition('(')[0]:
            current = computations[head[2]] = []
            entry = head[2] if head[1] else entry
        elif line == '}':
            current = None
        elif current is not None and _INSTRUCTION.match(line):
            current.append(_instruction(line))
    if entry is None:
        raise ValueError('the text has no entry computation')
    return Program(computations, entry)


def _instruction(line):
    found = _INSTRUCTION.match(line)
    result, rest = _split_type(line[found.end():])
    opcode, _, rest = rest.partition('(')
    inputs, rest = _split_parenthesis(rest)
    return Instruction(found[1], arrays(result), opcode.strip(), inputs, rest)


def _split_type(text):
    """Split 'type opcode(…' into the type and the rest."""
    if not text.startswith('('):
        result, _, rest = text.partition(' ')
        return result, rest
    return _split_parenthesis(text[1:])


def _split_parenthesis(text):
    """Split at the parenthesis that closes one opened before the text."""
    depth = 1
    for found in re.finditer(r'[()]', text):
        depth += 1 if found[0] == '(' else -1
        if not depth:
            return text[:found.start()], text[found.end():]
    return text, ''


def arrays(text):
    """Return the `Array`s of a type, which may be a tuple."""
    return tuple(
        Array(
            dtype, _integers(shape),
            _integers(order) or tuple(reversed(range(len(_integers(shape))))),
            _integers(re.match(r'(?:T\(([\d,]*)\))?', layout)[1] or ''),
        ) for dtype, shape, order, layout in _ARRAY.findall(text)
        if dtype in BITS
    )


def _integers(text):
    return tuple(int(number) for number in text.split(',') if number)


def runs(program):
    """Count how often each computation runs.

    Returns:
        ({name: count} of all, {name: count} without those inside fusions and
        reductions, [trips of each loop that runs more than once]).
    """
    total, unfused, loops = collections.Counter(), collections.Counter(), []

    def visit(name, times, fused):
        total[name] += times
        unfused[name] += 0 if fused else times
        for one in program.computations.get(name, ()):
            trips = _trips(program, one) if one.opcode == 'while' else 1
            loops.extend([trips] if trips > 1 else [])
            inside = fused or one.opcode not in ('call', 'conditional', 'while')
            for _, called in _called(one):
                visit(called, times * trips, inside)

    visit(program.entry, 1, False)
    return total, unfused, loops


def _called(instruction):
    """Yield (kind, name) of the computations that an instruction calls."""
    for kind, names in _CALLED.findall(instruction.text):
        for name in re.findall(r'[\w.\-]+', names):
            yield kind, name


def _trips(program, loop):
    """Return how often a loop runs, 1 where that is not known.

    It is written in the instruction, or its condition compares a number that
    starts at 0 with a constant.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.text)
    if known:
        return int(known[1])
    condition = dict(_called(loop))['condition']
    constants = [
        int(one.inputs) for one in program.computations.get(condition, ())
        if one.opcode == 'constant' and one.inputs.isdigit()
    ]
    return constants[0] if len(constants) == 1 else 1


class Report(NamedTuple):
    """What `report` finds in a program.

    Attributes:
        collectives: {kind: (how often it runs, bytes that each device puts in
            all of these)}.
        padding: size of the arrays that are written, over that of their
            elements: 1 is without padding.
        copies: share of these bytes that copies to another layout write.
        widest: (bytes, padded bytes, type) of the array with most padding.
        loops: trips of each loop that runs more than once.
        unwanted: names of what a training call should not contain: float64,
            and transfers to the host.
    """

    collectives: dict
    padding: float
    copies: float
    widest: tuple
    loops: tuple
    unwanted: tuple


def report(text):
    """Return the `Report` of a program's text."""
    program = parse(text)
    total, unfused, loops = runs(program)
    collectives, unwanted, chains = {}, set(), set()
    written = padded = copied = 0
    widest = (0, 0, '')
    for name, instructions in program.computations.items():
        sizes = {
            one.name: sum(array.bytes for array in one.arrays)
            for one in instructions
        }
        for one in instructions if total[name] else ():
            unwanted.update(_unwanted(one))
            kind = one.opcode.removesuffix('-start')
            if kind in COLLECTIVES and _is_first(one, chains):
                count, amount = collectives.get(kind, (0, 0))
                collectives[kind] = count + total[name], amount + total[
                    name
                ] * sum(sizes.get(operand, 0) for operand in one.operands)
            if not unfused[name] or kind in VIEWS or one.opcode != kind or (
                    kind.endswith(('-done', '-update'))):
                continue
            for array in one.arrays:
                written += array.bytes * unfused[name]
                padded += array.padded_bytes * unfused[name]
                if kind in ('copy', 'transpose'):
                    copied += array.padded_bytes * unfused[name]
                widest = max(widest, (
                    array.padded_bytes - array.bytes, array.bytes,
                    f"{array.dtype}[{','.join(map(str, array.shape))}]",
                ))
    excess, size, kind = widest
    return Report(
        collectives, padded / written if written else 1.0,
        copied / padded if padded else 0.0, (size, size + excess, kind),
        tuple(loops), tuple(sorted(unwanted)),
    )


def _is_first(instruction, chains):
    """Return whether a collective is not the rest of one seen before.

    On TPU one collective may be spread over many fusions, to overlap with their
    arithmetic; each of them names its chain.
    """
    chain = re.search(r'\bchain_id="(\w+)"', instruction.text)
    if not chain:
        return True
    key = instruction.opcode, chain[1], str([
        (array.dtype, array.shape) for array in instruction.arrays
    ])
    return key not in chains and not chains.add(key)


def _unwanted(instruction):
    """Yield the names of what a training call should not contain."""
    if any(array.dtype == 'f64' for array in instruction.arrays):
        yield 'float64'
    if instruction.opcode.removesuffix('-done') in HOST or (
            'callback' in instruction.text.partition('metadata=')[0]):
        yield f'{instruction.opcode} (host)'
