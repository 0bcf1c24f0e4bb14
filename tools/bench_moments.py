"""QVHighlights' metrics: the call and the whole command, against loops over queries and clips."""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_evaluate import run_command, timed

import tal
from tal.annotations import read_annotations
from tal.annotations.moment_results import read_moments

QUERIES, WINDOWS, CLIPS, CLIP_S = 1550, 10, 75, 2.0
TIOUS = [0.5 + 0.05 * step for step in range(10)]
CALL_BAR_S = 0.5
REFERENCE_QUERIES = 100


def made(seed: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(ground truth, predictions) of the validation split's size: ten windows and a score per clip for every query."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for number in range(QUERIES):
        name = {"qid": number, "query": f"query {number}", "vid": f"video_{number}"}
        first = np.sort(rng.choice(CLIPS // 5, rng.integers(1, 4), replace=False)) * 5
        windows = [[CLIP_S * begin, CLIP_S * (begin + rng.integers(1, 6))] for begin in first.tolist()]
        clips = [clip for begin, end in windows for clip in range(int(begin / CLIP_S), int(end / CLIP_S))]
        answer = {
            "relevant_windows": [[float(begin), float(end)] for begin, end in windows],
            "relevant_clip_ids": clips,
            "saliency_scores": rng.integers(0, 5, (len(clips), 3)).tolist(),
        }
        truth.append(name | {"duration": CLIPS * CLIP_S} | answer)
        starts = rng.integers(0, CLIPS - 6, WINDOWS)
        near = rng.random(WINDOWS) < 0.4
        begins = np.where(near, rng.choice(first, WINDOWS), starts) * CLIP_S
        ends = begins + rng.integers(1, 7, WINDOWS) * CLIP_S
        scores = np.sort(rng.random(WINDOWS).round(4))[::-1]
        relevance = np.isin(np.arange(CLIPS), clips) * rng.random(CLIPS) + rng.random(CLIPS)
        rows = zip(begins.tolist(), ends.tolist(), scores.tolist(), strict=True)
        found.append(
            name | {"pred_relevant_windows": list(map(list, rows)), "pred_saliency_scores": relevance.round(4).tolist()}
        )
    return truth, found


def plain_precision(truth: Sequence[Sequence[float]], found: Sequence[Sequence[float]], threshold: float) -> float:
    """AP of one query's windows, one prediction after another."""
    free, right = list(range(len(truth))), []
    for begin, end, _ in sorted(found, key=lambda row: -row[2]):
        overlap = {}
        for instance in free:
            start, stop = truth[instance][:2]
            inter = max(0.0, min(end, stop) - max(begin, start))
            overlap[instance] = inter / ((end - begin) + (stop - start) - inter)
        best = max(overlap, key=lambda instance: overlap[instance], default=None)
        right.append(best is not None and overlap[best] >= threshold)
        if right[-1]:
            free.remove(best)
    precision = [sum(right[: rank + 1]) / (rank + 1) for rank in range(len(right))]
    return sum(max(precision[rank:]) for rank, hit in enumerate(right) if hit) / len(truth)


def plain_highlights(truth: dict[str, Any], scores: Sequence[float], level: int) -> list[float]:
    """AP of one query's clips for each annotator: every distinct score is a point of the curve."""
    levels = np.zeros((CLIPS, 3))
    levels[truth["relevant_clip_ids"]] = truth["saliency_scores"]
    result = []
    for annotator in range(3):
        relevant = levels[:, annotator] >= level
        points = []
        for score in sorted(set(scores), reverse=True):
            chosen = [bool(relevant[clip]) for clip in range(CLIPS) if scores[clip] >= score]
            points.append((sum(chosen) / len(chosen), sum(chosen)))
        total, before = [], 0
        for rank, (_, hits) in enumerate(points):
            if hits > before:
                total.append(max(precision for precision, _ in points[rank:]))
            before = hits
        result.append(sum(total) / len(total) if total else 0.0)
    return result


def plain_metrics(truth: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The headline metrics by loops."""
    pairs = list(zip(truth, found, strict=True))
    windows = [(a["relevant_windows"], b["pred_relevant_windows"]) for a, b in pairs]
    metrics = {f"MR-mAP@{t:.2f}": float(np.mean([plain_precision(*pair, t) for pair in windows])) for t in TIOUS}
    for name, level in (("Fair", 2), ("Good", 3), ("VeryGood", 4)):
        values = [plain_highlights(a, b["pred_saliency_scores"], level) for a, b in pairs]
        metrics[f"HL-{name}-mAP"] = float(np.mean(values))
    return metrics


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def main(argv: Sequence[str] = ()) -> int:
    """Print times, bars and ratios; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench_moments.py", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options, _ = parser.parse_known_args(argv)
    truth, found = made()
    with tempfile.TemporaryDirectory() as folder:
        annotations = write_lines(Path(folder, "truth.jsonl"), truth)
        predictions = write_lines(Path(folder, "found.jsonl"), found)
        records, table = read_annotations(annotations), read_moments(predictions)
        call_s, call_cpu_s = timed(lambda: tal.evaluate("qvhighlights", records, table), options.repeats)
        whole_s, whole_cpu_s, peak_gib = run_command(
            "qvhighlights", annotations, predictions, "MR-mAP", options.repeats
        )
        some_truth = write_lines(Path(folder, "some_truth.jsonl"), truth[:REFERENCE_QUERIES])
        some_found = write_lines(Path(folder, "some_found.jsonl"), found[:REFERENCE_QUERIES])
        ours = tal.evaluate("qvhighlights", some_truth, some_found, unrounded=True).metrics
    began = time.perf_counter()
    reference = plain_metrics(truth[:REFERENCE_QUERIES], found[:REFERENCE_QUERIES])
    reference_s = (time.perf_counter() - began) * QUERIES / REFERENCE_QUERIES
    difference = max(abs(ours[name] - value) for name, value in reference.items())
    print(
        f"qvhighlights: {QUERIES} queries, {WINDOWS} windows and {CLIPS} clips each\n"
        f"  metric call    {call_s:7.3f} s (bar {CALL_BAR_S:g} s), {call_cpu_s:.3f} s of processor time\n"
        f"  plain loops    {reference_s:7.1f} s, {reference_s / call_s:.0f} times as long (mAP and HL-mAP alone, "
        f"measured on {REFERENCE_QUERIES} queries, scaled; differs by {difference:.1e})\n"
        f"  whole command  {whole_s:7.3f} s, {whole_cpu_s:.3f} s of processor time, peak memory {peak_gib:.2f} GiB"
    )
    return int(call_s > CALL_BAR_S or difference > 1e-9)
