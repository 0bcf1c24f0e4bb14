"""ActionVOS' files (ut-vision/ActionVOS): sequences with their objects, and masks as palette PNGs or npz.

The split's JSON lists sequences with `seq_id`, `video`, `verb`, `noun`, `sparse_frames` and `object_classes`: {INDEX:
{"name", "positive"}}; the masks of one lie in `SEQ_video_verb_noun/FRAME.png`, whose pixels are these indices.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.annotations.rows import parse_npz
from tal.errors import AnnotationError

IndexMap = NDArray[np.integer[Any]]

_FLAGS = ("redundant", "missing", "other")
_INDEX_MODES = ("P", "L", "1")


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A narrated action with its annotated frames.

    Args:
        folder: Where its masks lie.
        frames: Names of the annotated frames, without suffix.
        objects: Index in the masks -> whether the object takes part in the action.
        names: Index -> the object's name.
        flagged: The annotators marked it as redundant, missing or other.
    """

    folder: str
    frames: tuple[str, ...]
    objects: Mapping[int, bool]
    names: Mapping[int, str]
    flagged: bool


def parse_sequences(content: bytes, path: Path | str) -> list[Sequence]:
    """The sequences of a split, in the file's order.

    Raises:
        AnnotationError: not such a file, an index outside 1 to 255, or a sequence that stands twice.
    """
    data = files.to_unique_json(content, path)
    if not isinstance(data, list) or not data or not all(isinstance(each, dict) for each in data):
        raise AnnotationError(f"{path}: no list of sequences", expected="ActionVOS' split: val_human.json, ...")
    try:
        sequences = [_sequence(each) for each in data]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(
            f"{path}: a sequence cannot be read: {type(error).__name__}: {error}",
            expected="seq_id, video, verb, noun, sparse_frames and object_classes in every sequence",
            cause="predictions, or another benchmark's file",
        ) from error
    folders = {each.folder for each in sequences}
    if len(folders) < len(sequences):
        raise AnnotationError(f"{path}: a sequence stands twice", expected="every seq_id once")
    for each in sequences:
        if not all(0 < index < 256 for index in each.objects):
            raise AnnotationError(f"{path}: {each.folder}: objects {sorted(each.objects)}", expected="from 1 to 255")
    return sequences


def _sequence(entry: Mapping[str, Any]) -> Sequence:
    objects = {int(index): each for index, each in entry["object_classes"].items()}
    return Sequence(
        folder=f"{entry['seq_id']:08d}_{entry['video']}_{entry['verb']}_{entry['noun']}",
        frames=tuple(str(frame).rsplit(".", 1)[0] for frame in entry["sparse_frames"]),
        objects={index: _truth(each["positive"]) for index, each in objects.items()},
        names={index: str(each.get("name", index)) for index, each in objects.items()},
        flagged=any(_truth(entry.get(flag, False)) for flag in _FLAGS),
    )


def _truth(value: Any) -> bool:
    if value not in (0, 1):  # True and False are equal to these.
        raise ValueError(f"{value!r:.40} where true, false, 1 or 0 has to be")
    return bool(value)


class MaskFiles:
    """Index maps by "SEQUENCE/FRAME", from a folder of PNGs, an npz file, or memory.

    Args:
        given: Folder, file or mapping.

    Attributes:
        digest: SHA-256 over the names and contents that were read, in order.

    Raises:
        AnnotationError: neither a folder nor an npz file, or an array that is no index map.
    """

    def __init__(self, given: Path | str | Mapping[str, IndexMap]) -> None:
        self.given = given
        self.digest = hashlib.sha256()
        self._folder: Path | None = None
        self._maps: Mapping[str, NDArray[Any]] = {}
        if not isinstance(given, Path | str):
            self._maps = given
        elif Path(given).is_dir():
            self._folder = Path(given)
        else:
            content = files.read_bytes(given, binary=True)
            self.digest.update(content)
            self._maps = parse_npz(content, given)

    def __str__(self) -> str:
        return str(self.given) if isinstance(self.given, Path | str) else "masks"

    @property
    def names(self) -> set[str]:
        """All frames that there are."""
        if self._folder is None:
            return set(self._maps)
        return {each.relative_to(self._folder).with_suffix("").as_posix() for each in self._folder.glob("*/*.png")}

    def read(self, name: str) -> IndexMap | None:
        """(H, W) indices of one frame; None if there is none.

        Raises:
            AnnotationError: an image that cannot be read, or that holds colours instead of indices.
        """
        if self._folder is None:
            found = self._maps.get(name)
            return None if found is None else _checked(found, f"{self}: {name}")
        path = self._folder / f"{name}.png"
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise AnnotationError(f"{name!r} leads out of {self._folder}", cause="a damaged or hostile split file")
        if not _is_file(path):
            return None
        content = files.read_bytes(path, binary=True)
        self.digest.update(name.encode() + content)
        return _image(content, path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # A name that no file system takes.
        return False


def _image(content: bytes, path: Path) -> IndexMap:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode not in _INDEX_MODES:
                raise AnnotationError(
                    f"{path}: an image of mode {image.mode}",
                    expected="a palette PNG, whose pixels are the objects' indices",
                    cause="masks saved as colours",
                )
            return np.array(image, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError(f"{path}: cannot be read as PNG: {error}", cause="an interrupted write") from error


def _checked(found: NDArray[Any], where: str) -> IndexMap:
    values = np.asarray(found)
    whole = values.ndim == 2 and values.dtype.kind in "uib"
    if not whole or (values.size and not 0 <= values.min() <= values.max() < 256):
        raise AnnotationError(
            f"{where}: an array {values.shape} of {values.dtype}", expected="(H, W) whole numbers from 0 to 255"
        )
    return values.astype(np.uint8)
