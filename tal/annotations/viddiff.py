"""VidDiffBench's files (jmhb0/viddiff): samples with their differences, predictions, and a judge's matches.

Samples are the rows of the published data set as JSON or JSON lines. Predictions are a list in the samples' order, as
the released code takes them, or {sample_key: ...}, of {KEY: "a"} or {KEY: {"description", "prediction"}}.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal.annotations.rows import Row, number, parse_rows
from tal.errors import AnnotationError

_IDS = ("sample_key",)
SPLITS = ("easy", "medium", "hard")
_NO_MATCH = (None, "None", "none", "null", "")
_OPPOSITE = {"0": False, "0.0": False, "false": False, "none": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A pair of videos.

    Args:
        key: `sample_key`.
        split: easy, medium or hard.
        answers: Difference -> "a", "b" or "c" (not discernible); those without an answer are left out.
        allowed: Number of statements that may be made in the open mode; None if the file does not say.
    """

    key: str
    split: str
    answers: Mapping[str, str]
    allowed: int | None


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A prediction: which video, and in what words."""

    answer: str | None
    description: str


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a judge found for one annotated difference.

    Args:
        key: The predicted statement's key; None where the judge gives its words, or no match.
        description: The predicted statement's words; None where the judge gives its key, or no match.
        opposite: The two statements say the opposite of each other.
    """

    key: str | None
    description: str | None
    opposite: bool


def parse_samples(content: bytes, path: Path | str) -> list[Sample]:
    """The annotated samples, in the file's order.

    Raises:
        AnnotationError: not readable, no `differences_gt`, or an answer that is none of a, b, c and null.
    """
    return [_sample(row) for row in parse_rows(content, path, ids=_IDS)]


def _sample(row: Row) -> Sample:
    answers = _parsed(row.cells.get("differences_gt"))
    if not isinstance(answers, dict) or not row.id:
        raise AnnotationError(
            f"{row.where}: no sample of VidDiffBench",
            expected="sample_key, split and differences_gt in every row",
            cause="the two files were exchanged, or another benchmark",
        )
    wrong = [value for value in answers.values() if value not in ("a", "b", "c", None)]
    if wrong:
        raise AnnotationError(f"{row.where}: an answer of {wrong[0]!r}", expected='"a", "b", "c" or null')
    allowed = row.cells.get("n_differences_open_prediction")
    split = row.needed(("split", "subset"))
    if not isinstance(split, str):
        raise AnnotationError(f"{row.where}: a split of {split!r:.60}", expected=", ".join(SPLITS))
    return Sample(
        key=row.id,
        split=split,
        answers={str(key): value for key, value in answers.items() if value is not None},
        allowed=None if allowed is None else round(number(allowed, f"{row.where}: n_differences_open_prediction")),
    )


def _parsed(value: Any) -> Any:
    """A cell that tables export as text."""
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return None
    return value


def parse_statements(content: bytes, path: Path | str) -> list[tuple[str, dict[str, Statement], str]]:
    """(sample_key or "" where order tells, {KEY: statement}, place in the file) of each sample.

    Raises:
        AnnotationError: not readable, or an entry that is no set of answers.
    """
    return [(row.id, statements_of(row.cells, row.where), row.where) for row in parse_rows(content, path, ids=_IDS)]


def statements_of(answers: Mapping[str, Any], where: str) -> dict[str, Statement]:
    """{KEY: statement} of one sample, from {KEY: "a"} or {KEY: {"description", "prediction"}}.

    Raises:
        AnnotationError: an entry that is neither.
    """
    if "differences_gt" in answers:
        raise AnnotationError(f"{where}: annotations, not predictions", cause="the two files were exchanged")
    found = {}
    for key, value in answers.items():
        if key in _IDS:
            continue
        given = value if isinstance(value, dict) else {"prediction": value}
        answer = given.get("prediction")
        if "prediction" not in given or not isinstance(answer, str | None):
            raise AnnotationError(
                f"{where}: difference {key!r} is {value!r:.80}",
                expected='{KEY: "a"} or {KEY: {"description": ..., "prediction": "a"}}',
            )
        found[str(key)] = Statement(answer=answer, description=str(given.get("description") or ""))
    return found


def parse_matches(content: bytes, path: Path | str) -> dict[str, dict[str, Match]]:
    """Sample -> {annotated difference -> match}; differences without a match are left out.

    A list gives its samples' keys inside, as eval_matching.json does, or in its entries' `sample_key`.

    Raises:
        AnnotationError: not readable, or an entry that names no sample.
    """
    found: dict[str, dict[str, Match]] = {}
    for row in parse_rows(content, path, ids=_IDS):
        entries = {key: value for key, value in row.cells.items() if key not in _IDS}
        inside = {value.get("sample_key") for value in entries.values() if isinstance(value, dict)} - {None}
        key = row.id or (str(inside.pop()) if len(inside) == 1 else "")
        if not key:
            raise AnnotationError(f"{row.where} names no sample", expected="{sample_key: {KEY: match}}")
        if key in found:
            raise AnnotationError(f"{row.where}: sample {key!r} stands twice", expected="every sample once")
        matches = {str(name): _match(value, f"{row.where}: difference {name!r}") for name, value in entries.items()}
        found[key] = {name: match for name, match in matches.items() if match is not None}
    return found


def _match(value: Any, where: str) -> Match | None:
    if not isinstance(value, dict):
        value = {"pred_key": value}
    found = {name: None if each != each else each for name, each in value.items()}  # The released log has NaN for none.
    key, words, opposite = found.get("pred_key"), found.get("pred_description"), found.get("is_opposite")
    if key in _NO_MATCH and words is None:
        return None
    if not isinstance(key, str | int | None) or str(opposite).lower() not in _OPPOSITE:
        raise AnnotationError(f"{where} is {value!r:.120}", expected='{"pred_key": KEY, "is_opposite": 0 or 1}')
    return Match(
        key=None if key in _NO_MATCH else str(key),
        description=None if words is None else str(words),
        opposite=_OPPOSITE[str(opposite).lower()],
    )
