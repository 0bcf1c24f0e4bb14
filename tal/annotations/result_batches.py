"""Large results JSON, a few videos at a time: parsed objects take eight times the memory of their columns."""

import json
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_RESULT_KEYS = ("results", "database")


def result_batches(text: str, rows_at_once: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, entries of some videos) of `results` or `database`, in the file's order.

    Args:
        text: A JSON object; others give nothing.
        rows_at_once: Entries of a batch; the last video of one may exceed it.

    Raises:
        json.JSONDecodeError: not JSON.
    """
    cursor = _Cursor(text)
    if not cursor.stands_at("{"):
        return
    for key in cursor.members():
        if key not in _RESULT_KEYS or not cursor.stands_at("{"):
            cursor.value()
            continue
        batch: dict[str, Any] = {}
        rows = 0
        for video in cursor.members():
            if video in batch:  # A second time: each shows in a batch of its own.
                yield key, batch
                batch, rows = {}, 0
            entries = batch[video] = cursor.value()
            rows += len(entries) if isinstance(entries, list) else 1
            if rows >= rows_at_once:
                yield key, batch
                batch, rows = {}, 0
        yield key, batch
    cursor.end()


class _Cursor:
    """A place in JSON text."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self._decode = json.JSONDecoder().raw_decode

    def stands_at(self, character: str) -> bool:
        """Whether this is the next character that is no space."""
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text.startswith(character, self.position)

    def value(self) -> Any:
        """The value that comes next, parsed."""
        self.stands_at("")
        value, self.position = self._decode(self.text, self.position)
        return value

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; whoever asks takes each value before the next key."""
        self._take("{")
        if self.stands_at("}"):
            self.position += 1
            return
        while True:
            if not self.stands_at('"'):
                raise json.JSONDecodeError(
                    "Expecting property name enclosed in double quotes", self.text, self.position
                )
            key = self.value()
            self._take(":")
            yield key
            if self.stands_at("}"):
                self.position += 1
                return
            self._take(",")

    def end(self) -> None:
        """Nothing may follow."""
        self.stands_at("")
        if self.position < len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, self.position)

    def _take(self, character: str) -> None:
        if not self.stands_at(character):
            raise json.JSONDecodeError(f"Expecting {character!r} delimiter", self.text, self.position)
        self.position += 1
