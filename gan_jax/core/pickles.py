"""A stack machine for pickles that calls only the functions it is given.

A pickle is a program: it may name any function of any module and call it. This
machine knows the instructions that plain data need, and imports nothing: each
name in a pickle must be one that the caller admits, together with the function
that builds its value. Python's own unpickler is not used. It would hold those
functions themselves, and a damaged file can make it allocate without limit.

A `FormatError` has a message that follows the name of the file.
"""

import pickletools
from typing import NamedTuple

MAX_INSTRUCTIONS = 2_000_000  # of a file with all that it contains
MAX_ARGUMENTS = 16  # of a call
MAX_COPIES = 4  # of a file's bytes that its calls may create
LEAST_ROOM = 2**20  # bytes that the calls of a small file may create
ITEM_BYTES = 128  # of an item of a dict or set that a call creates
MAX_SHOWN = 80  # characters of a value in a message
KEYS = (str, int, float, bytes, type(None))  # types whose hash does not recurse
LITERALS = {  # instructions that push their argument
    'BINBYTES', 'BINBYTES8', 'BINFLOAT', 'BININT', 'BININT1', 'BININT2',
    'BINUNICODE', 'BINUNICODE8', 'LONG1', 'LONG4', 'SHORT_BINBYTES',
    'SHORT_BINUNICODE',
}
EMPTY = {  # instructions that push a new value
    'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_SET': set,
    'EMPTY_TUPLE': tuple, 'NEWFALSE': lambda: False, 'NEWTRUE': lambda: True,
    'NONE': lambda: None,
}


class FormatError(ValueError):
    """A file is damaged, or holds what is not read."""


class Global(NamedTuple):
    """The name of a class or function, 'module.name'."""

    name: str


class Budget:
    """Instructions that a file may still run, and bytes its calls may create.

    An instruction creates a value of a few bytes, or what the file holds. A
    call copies its arguments, which may be used again and again.
    """

    def __init__(self, size):
        """Start with `MAX_INSTRUCTIONS`, and `MAX_COPIES` of a file's size."""
        self._left = MAX_INSTRUCTIONS
        self._room = max(LEAST_ROOM, MAX_COPIES * size)

    def spend(self):
        """Count one instruction; raise FormatError where none is left."""
        self._left -= 1
        if self._left < 0:
            raise FormatError(
                f'has more than {MAX_INSTRUCTIONS:,} pickle instructions'
            )

    def allocate(self, size):
        """Count bytes before a call creates them.

        Raises:
            FormatError: where they are too many for the size of the file.
        """
        self._room -= size
        if self._room < 0:
            raise FormatError(
                f'asks for more than {MAX_COPIES} times the memory of its bytes'
            )

    def allocate_items(self, items):
        """Count the items of a dict or set like `allocate`; return them."""
        self.allocate(ITEM_BYTES * len(items))
        return items


class Machine:
    """The stack machine of one pickle."""

    def __init__(self, admitted, budget, *, persistent=None, hint=lambda _: ''):
        """Create the machine.

        Args:
            admitted: {'module.name': function of the pickled arguments, or None
                where the name may stand in the file but not be called}.
            budget: `Budget`, shared by the pickles of a file.
            persistent: function of a persistent id; None where none may occur.
            hint: function of a name that is not admitted -> end of the error.
        """
        self._admitted, self._budget = admitted, budget
        self._persistent, self._hint = persistent, hint
        self._stack, self._marks, self._memo = [], [], {}

    def run(self, stream):
        """Run the pickle at the position of a binary stream.

        Args:
            stream: file in memory; it is left behind the pickle.

        Returns:
            The value: None, bool, number, str, bytes, list, tuple, set, dict,
            `Global`, and what the admitted functions return.

        Raises:
            FormatError: for a pickle that is cut off, or uses a name or an
                instruction that is not admitted.
            Exception: of any type for one that is damaged otherwise.
        """
        for opcode, argument, _ in _tokens(stream):
            self._budget.spend()
            if opcode.name == 'STOP':
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise FormatError('is cut off')

    def _step(self, name, argument):
        """Run one instruction."""
        if name in LITERALS:
            self._stack.append(argument)
        elif name in EMPTY:
            self._stack.append(EMPTY[name]())
        elif name in ('BINGET', 'LONG_BINGET'):
            self._stack.append(self._memo[argument])
        elif name in ('BINPUT', 'LONG_BINPUT'):
            self._memo[argument] = self._stack[-1]
        elif name in METHODS:
            METHODS[name](self, argument)
        elif name not in ('PROTO', 'FRAME'):
            raise FormatError(
                f'has the pickle instruction {name}, which plain data do not '
                'need'
            )

    def _above_mark(self):
        """Remove and return the values above the last mark."""
        start = self._marks.pop()
        values, self._stack[start:] = self._stack[start:], []
        return values

    def _top(self, count):
        """Remove and return the topmost values, the uppermost last."""
        values = self._stack[-count:]
        if len(values) < count:
            raise IndexError('empty stack')
        del self._stack[-count:]
        return values

    def _mark(self, _):
        self._marks.append(len(self._stack))

    def _memoize(self, _):
        self._memo[len(self._memo)] = self._stack[-1]

    def _target(self, kind):
        """Return the topmost value, which must be a list, dict or set."""
        if type(self._stack[-1]) is not kind:
            raise TypeError(f'no {kind.__name__} to fill')
        return self._stack[-1]

    def _extend(self, values):
        self._target(list).extend(values)

    def _set_items(self, values):
        self._target(dict).update(zip(
            plain_keys(values[::2]), values[1::2], strict=True
        ))

    def _add_items(self, values):
        self._target(set).update(plain_keys(values))

    def _name(self, module, name):
        """Add the name of a class or function to the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError('no name')
        full = f'{module}.{name}'
        if full not in self._admitted:
            raise FormatError(
                f'names {show(full)}{self._hint(full)}, which is not read; '
                'nothing was run'
            )
        self._stack.append(Global(full))

    def _call(self, _):
        """Replace a name and its arguments by the value that they build."""
        function, arguments = self._top(2)
        if type(function) is not Global or type(arguments) is not tuple or (
                len(arguments) > MAX_ARGUMENTS):
            raise TypeError('no name to call')
        self._stack.append(self._admitted[function.name](*arguments))

    def _build(self, _):
        """Set the state of a value that takes one; a dict's own is ignored."""
        target, state = self._top(2)
        if type(target) is not dict:
            target.set_state(state)
        self._stack.append(target)

    def _persist(self, _):
        self._stack.append(self._persistent(self._stack.pop()))


METHODS = {
    'ADDITEMS': lambda machine, _: machine._add_items(machine._above_mark()),
    'APPEND': lambda machine, _: machine._extend(machine._top(1)),
    'APPENDS': lambda machine, _: machine._extend(machine._above_mark()),
    'BINPERSID': Machine._persist,
    'BUILD': Machine._build,
    'GLOBAL': lambda machine, name: machine._name(*name.split(' ', 1)),
    'MARK': Machine._mark,
    'MEMOIZE': Machine._memoize,
    'NEWOBJ': Machine._call,
    'REDUCE': Machine._call,
    'SETITEM': lambda machine, _: machine._set_items(machine._top(2)),
    'SETITEMS': lambda machine, _: machine._set_items(machine._above_mark()),
    'STACK_GLOBAL': lambda machine, _: machine._name(*machine._top(2)),
    'TUPLE': lambda machine, _: machine._stack.append(
        tuple(machine._above_mark())
    ),
    **{f'TUPLE{count}': (lambda machine, _, count=count: machine._stack.append(
        tuple(machine._top(count))
    )) for count in (1, 2, 3)},
}


def _tokens(stream):
    """Yield (opcode, argument, position) of the pickle in a stream.

    An argument that is longer than the stream is an error, found before any
    memory is allocated for it.
    """
    try:
        yield from pickletools.genops(stream)
    except (ValueError, OverflowError) as error:
        raise FormatError('is no pickle, or one that is cut off') from error


def show(value):
    """Return a value as short ASCII text, for messages.

    Of lists and the like it is the type: they may contain each other so that
    their text would be endless.
    """
    if isinstance(value, (str, bytes)):
        return ascii(value[:MAX_SHOWN])
    if isinstance(value, (bool, float, type(None))) or (
            isinstance(value, int) and abs(value) < 2**63):
        return ascii(value)
    return f'a value of type {type(value).__name__}'


def plain_keys(keys):
    """Return keys of a dict or set, which must be of the types `KEYS`.

    Raises:
        TypeError: where they are not.
    """
    if not all(isinstance(key, KEYS) for key in keys):
        raise TypeError('no plain keys')
    return keys
