"""The pickle inside a torch file, described without being run.

A pickle is a program. This reads the few instructions that `torch.save` needs for a dict of tensors and builds inert
descriptions of them; nothing is imported, called or allocated, and everything else is refused by name.
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BYTES = 32 << 20
_MAX_OPERATIONS = 500_000
_MAX_TEXT = 4096
_MAX_BITS = 63

_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}

STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""Class of a storage in `torch` to the dtype of its elements."""

_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_ALLOWED = {_ORDERED_DICT, _TENSOR, _PARAMETER, *(f"torch {name}" for name in STORAGES)}
_KNOWN = {"_sparse": "a sparse tensor", "_qtensor": "a quantised tensor", "_meta_tensor": "a tensor without data"}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the pickle describes it; nothing of it is checked against the file yet.

    Attributes
    ----------
    key : str
        Name of the record in the archive that holds the storage.
    dtype : str
        Of the storage's elements, e.g. "float32".
    numel : int
        Elements in the storage, as the pickle has it.
    offset : int
        Of the first element, in elements.
    shape, stride : tuple of int
        As in torch, in elements.
    """

    key: str
    dtype: str
    numel: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def describe_pickle(data: bytes) -> object:
    """What the pickle of a torch file would make: dicts, lists, tuples, numbers, text and `StoredTensor`.

    Parameters
    ----------
    data : bytes
        The record `data.pkl`.

    Raises
    ------
    BadCheckpoint
        If it asks for anything but plain values and dense tensors, is damaged, or is unreasonably large.
    """
    if len(data) > _MAX_BYTES:
        raise BadCheckpoint("its index is larger than 32 MB: it is not a dict of weights.")
    machine = _Machine()
    try:
        reader = _Reader(data)
        for _ in range(_MAX_OPERATIONS):
            name = reader.instruction()
            if name == "STOP":
                return machine.result()
            machine.run(name, reader.argument(name))
    # IndexError and KeyError: the stack or the memo does not hold what an instruction takes
    except (ValueError, IndexError, KeyError, OverflowError) as err:
        raise BadCheckpoint("its index is damaged: download or copy the file again.") from err
    raise BadCheckpoint("its index holds too many entries: it is not a dict of weights.")


def texts_in(data: bytes) -> frozenset[str]:
    """The texts in a pickle, as far as it can be read; none of it is run.

    Of a file that is refused they still say what it is: the names of its tensors are among them.
    """
    found = set()
    try:
        for count, (_, argument, _) in enumerate(pickletools.genops(data[:_MAX_BYTES])):
            if isinstance(argument, str) and len(argument) <= _MAX_TEXT:
                found.add(argument)
            if count >= _MAX_OPERATIONS:
                break
    except (ValueError, IndexError, struct.error, OverflowError, DeprecationWarning):
        pass  # what was read until here will do; odd escapes are warned of, which may be an error
    return frozenset(found)


class _Reader:
    """The instructions and their arguments, in turn.

    `pickletools.genops` would do, but it also decodes the arguments of instructions that are refused anyway.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def instruction(self) -> str:
        code = self.take(1)[0]
        name = _NAMES.get(code, str(code))
        if name not in _HANDLERS and name != "STOP":
            raise BadCheckpoint(
                f"its index uses the pickle instruction {name}, which a dict of weights does not need: save the state "
                "dict again with torch.save and its default protocol."
            )
        return name

    def argument(self, name: str) -> Any:
        return _ARGUMENTS[name](self) if name in _ARGUMENTS else None

    def take(self, count: int) -> bytes:
        if self.place + count > len(self.data):
            raise BadCheckpoint("its index is cut short: download or copy the file again.")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, kind: str) -> Any:
        form = struct.Struct(kind)
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        end = self.data.index(b"\n", self.place)
        line = self.take(end - self.place).decode("utf-8")
        self.place += 1
        return line


_ARGUMENTS: dict[str, Callable[[_Reader], Any]] = {
    "PROTO": lambda r: r.number("B"),
    "BININT": lambda r: r.number("<i"),
    "BININT1": lambda r: r.number("B"),
    "BININT2": lambda r: r.number("<H"),
    "LONG1": lambda r: int.from_bytes(r.take(r.number("B")), "little", signed=True),
    "BINFLOAT": lambda r: r.number(">d"),
    "BINUNICODE": lambda r: r.take(r.number("<I")).decode("utf-8"),
    "BINPUT": lambda r: r.number("B"),
    "LONG_BINPUT": lambda r: r.number("<I"),
    "BINGET": lambda r: r.number("B"),
    "LONG_BINGET": lambda r: r.number("<I"),
    "GLOBAL": lambda r: f"{r.line()} {r.line()}",
}


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    numel: int


_MARK = object()


class _Machine:
    """The stack machine of a pickle, cut down to plain values; a call makes a description."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> object:
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise ValueError
        return self.stack[0]

    def run(self, name: str, argument: Any) -> None:
        _HANDLERS[name](self, argument)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError
        return value

    def pop_to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                values = self.stack[i + 1 :]
                del self.stack[i:]
                return values
        raise ValueError

    def pop_several(self, count: int) -> tuple[Any, ...]:
        return tuple(self.pop() for _ in range(count))[::-1]

    def top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError
        return self.stack[-1]


def _push_number(machine: _Machine, value: int) -> None:
    if value.bit_length() > _MAX_BITS:
        raise BadCheckpoint("its index holds a number of more than 63 bits: the file is damaged or made to harm.")
    machine.push(value)


def _push_text(machine: _Machine, value: str) -> None:
    if len(value) > _MAX_TEXT:
        raise BadCheckpoint("its index holds a text of more than 4096 characters: it is not a dict of weights.")
    machine.push(value)


def _push_global(machine: _Machine, name: str) -> None:
    if name not in _ALLOWED:
        _refuse_global(name)
    machine.push(_Global(name))


def _refuse_global(name: str) -> NoReturn:
    module, _, function = name.partition(" ")
    for part, what in _KNOWN.items():
        if module == "torch._utils" and part in function:
            raise BadCheckpoint(f"it holds {what}, where dense ones are needed: save the weights as dense tensors.")
    shown = "".join(c for c in name.replace(" ", ".") if c.isprintable())[:120]
    raise BadCheckpoint(
        f"it holds Python code, not only weights (it asks for {shown}), and was not opened: ask for a file made with "
        "torch.save(model.state_dict(), ...)."
    )


def _set_items(machine: _Machine, pairs: list[Any]) -> None:
    target = machine.top(dict)
    if len(pairs) % 2:
        raise ValueError
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        # Hashing a deeply nested tuple recurses in C until the process dies.
        if type(key) not in (str, int):
            raise BadCheckpoint("its index has a key that is neither text nor number: it is not a dict of weights.")
        target[key] = value


def _extend(machine: _Machine, values: list[Any]) -> None:
    machine.top(list).extend(values)


def _store(machine: _Machine, position: int) -> None:
    value = machine.stack[-1]
    if value is _MARK:
        raise ValueError
    machine.memo[position] = value


def _storage(machine: _Machine, _: None) -> None:
    """What a persistent id stands for: ("storage", class, key, location, number of elements)."""
    identity = machine.pop()
    if not isinstance(identity, tuple) or len(identity) != 5:
        raise ValueError
    kind, storage_class, key, _location, numel = identity
    is_storage = isinstance(storage_class, _Global) and storage_class.name.removeprefix("torch ") in STORAGES
    if kind != "storage" or not is_storage or not isinstance(key, str) or not _is_count(numel):
        raise ValueError
    machine.push(_Storage(key, STORAGES[storage_class.name.removeprefix("torch ")], numel))


def _call(machine: _Machine, _: None) -> None:
    function, arguments = machine.pop_several(2)
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise ValueError
    if function.name == _ORDERED_DICT and not arguments:
        machine.push({})
    elif function.name == _TENSOR and len(arguments) in (6, 7):
        machine.push(_tensor(arguments))
    elif function.name == _PARAMETER and len(arguments) == 3 and isinstance(arguments[0], StoredTensor):
        machine.push(arguments[0])
    else:
        raise ValueError


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, shape, stride = arguments[:4]
    if not (isinstance(storage, _Storage) and _is_count(offset) and _are_counts(shape) and _are_counts(stride)):
        raise ValueError
    if len(shape) != len(stride) or len(shape) > 8:
        raise ValueError
    if len(arguments) == 7 and arguments[6]:
        raise BadCheckpoint("it holds a conjugated or otherwise lazy tensor: save the weights as plain tensors.")
    return StoredTensor(storage.key, storage.dtype, storage.numel, offset, shape, stride)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_counts(values: object) -> bool:
    return isinstance(values, tuple) and all(_is_count(v) for v in values)


def _set_state(machine: _Machine, _: None) -> None:
    """Attributes of an OrderedDict (a state dict has `_metadata`) are dropped; nothing else has a state."""
    machine.pop()
    machine.top(dict)


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, version: None,
    "MARK": lambda m, _: m.push(_MARK),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "BININT": _push_number,
    "BININT1": _push_number,
    "BININT2": _push_number,
    "LONG1": _push_number,
    "BINFLOAT": lambda m, value: m.push(value),
    "BINUNICODE": _push_text,
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.push(m.pop_several(1)),
    "TUPLE2": lambda m, _: m.push(m.pop_several(2)),
    "TUPLE3": lambda m, _: m.push(m.pop_several(3)),
    "BINPUT": _store,
    "LONG_BINPUT": _store,
    "BINGET": lambda m, position: m.push(m.memo[position]),
    "LONG_BINGET": lambda m, position: m.push(m.memo[position]),
    "GLOBAL": _push_global,
    "BINPERSID": _storage,
    "REDUCE": _call,
    "BUILD": _set_state,
    "SETITEM": lambda m, _: _set_items(m, list(m.pop_several(2))),
    "SETITEMS": lambda m, _: _set_items(m, m.pop_to_mark()),
    "APPEND": lambda m, _: _extend(m, list(m.pop_several(1))),
    "APPENDS": lambda m, _: _extend(m, m.pop_to_mark()),
}
