"""The files of one evaluation, with their hashes."""

from pathlib import Path

from tal.annotations import files


class Inputs:
    """Reads files and remembers the SHA-256 of each, as `hashes`: file -> hex digest."""

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}

    def read(self, path: Path | str, *, binary: bool = False, pickles: bool = False) -> bytes:
        """The file's content; `binary` for those of a protocol whose predictions may be npz archives.

        `pickles` is for those that `tal.annotations.pickles` reads.

        Raises:
            AnnotationError: missing, a folder, unreadable, empty, or a kind that is never read.
        """
        content = files.read_bytes(path, binary=binary, pickles=pickles)
        self.hashes[str(path)] = files.sha256(content)
        return content
