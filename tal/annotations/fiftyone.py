"""FiftyOne's temporal detections: `labels.json` of a FiftyOneTemporalDetectionDataset, and `data.json` with its media.

`{"classes": [name], "labels": {VIDEO: [{"label": index, "timestamps": [start, end], "confidence": score}]}}`, times in
seconds. `data.json` maps the ids, with their files' suffixes, to paths, where these are known. The importer looks for
`data/ID.mp4`, or another suffix, beside `labels.json`, and for `data.json` if it is told to: `Dataset.from_dir(...,
data_path="data.json")` (voxel51/fiftyone, fiftyone/utils/data/importers.py).
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tal.annotations.showing import NO_LABEL, has_place
from tal.atomic import write_text
from tal.segments import Segments


def write(
    path: Path | str,
    results: Mapping[str, Segments],
    *,
    scores: bool = True,
    media: Mapping[str, str] | None = None,
) -> int:
    """Write segments to import as temporal detections.

    Segments without a place (see `showing.has_place`) are left out, starts before 0 are clipped. Segments without a
    class are of class "segment".

    Args:
        path: The labels' file; `data.json` is written beside it.
        results: Video -> segments.
        scores: Write scores as confidence.
        media: Video -> path of its file, where known.

    Returns:
        The number of segments written.
    """
    names = sorted({name or NO_LABEL for rows in results.values() for name in rows.names})
    index = {name: position for position, name in enumerate(names)}
    labels = {video: _entries(rows, index, scores) for video, rows in results.items()}
    write_text(Path(path), json.dumps({"classes": names, "labels": labels}, indent=1) + "\n")
    known = {f"{video}{Path(place).suffix}": place for video, place in (media or {}).items() if video in results}
    if known:
        write_text(Path(path).with_name("data.json"), json.dumps(known, indent=1) + "\n")
    return sum(map(len, labels.values()))


def _entries(rows: Segments, index: Mapping[str, int], scores: bool) -> list[dict[str, Any]]:
    names = rows.names
    entries = []
    for row in np.flatnonzero(has_place(rows)).tolist():
        score = float(rows.score[row])
        times = [max(0.0, float(rows.start_s[row])), float(rows.end_s[row])]
        entry: dict[str, Any] = {"label": index[names[row] or NO_LABEL], "timestamps": times}
        entries.append(entry | ({"confidence": score} if scores and math.isfinite(score) else {}))
    return entries
