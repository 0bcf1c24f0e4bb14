"""Foreign pickles: data comes back as it was written, and whatever is more than data is refused unopened."""

import builtins
import collections
import contextlib
import copyreg
import functools
import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tal.annotations import files
from tal.annotations.pickles import looks_like_pickle, parse_pickle, read_pickle
from tal.errors import AnnotationError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

_LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary()
)
_DATA = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), _DATA, max_size=4), st.sampled_from(PROTOCOLS))
def test_plain_data_comes_back(data, protocol):
    assert parse_pickle(pickle.dumps(data, protocol), "x.pkl") == data


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        hnp.floating_dtypes(sizes=(32, 64)) | hnp.integer_dtypes() | hnp.boolean_dtypes() | hnp.unicode_string_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.sampled_from(PROTOCOLS),
    st.booleans(),
)
def test_arrays_come_back(array, protocol, fortran):
    array = np.asfortranarray(array) if fortran else array
    (found, again) = parse_pickle(pickle.dumps([array, array], protocol), "x.pkl")
    assert type(found) is np.ndarray
    assert found is again
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_sets_and_ordered_dicts(protocol):
    data = [np.float32(2.5), frozenset([1, 2]), collections.OrderedDict(a=1), bytearray(b"ab"), 1 + 2j, {(1, "a"): 2}]
    found = parse_pickle(pickle.dumps(data, protocol), "x.pkl")
    assert found == [2.5, frozenset([1, 2]), {"a": 1}, b"ab", 1 + 2j, {(1, "a"): 2}]
    assert type(found[0]) is np.float32


def test_a_pickle_of_python_2():
    """As JHMDB-GT.pkl has it: protocol 0, byte strings, NumPy's old module names, big-endian numbers."""
    written = (
        b"(dp1\nS'caf\xe9'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntS'b'\np5\ntRp6\n"
        b"(I1\n(I2\ntcnumpy\ndtype\np7\n(S'f4'\np8\nI0\nI1\ntRp9\n(I3\nS'>'\np10\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S'?\\x80\\x00\\x00@\\x00\\x00\\x00'\np11\ntbs."
    )
    (name, array) = parse_pickle(written, "x.pkl").popitem()
    assert name == "café"
    assert array.tolist() == [1.0, 2.0]


class _Calls:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


class _Plain:
    pass


def _instance(**state):
    made = _Plain()
    made.__dict__.update(state)
    return made


_MARK = "/tmp/tal_was_run"  # Never made: the test looks that nothing runs.


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("bomb", "named"),
    [
        (_Calls(os.system, f"touch {_MARK}"), "system"),
        (_Calls(eval, f"open({_MARK!r}, 'w')"), "eval"),
        (_Calls(exec, "1"), "exec"),
        (_Calls(getattr, _Calls(__import__, "os"), "system"), "names"),
        (_Calls(builtins.open, _MARK, "w"), "open"),
        (_Calls(functools.partial, print), "functools.partial"),
        (_Calls(copyreg._reconstructor, _Plain, object, None), "copy"),
        (_Calls(np.load, "x.npy", None, True), "names"),
        (_Calls(np.fromfile, "x"), "names"),
        (_instance(a=1), "a pickle that"),
        (_Calls(bytearray, 2**40), "container"),
        (_Calls(np.dtype, [("a", "O")]), "array of type"),
        (_Calls(np.dtype, "O"), "array of type"),
        (_Calls(np.dtype, "f8,O"), "array of type"),
        (np.array([_Calls(print, 1)], object), "array of type"),
        (np.array([[1], "a"], object), "array of type"),
        (np.zeros(2, [("a", "f4")]), "array"),
        (np.array(["2020-01-01"], "M8[D]"), "array of type"),
        (_Calls(set, "abc"), "container"),
        (collections.defaultdict(list), "names"),
        (type, "type"),
    ],
)
def test_code_is_refused(bomb, named, protocol):
    with pytest.raises(AnnotationError) as caught:
        parse_pickle(pickle.dumps([bomb], protocol), "x.pkl")
    message = str(caught.value)
    assert "x.pkl" in message
    assert named in message
    assert not os.path.exists(_MARK)


def _crafted(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


_DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR"
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
_BLANK = _RECONSTRUCT + b"(cnumpy\nndarray\n(K\x00tC\x01btR"


def _text(value):
    return b"X" + struct.pack("<I", len(value)) + value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sets attributes of an allowed function", _crafted(b"cnumpy\ndtype\n}", _text(b"function"), b"K\x01sb")),
        ("sets attributes of a list", _crafted(b"]}", _text(b"a"), b"K\x01sb")),
        ("sets attributes of the array class", _crafted(b"cnumpy\nndarray\n}", _text(b"a"), b"K\x01sb")),
        ("calls a list", _crafted(b"])R")),
        ("calls the array class", _crafted(b"cnumpy\nndarray\n)R")),
        ("instance of the array class", _crafted(b"cnumpy\nndarray\n)\x81")),
        ("instance by INST", _crafted(b"(ios\nsystem\n")),
        ("instance by OBJ", _crafted(b"(cnumpy\nndarray\no")),
        ("persistent id", _crafted(b"Pabc\n")),
        ("extension registry", _crafted(b"\x82\x01")),
        ("dtype with fields", _crafted(_DTYPE, b"(K\x03", _text(b"<"), b"N(", _text(b"a"), b"t}K\x01K\x01K?tb")),
        ("items into an array", _crafted(_BLANK, b"K\x00K\x01s")),
        ("items into the array class", _crafted(b"cnumpy\nndarray\nK\x00K\x01s")),
        ("array of another kind", _crafted(_RECONSTRUCT, b"(c__builtin__\nset\n(K\x00tC\x01btR")),
        ("too large for its bytes", _crafted(_BLANK, b"(K\x01(\x8a\x06", bytes(5), b"\x10t", _DTYPE, b"\x89C\x00tb")),
        ("negative shape", _crafted(_BLANK, b"(K\x01(J\xff\xff\xff\xfft", _DTYPE, b"\x89C\x00tb")),
        ("array of a list", _crafted(_BLANK, b"(K\x01(K\x01t", _DTYPE, b"\x89](K\x01etb")),
        ("encode with a codec that runs", _crafted(b"c_codecs\nencode\n(", _text(b"a"), _text(b"zip"), b"tR")),
        ("name with dots", b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__new__\x93."),
        ("huge declared length", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fabc."),
        ("huge byte array", b"\x80\x05\x96\x00\x00\x00\x00\x08\x00\x00\x00abc."),
        ("a key nested deeply enough to overflow the stack", b"\x80\x02})" + b"\x85" * 2_000_000 + b"K\x01s."),
        ("the same in a set", b"\x80\x04\x8f()" + b"\x85" * 2_000_000 + b"\x90."),
        ("huge memo index", b"\x80\x02]r\xff\xff\xff\x7f0g5\n."),
        ("memo that is not there", b"\x80\x02]qxh\x07."),
        ("empty stack", b"\x80\x02R."),
        ("no end", b"\x80\x02]"),
        ("unknown instruction", b"\x80\x02\xfe."),
        ("unknown protocol", b"\x80\x05\x80\x63]."),
    ],
)  # fmt: skip
def test_crafted_pickles_are_one_clear_error(name, content):
    """Nothing of theirs runs, nor takes more memory than the file is long."""
    with pytest.raises(AnnotationError, match=r"x\.pkl"):
        parse_pickle(content, "x.pkl")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_damage_is_one_clear_error_or_data(data):
    content = bytearray(pickle.dumps({"a": [np.arange(4.0), "b", {1: (2, 3)}]}, data.draw(st.sampled_from([0, 2, 4]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(AnnotationError):  # Any other error fails the test.
        parse_pickle(bytes(content[: data.draw(st.integers(0, len(content)))]), "x.pkl")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_ends_too_early_is_told(protocol):
    content = pickle.dumps({"a": [1, 2.5, "text" * 80, np.arange(3)]}, protocol)
    for end in range(3, len(content) - 1):
        with pytest.raises(AnnotationError, match=r"x\.pkl"):
            parse_pickle(content[:end], "x.pkl")


def test_what_is_a_pickle():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    assert not looks_like_pickle(buffer.getvalue())
    for text in (b'{"a": 1}', b"[1, 2]", b"video,frame\n", b"(dp", b"cat,dog\nmouse,x\n", b"class,frame\na,1\n", b"]"):
        assert not looks_like_pickle(text)
    for protocol in PROTOCOLS:
        for data in ({"a": 1}, [1], {}, [], np.arange(2)):
            assert looks_like_pickle(pickle.dumps(data, protocol)), (protocol, data)
    with pytest.raises(AnnotationError, match="no Python pickle"):
        parse_pickle(b"video,frame", "x.csv")


def test_pickles_are_refused_where_none_is_meant(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert read_pickle(path) == {"a": 1}
    with pytest.raises(AnnotationError, match="JHMDB"):
        files.read_bytes(path)
