"""Fingerprints of source files: was this video replaced since its features were made?"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_EDGE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Size in bytes, modification time in nanoseconds, SHA-256 (first 16 hex digits) of the first and last MiB."""

    size: int
    mtime_ns: int
    edges_hash: str

    @classmethod
    def of(cls, path: Path) -> "Fingerprint":
        """The fingerprint of a file that can be read."""
        facts = path.stat()
        return cls(size=facts.st_size, mtime_ns=facts.st_mtime_ns, edges_hash=_edges_hash(path, facts.st_size))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Fingerprint":
        """The inverse of `as_dict`; further keys are left aside."""
        return cls(**{entry.name: values[entry.name] for entry in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return asdict(self)

    def matches(self, path: Path) -> bool:
        """Whether the file is still the same one.

        Equal size and time settle it without opening the file; a file that was only copied or touched is told from a
        replaced one by its edges.
        """
        facts = path.stat()
        if facts.st_size != self.size:
            return False
        return facts.st_mtime_ns == self.mtime_ns or _edges_hash(path, facts.st_size) == self.edges_hash

    def unchanged(self, path: Path) -> bool:
        """Whether nobody wrote to the file since its fingerprint was taken: size and time are what they were."""
        facts = path.stat()
        return (facts.st_size, facts.st_mtime_ns) == (self.size, self.mtime_ns)


def _edges_hash(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(0, size - _EDGE_BYTES))
        digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()[:16]
