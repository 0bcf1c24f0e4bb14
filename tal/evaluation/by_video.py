"""Values per video against the ground truth's videos: everything missing, foreign or repeated is counted."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from tal.annotations.rows import Row
from tal.errors import AnnotationError
from tal.evaluation.tally import Tally, some

V = TypeVar("V")

REPEATED = "id stands more than once (its last row is taken)"
FOREIGN = "video not in the ground truth"


def once(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows of ground truth by id.

    Raises:
        AnnotationError: a row without id, or two of one id.
    """
    found: dict[str, Row] = {}
    for row in rows:
        if not row.id:
            raise AnnotationError(f"{row.where} names no video", expected="an id in every entry")
        if row.id in found:
            raise AnnotationError(
                f"{row.where}: {row.id!r} stands already at {found[row.id].where.rsplit(': ', 1)[-1]}",
                expected="every id once",
                todo="remove one of the two",
            )
        found[row.id] = row
    return found


def latest(rows: Sequence[Row], tally: Tally) -> dict[str, Row]:
    """Predictions by id; of several rows the last is taken, the others are counted.

    Raises:
        AnnotationError: a row without id.
    """
    found: dict[str, Row] = {}
    for row in rows:
        if not row.id:
            raise AnnotationError(f"{row.where} names no video", expected="an id in every entry")
        found[row.id] = row
    tally.drop(REPEATED, len(rows) - len(found))
    return found


def shared(truth: Collection[str], found: Mapping[str, V], tally: Tally, source: str) -> dict[str, V]:
    """Of the predictions those of the ground truth's videos; the others are counted.

    Raises:
        AnnotationError: not one video in common.
    """
    ours = {video: value for video, value in found.items() if video in truth}
    if found and not ours:
        raise AnnotationError(
            f"{source}: none of its {len(found)} ids is in the ground truth: {some(list(found))}",
            expected=f"ids such as {some(truth)}",
            cause="predictions for another split or benchmark, or ids written in another way",
            todo="use the annotations' ids in the predictions",
        )
    tally.drop(FOREIGN, len(found) - len(ours))
    return ours


def in_split(rows: Mapping[str, Row], subset: str | None, source: str) -> dict[str, Row]:
    """Rows of ground truth whose cell `subset` or `split` is the one that is asked for, in any case.

    Raises:
        AnnotationError: no row is of that split, or there are several and none is chosen.
    """
    of = {video: str(row.first(("subset", "split")) or "") for video, row in rows.items()}
    names = sorted(set(of.values()))
    wanted = None if subset is None else subset.lower()
    chosen = {video: row for video, row in rows.items() if wanted is None or of[video].lower() == wanted}
    if not chosen or (wanted is None and len({name.lower() for name in names}) > 1):
        raise AnnotationError(
            f"{source}: {'several subsets and none chosen' if wanted is None else f'no entry of subset {subset!r}'}",
            expected="one of " + ", ".join(name or "(none)" for name in names),
            todo="choose it with --subset",
        )
    return chosen


def read(found: Mapping[str, Any], tally: Tally) -> int:
    """Number of predictions that a file held, repeated and foreign ones included."""
    return len(found) + tally.dropped.get(REPEATED, 0)
