"""Foreign pickles, read without running anything: containers, numbers, texts and NumPy arrays.

A pickle is a program: it names functions and calls them. This reader knows the few names that arrays and plain
containers need, each bound to a function of ours that checks its arguments, and refuses all others by name. It has no
instruction that makes an instance of a class, sets an attribute, or takes an object from outside. Arrays are of numbers
or fixed-length text, and as large as the bytes that the file holds for them. Of Python's own machinery only the pure
Python unpickler is used, whose tables grow with the file and not with what a file claims.
"""

import io
import math
import pickle
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from tal.annotations import files
from tal.errors import AnnotationError

_BINARY_START = re.compile(rb"\x80[\x02-\x05]")
_TEXT_START = re.compile(rb"\((?:d|l|t)(?:p\d+\n|q)|[\]}](?:q|\()|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n")
_DTYPE = re.compile(r"[|<>=]?(?:[?b]|[biufc](?:1|2|4|8|16)|[SU][1-9]\d{0,4})")
_MOST_BYTES = 2**31


def looks_like_pickle(content: bytes) -> bool:
    """Whether a file begins as a pickle of any protocol does; of protocols 0 and 1 those that hold a container."""
    return bool(_BINARY_START.match(content) or _TEXT_START.match(content))


def read_pickle(path: Path | str) -> Any:
    """`parse_pickle` of a file.

    Raises:
        AnnotationError: missing, empty, not a pickle, or refused.
    """
    return parse_pickle(files.read_bytes(path, pickles=True), path)


def parse_pickle(content: bytes, path: Path | str) -> Any:
    """What a pickle holds: dicts, lists, tuples, sets, numbers, texts, bytes, NumPy arrays and scalars.

    Byte strings that Python 2 wrote become text, each byte one character (latin1).

    Args:
        content: The file's content.
        path: Named in messages.

    Raises:
        AnnotationError: it names anything else (the name is told), is damaged, larger than 2 GiB, or no pickle.
    """
    if len(content) > _MOST_BYTES:
        raise AnnotationError(f"{path}: a pickle of {len(content)} bytes", expected=f"at most {_MOST_BYTES}")
    if not looks_like_pickle(content):
        raise AnnotationError(f"{path} is no Python pickle", cause="another kind of file")
    try:
        return _Reader(content).load()
    except _Refused as error:
        raise AnnotationError(
            f"{path}: a pickle that {error}",
            expected="dicts, lists, numbers, texts and NumPy arrays of numbers",
            cause="objects of a library, or a file made to run code; neither is ever loaded",
            todo="where you trust it, write its arrays as JSON, CSV or npz with the library that made it",
        ) from None
    except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path}: not a readable pickle: {type(error).__name__}: {error}",
            cause="a damaged or truncated file",
        ) from None
    except (pickle.UnpicklingError, RecursionError, struct.error) as error:
        raise AnnotationError(f"{path}: not a readable pickle: {error}", cause="a damaged or truncated file") from None


class _Refused(Exception):  # noqa: N818 - not an error of the program: the answer to a file
    """What the file asked for, as the end of a sentence."""


class _Dtype:
    """A dtype while the file describes it; never a real one, whose state a file could falsify."""

    def __init__(self, spec: object, *_: object) -> None:
        if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
            raise _Refused(f"holds an array of type {spec!r:.60}, not of numbers or text")
        self.spec = spec.lstrip("|<>=")
        self.order: Literal["<", ">", "="] = ">" if spec[0] == ">" else "<" if spec[0] == "<" else "="

    def set_state(self, state: object) -> None:
        """The byte order; of all else in the state only what plain numbers have."""
        if not isinstance(state, tuple) or len(state) < 5 or any(each is not None for each in state[2:5]):
            raise _Refused("describes a structured array type")
        self.order = ">" if state[1] == ">" else "<" if state[1] == "<" else "="

    @property
    def real(self) -> np.dtype[Any]:
        return np.dtype(self.spec).newbyteorder(self.order)


class _Kind:
    """The name of a class where an array's description has it; nothing can be done with it."""


def _blank(kind: object, shape: object, *_: object) -> np.ndarray[Any, Any]:
    if not isinstance(kind, _Kind) or shape != (0,):
        raise _Refused("makes an array of an unknown kind")
    return np.zeros(0, np.int8)


def _filled(dtype: object, shape: object, raw: object, fortran: bool) -> np.ndarray[Any, Any]:
    """The array of these bytes, if they are as many as its shape takes, in this machine's byte order."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
        raise _Refused("holds an array of Python objects")
    if not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 16:
        raise _Refused(f"holds an array of shape {shape!r:.60}")
    if math.prod(shape) * dtype.real.itemsize != len(raw):
        raise ValueError(f"{len(raw)} bytes for an array of shape {shape} and type {dtype.spec}")
    found = np.frombuffer(raw, dtype.real).reshape(shape, order="F" if fortran else "C")
    return found.astype(found.dtype.newbyteorder("="))


def _set_array(array: np.ndarray[Any, Any], state: object) -> None:
    """Fill a blank array in place, because the file may have referred to it already."""
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise _Refused("fills an array in an unknown way")
    shape, dtype, fortran, raw = state[-4:]
    filled = _filled(dtype, shape, raw, bool(fortran))
    array.__setstate__((1, filled.shape, filled.dtype, False, filled.tobytes()))  # type: ignore[arg-type]


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> np.ndarray[Any, Any]:
    return _filled(dtype, shape, raw, order == "F")


def _scalar(dtype: object, raw: object = b"") -> Any:
    return _filled(dtype, (1,), raw, False)[0]


def _encoded(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"encodes as {encoding!r:.40}")
    return text.encode("latin1")


def _key(key: Any) -> Any:
    """A key of a dict or item of a set: plain, or a tuple of plain ones; the hash of deeper nests ends the process."""
    parts = key if type(key) is tuple else (key,)
    if not all(each is None or isinstance(each, str | bytes | int | float | complex | np.generic) for each in parts):
        raise _Refused(f"has a {type(key).__name__} of other containers as a key")
    return key


def _container(make: Callable[[Any], Any], kinds: type | tuple[type, ...]) -> Callable[..., Any]:
    """`make` for arguments of plain kinds only, so that no number becomes an allocation."""

    def call(*arguments: object) -> Any:
        if len(arguments) > 1 or not all(isinstance(each, kinds) for each in arguments):
            raise _Refused(f"makes a container of {arguments!r:.60}")
        return make(*arguments)

    return call


def _set(items: Sequence[Any] = ()) -> set[Any]:
    return set(map(_key, items))


def _frozen(items: Sequence[Any] = ()) -> frozenset[Any]:
    return frozenset(map(_key, items))


def _mapping(items: Sequence[Any] = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in items}


def _complex(real: object = 0.0, imaginary: object = 0.0) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise _Refused("makes a complex number of something else")
    return complex(real, imaginary)


class _Allowed:
    """A name that a file may call, bound to a function of ours."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


_PLAIN: dict[str, Callable[..., Any]] = {
    "set": _container(_set, (list, tuple)),
    "frozenset": _container(_frozen, (list, tuple)),
    "list": _container(list, (list, tuple)),
    "dict": _container(_mapping, (list, tuple)),
    "tuple": _container(tuple, (list, tuple)),
    "bytearray": _container(bytearray, bytes),
    "bytes": _container(bytes, (bytes, list)),
    "complex": _complex,
}
_NAMES: Mapping[tuple[str, str], object] = {
    **{(module, name): _Allowed(call) for module in ("builtins", "__builtin__") for name, call in _PLAIN.items()},
    **{
        (module, name): _Allowed(call)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, call in (("_reconstruct", _blank), ("scalar", _scalar))
    },
    **{(module, "_frombuffer"): _Allowed(_from_buffer) for module in ("numpy.core.numeric", "numpy._core.numeric")},
    ("numpy", "dtype"): _Allowed(_Dtype),
    ("numpy", "ndarray"): _Kind(),
    ("collections", "OrderedDict"): _Allowed(_PLAIN["dict"]),
    ("_codecs", "encode"): _Allowed(_encoded),
}


class _Reader(pickle._Unpickler):
    """Python's unpickler, its instructions cut down to those that data needs."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]]

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        known = _NAMES.get((module, name))
        if known is None:
            raise _Refused(f"names {module}.{name}"[:200])
        return known

    def _reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack[-1]
        if not isinstance(called, _Allowed) or not isinstance(arguments, tuple):
            raise _Refused(f"calls a {type(called).__name__}")
        self.stack[-1] = called.function(*arguments)

    def _build(self) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, _Dtype):
            built.set_state(state)
        elif type(built) is np.ndarray and built.shape == (0,):
            _set_array(built, state)
        else:
            raise _Refused(f"sets attributes of a {type(built).__name__}")

    def _set_item(self) -> None:
        value, key, holder = self.stack.pop(), self.stack.pop(), self.stack[-1]
        _expect(holder, dict)[_key(key)] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        _expect(self.stack[-1], dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _dict(self) -> None:
        items = self.pop_mark()
        self.stack.append(dict(zip(map(_key, items[::2]), items[1::2], strict=True)))

    def _frozen_set(self) -> None:
        items = self.pop_mark()
        self.stack.append(frozenset(map(_key, items)))

    def _byte_array(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        found = self.read(min(size, _MOST_BYTES))
        if len(found) < size:
            raise EOFError(f"{len(found)} of {size} bytes")
        self.stack.append(bytearray(found))

    def _append(self) -> None:
        value = self.stack.pop()
        _expect(self.stack[-1], list).append(value)

    def _extend(self) -> None:
        items = self.pop_mark()
        _expect(self.stack[-1], list).extend(items)

    def _add_items(self) -> None:
        items = self.pop_mark()
        _expect(self.stack[-1], set).update(map(_key, items))

    def _refuse(self) -> NoReturn:
        raise _Refused("makes an instance of a class, or asks for objects from outside")

    dispatch = dict(pickle._Unpickler.dispatch) | {
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.DICT[0]: _dict,
        pickle.FROZENSET[0]: _frozen_set,
        pickle.BYTEARRAY8[0]: _byte_array,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _extend,
        pickle.ADDITEMS[0]: _add_items,
        pickle.INST[0]: _refuse,
        pickle.OBJ[0]: _refuse,
        pickle.NEWOBJ[0]: _refuse,
        pickle.NEWOBJ_EX[0]: _refuse,
        pickle.EXT1[0]: _refuse,
        pickle.EXT2[0]: _refuse,
        pickle.EXT4[0]: _refuse,
        pickle.PERSID[0]: _refuse,
        pickle.BINPERSID[0]: _refuse,
        pickle.NEXT_BUFFER[0]: _refuse,
        pickle.READONLY_BUFFER[0]: _refuse,
    }


def _expect(holder: Any, kind: type) -> Any:
    if type(holder) is not kind:
        raise _Refused(f"puts items into a {type(holder).__name__}")
    return holder
