"""The files of one evaluation, with their hashes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tal.annotations import activitynet, files
from tal.annotations.merging import documents_in, merged
from tal.annotations.reading import parse_annotations
from tal.annotations.records import Annotations
from tal.errors import AnnotationError

_TABLES = (".csv", ".tsv", ".txt")


class Inputs:
    """Reads files and remembers the SHA-256 of each, as `hashes`: file -> hex digest.

    `unfinished` names the tables whose last line has no end, as a file has that was cut off within a number.
    """

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}
        self.unfinished: list[str] = []

    def read(self, path: Path | str, *, binary: bool = False, pickles: bool = False) -> bytes:
        """The file's content; `binary` for those of a protocol whose predictions may be npz archives.

        `pickles` is for those that `tal.annotations.pickles` reads.

        Raises:
            AnnotationError: missing, a folder, unreadable, empty, or a kind that is never read.
        """
        content = files.read_bytes(path, binary=binary, pickles=pickles)
        self.hashes[str(path)] = files.sha256(content)
        if Path(path).suffix.lower() in _TABLES and content[-1:] not in (b"\n", b"\r", b"\x00"):
            self.unfinished.append(str(path))
        return content

    def annotations(self, source: Annotations | Mapping[str, Any] | Path | str) -> Annotations:
        """Records: themselves, ActivityNet-style JSON that is parsed already, a file, or a folder of ELAN documents.

        Raises:
            AnnotationError: none of these, or files that cannot be read.
        """
        if isinstance(source, Annotations):
            return source
        if isinstance(source, Mapping):
            return activitynet.parse(dict(source), source="annotations")
        if not isinstance(source, Path | str):
            raise AnnotationError(
                f"annotations of type {type(source).__name__}",
                expected="a file, records as tal.read_annotations gives them, or ActivityNet-style JSON as a dict",
            )
        if Path(source).is_dir():
            return merged([parse_annotations(self.read(each), each) for each in documents_in(Path(source))], source)
        return parse_annotations(self.read(source), source)
