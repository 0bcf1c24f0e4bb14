"""`tal diagnose`: where the mAP of temporal detections is lost, and how sure it is."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tal.atomic import refuse_overwriting, write_text
from tal.diagnosis.result import Diagnosis
from tal.diagnosis.run import diagnose as diagnose_protocol
from tal.diagnosis.side import diagnosable
from tal.pipelines.diagnosis_tables import show
from tal.pipelines.evaluate import as_json
from tal.pipelines.protocol_words import run_with_protocol

_JSON, _PAGE = "diagnosis.json", "diagnosis.html"


def diagnose(
    protocol: str,
    *,
    annotations: Path,
    predictions: Path,
    against: Path | None = None,
    out: Path | None = None,
    json: str | None = None,
    html: Path | None = None,
    per_class: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    buckets: Literal["auto", "thumos14", "activitynet", "quantiles"] = "auto",
    **options: Any,
) -> int:
    """Tell where the mAP of temporal detections is lost, and how sure it is.

    False positives by kind, sensitivity to length, coverage and number of instances, what would be gained if one thing
    were perfect, intervals over videos, and a comparison with other predictions. The ground truth and the predictions
    are those that tal evaluate scores with the same options; nothing else is needed. `tal diagnose PROTOCOL --help`
    tells the protocol's own options.

    Args:
        protocol: thumos14, activitynet, generic, ...: any protocol of temporal detection.
        annotations: Ground truth, as published or your own.
        predictions: ActivityNet results JSON, as tal localize writes it, or CSV with video, start, end, label, score.
        against: Other predictions to compare these with, in a paired test over videos.
        out: A folder for diagnosis.json and diagnosis.html.
        json: Write everything as JSON to this file; - writes it to standard output instead of the tables.
        html: Write the page with plots and the worst errors on the timeline to this file.
        per_class: Print all classes, not only those that lose most.
        resamples: Draws of videos behind the intervals, and exchanges of the permutation test; 0 leaves intervals out.
        seed: Of the draws.
        buckets: Of length, coverage and instances: DETAD's for thumos14 or activitynet, or quantiles; auto takes
            the protocol's own where it has some that fit.
    """
    pages = [path for path in (html, out and out / _PAGE) if path is not None]
    texts = [Path(path) for path in (json, out and out / _JSON) if path not in (None, "-")]
    refuse_overwriting([*pages, *texts], [annotations, predictions, against])
    result = diagnose_protocol(
        protocol,
        annotations,
        predictions,
        against=against,
        resamples=resamples,
        seed=seed,
        buckets=buckets,
        **options,
    )
    for page in pages:
        _write_page(page, result)
    for path in texts:
        write_text(path, as_json(result.as_dict()))
    if json == "-":
        sys.stdout.write(as_json(result.as_dict()))
        return 0
    show(result, per_class=per_class)
    for path in (*pages, *texts):
        print(path)
    return 0


def _write_page(path: Path, result: Diagnosis) -> None:
    from tal.report.diagnosis import render

    write_text(path, render(result))


def run_words(words: Sequence[str]) -> int:
    """The command, its options being those of the protocol that the words name.

    Raises:
        TalError: no such protocol, or one that cannot be diagnosed.
    """
    if words and not words[0].startswith("-"):
        diagnosable(words[0])
    return run_with_protocol(diagnose, "diagnose", words)


diagnose.run_words = run_words  # type: ignore[attr-defined]
