"""Features of queries: a vector per token, one file per query. Nothing here imports torch.

`tal extract --text` writes such a folder, and the folders that Moment-DETR's authors publish are read likewise:

    text.json       what made them: model, weights, width (only in folders of ours)
    qid7803.npz     last_hidden_state (L, C), and in files of ours text, the query

A query without an id has its file named by its text. Nothing is ever unpickled.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.moment_results import Query
from tal.atomic import replacing, write_text
from tal.errors import FeatureError
from tal.features.base import FeatureSpec
from tal.video.ids import safe_name

TOKENS, TEXT, SPEC = "last_hidden_state", "text", "text.json"
_SUFFIXES = (".npz", ".npy")


class TextFolder:
    """Text features by query.

    Args:
        folder: Holds a file per query.
        prefix: What stands before the query's id in a file's name.
        key: Name of the array in an npz.

    Raises:
        FeatureError: no such folder, no features in it, or a description that cannot be read.
    """

    def __init__(self, folder: Path | str, *, prefix: str = "qid", key: str = TOKENS) -> None:
        self.folder, self.prefix, self.key = Path(folder), prefix, key
        if not self.folder.is_dir():
            raise FeatureError(
                f"folder of text features {folder} does not exist", todo="make it with tal extract --text ANNOTATIONS"
            )
        self.spec = self._spec()

    @classmethod
    def like(cls, folder: Path | str, spec: FeatureSpec | None) -> "TextFolder":
        """A folder whose files are named and laid out as those of the features that `spec` describes."""
        told = {} if spec is None else dict(spec.transform)
        return cls(folder, prefix=told.get("prefix", "qid"), key=told.get("key", TOKENS))

    def __repr__(self) -> str:
        return f"TextFolder({str(self.folder)!r}, width {self.spec.width})"

    def has(self, query: Query) -> bool:
        """Whether there are features of a query."""
        return self._path(query) is not None

    def load(self, query: Query) -> NDArray[np.float32]:
        """A query's tokens, (L, C).

        Raises:
            FeatureError: missing, damaged, of another width, with NaN, or of another text.
        """
        path = self._path(query)
        if path is None:
            raise FeatureError(
                f"no text features of query {query.qid or query.text!r} in {self.folder}",
                expected=f"a file {text_stem(query, self.prefix)}.npz",
                todo="make them with tal extract --text ANNOTATIONS",
            )
        tokens, text = _read(path, self.key)
        if tokens.shape[1] != self.spec.width or not len(tokens) or not np.isfinite(tokens).all():
            fault = "NaN or infinity" if np.size(tokens) and not np.isfinite(tokens).all() else f"shape {tokens.shape}"
            raise FeatureError(f"{path}: text features with {fault}", expected=f"(tokens, {self.spec.width}) numbers")
        if text is not None and query.text and _plain(text) != _plain(query.text):
            raise FeatureError(
                f"{path} holds features of {text!r:.60}, and query {query.qid} is {query.text!r:.60}",
                expected="features of this query",
                cause="features made from another annotation file",
            )
        return tokens

    def _path(self, query: Query) -> Path | None:
        stem = text_stem(query, self.prefix)
        return next((path for suffix in _SUFFIXES if (path := self.folder / f"{stem}{suffix}").is_file()), None)

    def _spec(self) -> FeatureSpec:
        written = self.folder / SPEC
        if written.is_file():
            return read_text_spec(written)
        first = next((path for path in sorted(self.folder.iterdir()) if path.suffix in _SUFFIXES), None)
        if first is None:
            raise FeatureError(f"{self.folder} holds no text features", expected="a npz or npy file per query")
        tokens, _ = _read(first, self.key)
        return tokens_spec(tokens.shape[1], prefix=self.prefix, key=self.key)


def tokens_spec(width: int, *, prefix: str = "qid", key: str = TOKENS) -> FeatureSpec:
    """The spec of token features that others made, of which only this is known."""
    return FeatureSpec(backbone="text tokens", width=width, transform={"prefix": prefix, "key": key})


def text_stem(query: Query, prefix: str = "qid") -> str:
    """A query's file name, without suffix."""
    if query.qid:
        return safe_name(prefix + query.qid)
    return "text-" + hashlib.sha256(_plain(query.text).encode()).hexdigest()[:24]


def write_tokens(folder: Path, query: Query, tokens: NDArray[np.floating]) -> None:
    """Write one query's tokens (L, C), whole or not at all."""
    with replacing(folder / f"{text_stem(query)}.npz") as path, path.open("wb") as file:
        np.savez(file, last_hidden_state=tokens, text=np.array(query.text))


def write_text_spec(path: Path, spec: FeatureSpec) -> None:
    """Write what made text features."""
    write_text(path, json.dumps(spec.as_dict(), indent=2) + "\n")


def read_text_spec(path: Path) -> FeatureSpec:
    """What made text features.

    Raises:
        FeatureError: not such a file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path} cannot be read: {error}", cause="a damaged file") from error
    if not isinstance(values, dict):
        raise FeatureError(f"{path} holds {type(values).__name__}", expected="a feature spec")
    return FeatureSpec.from_dict(values)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _read(path: Path, key: str) -> tuple[NDArray[np.float32], str | None]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            array, text = loaded, None
        else:
            with loaded:
                if key not in loaded:
                    raise FeatureError(f"{path} holds {', '.join(loaded.files)}", expected=f"an array {key!r}")
                array = loaded[key]
                text = str(loaded[TEXT]) if TEXT in loaded else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path} cannot be read: {error}", cause="a damaged file") from error
    if array.ndim != 2 or array.dtype.kind != "f":
        raise FeatureError(f"{path}: {array.dtype} of shape {array.shape}", expected="numbers, (tokens, C)")
    return array.astype(np.float32), text
