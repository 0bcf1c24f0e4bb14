"""Video differencing: closed accuracy, and open recall given a judge's matches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import viddiff
from tal.annotations.viddiff import SPLITS, Match, Sample, Statement
from tal.datasets.kinds.differencing import DifferencingProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.by_video import REPEATED, read, shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally
from tal.metrics.differencing import CODES, NO_ANSWER, OTHER_ANSWER, chance_p_value, difference_scores, flipped

Ints = NDArray[np.int64]


def run(
    protocol: DifferencingProtocol,
    annotations: Sequence[Sample] | Path | str,
    predictions: Mapping[str, Mapping[str, Any]] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score statements of differences; a statement without an answer is wrong.

    Args:
        protocol: The rules.
        annotations: VidDiffBench's rows: a file that `tal.annotations.viddiff` reads, or samples.
        predictions: A file that it reads, or {sample_key: {KEY: "a" or {"description", "prediction"}}}.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, another number of samples without keys, no sample in common, or the open
            mode without matches.
    """
    if protocol.mode == "open" and protocol.matches is None:
        raise ConfigError(
            "the open mode needs matches of the predicted statements to the annotated differences",
            cause="they are a language model's judgement, which is not part of this evaluation",
            todo="give them with --matches FILE",
        )
    tally = Tally()
    truth = _truth(protocol, annotations, inputs)
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    listed = _listed(predictions, truth, inputs, source)
    found = dict(listed)
    tally.drop(REPEATED, len(listed) - len(found))
    predicted = read(found, tally)
    ours = shared(truth, found, tally, source)
    if protocol.mode == "open" and protocol.matches is not None:
        matches = viddiff.parse_matches(inputs.read(protocol.matches), protocol.matches)
        if not set(matches) & set(truth):
            raise AnnotationError(f"{protocol.matches}: none of its samples is in the annotations")
        answers = {
            key: _matched(protocol, sample, ours.get(key, {}), matches.get(key, {}), tally)
            for key, sample in truth.items()
        }
    else:
        answers = {key: _closed(sample, ours.get(key, {}), tally) for key, sample in truth.items()}
    metrics, per_class, count = _scores(protocol, truth, answers, tally)
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=truth,
            with_predictions=ours,
            ground_truth=count,
            predictions=predicted,
            predictions_evaluated=len(ours),
        ),
        metrics=metrics,
        per_class=per_class,
    )


def _truth(protocol: DifferencingProtocol, annotations: Any, inputs: Inputs) -> dict[str, Sample]:
    samples: Sequence[Sample] = (
        viddiff.parse_samples(inputs.read(annotations), annotations)
        if isinstance(annotations, Path | str)
        else annotations
    )
    wanted = protocol.subset
    chosen = [each for each in samples if wanted is None or each.split.lower() == wanted.lower()]
    if not chosen:
        there = ", ".join(sorted({each.split or "(none)" for each in samples}))
        raise AnnotationError(f"no sample of split {wanted!r}", expected=f"one of {there}")
    truth = {each.key: each for each in chosen}
    if len(truth) < len(chosen):
        raise AnnotationError("a sample stands twice in the annotations", expected="every sample_key once")
    return truth


def _listed(
    predictions: Any, truth: Mapping[str, Sample], inputs: Inputs, source: str
) -> list[tuple[str, Mapping[str, Statement]]]:
    """(sample, its statements); without keys they stand in the samples' order."""
    if not isinstance(predictions, Path | str):
        return [(key, viddiff.statements_of(each, f"sample {key!r}")) for key, each in predictions.items()]
    entries = viddiff.parse_statements(inputs.read(predictions), predictions)
    if all(key for key, _, _ in entries):
        return [(key, statements) for key, statements, _ in entries]
    if any(key for key, _, _ in entries) or len(entries) != len(truth):
        raise AnnotationError(
            f"{source}: {len(entries)} entries without sample_key for {len(truth)} samples",
            expected="one entry per sample, in the annotations' order, or {sample_key: ...}",
            todo="choose the split of the predictions with --subset" if len(entries) < len(truth) else "",
        )
    return [(key, statements) for key, (_, statements, _) in zip(truth, entries, strict=True)]


def _closed(sample: Sample, statements: Mapping[str, Statement], tally: Tally) -> dict[str, int]:
    tally.drop("statement that is not in the sample", sum(key not in sample.answers for key in statements))
    return {key: _code(statements.get(key), tally) for key in sample.answers}


def _matched(
    protocol: DifferencingProtocol,
    sample: Sample,
    statements: Mapping[str, Statement],
    matches: Mapping[str, Match],
    tally: Tally,
) -> dict[str, int]:
    """The answer that a sample's matched statements give to each of its differences."""
    allowed = len(statements) if protocol.excess == "keep" or sample.allowed is None else sample.allowed
    tally.drop("statement beyond the allowed number", max(0, len(statements) - allowed))
    kept = dict(list(statements.items())[:allowed])
    by_words = {each.description: key for key, each in reversed(kept.items())}
    used: set[str] = set()
    answers = {}
    for key in sample.answers:
        match = matches.get(key)
        chosen = None if match is None else match.key or by_words.get(match.description or "")
        if match is not None and chosen not in kept:
            tally.drop("match to a statement that is not there", 1)
            chosen = None
        if chosen in used and protocol.matched_twice == "first":
            tally.drop("statement matched to a second difference", 1)
            chosen = None
        if chosen is None or match is None:
            answers[key] = NO_ANSWER
            continue
        used.add(chosen)
        answers[key] = int(flipped([_code(kept[chosen], tally)], [match.opposite])[0])
    tally.drop("statement without a match", sum(key not in used for key in kept))
    return answers


def _code(statement: Statement | None, tally: Tally) -> int:
    if statement is None or statement.answer is None:
        return NO_ANSWER
    if statement.answer not in CODES:
        tally.drop("answer that is not a, b or c (wrong)", 1)
    return CODES.get(statement.answer, OTHER_ANSWER)


def _scores(
    protocol: DifferencingProtocol, truth: Mapping[str, Sample], answers: Mapping[str, Mapping[str, int]], tally: Tally
) -> tuple[dict[str, float], dict[str, dict[str, float]], int]:
    """(metrics, the same per split, number of statements judged); the mean is over splits, each weighing alike."""
    splits = sorted({each.split for each in truth.values()}, key=lambda name: (*SPLITS, name).index(name))
    name = "accuracy" if protocol.mode == "closed" else "recall"
    if protocol.subset is None and set(splits) != set(SPLITS):
        tally.warn(f"the mean is over the splits {', '.join(splits)}; the benchmark has {', '.join(SPLITS)}")
    per_split: dict[str, dict[str, float]] = {}
    right = count = unanswered = 0
    for split in splits:
        keys = [(key, each) for key, sample in truth.items() if sample.split == split for each in sample.answers]
        found = difference_scores(
            [answers[key][each] for key, each in keys], [CODES[truth[key].answers[each]] for key, each in keys]
        )
        if not found.count:
            tally.warn(f"split {split!r} has no difference whose answer is a or b: it is left out")
            continue
        tally.exclude("no discernible difference", len(keys) - found.count)
        right, count = right + found.right, count + found.count
        unanswered += round(found.no_match * found.count)
        values = {name: found.accuracy, "p-value": chance_p_value(found.right, found.count)}
        if protocol.mode == "open":
            values = {
                name: found.accuracy,
                "err_nomatch": found.no_match,
                "err_flippedpred": found.flipped,
                "matched": 1 - found.no_match,
            }
        per_split[split] = values | {"ground_truth": found.count}
    if not per_split:
        raise AnnotationError("no difference whose answer is a or b", expected="ground truth to evaluate against")
    metrics = {
        each: float(np.mean([values[each] for values in per_split.values()]))
        for each in next(iter(per_split.values()))
        if each not in ("ground_truth", "p-value")
    }
    if protocol.mode == "closed":
        if unanswered:
            tally.warn(f"{unanswered} of {count} statements have no answer: they are wrong")
        metrics["p-value"] = chance_p_value(right, count)
    if len(per_split) > 1:
        metrics |= {
            f"{split}/{each}": value
            for split, values in per_split.items()
            for each, value in values.items()
            if each != "ground_truth"
        }
    return metrics, per_split, count
