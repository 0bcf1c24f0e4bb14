"""The sections of a diagnosis page that hold numbers."""

from collections.abc import Iterable, Sequence
from math import isnan

from tal.diagnosis.errors import NAMES
from tal.diagnosis.result import Characteristic, ClassRow, Comparison, Diagnosis, Difference, VideoChange
from tal.report import diagnosis_plots as plots
from tal.report.diagnosis_svg import box, svg, tag, text
from tal.report.diagnosis_words import (
    BUCKETS_OF,
    ERROR_MEANINGS,
    ERROR_NAMES,
    ORACLE_MEANINGS,
    ORACLE_NAMES,
    bucket_range,
    p_value,
    short_range,
)

_CLASS_ROWS = 24
"""Of so many classes the differences are drawn: those that changed most."""

_THRESHOLDS = 5
"""The table of classes has a column for each of up to so many; of more the first, middle and last."""


def header(result: Diagnosis) -> str:
    """Title, files, and the number that it is all about."""
    evaluation = result.evaluation
    interval = result.intervals.get("mAP")
    about = "" if interval is None else f"95 % interval over videos: {interval.low:.4f} to {interval.high:.4f}"
    counts = evaluation.counts
    line = (
        f"{counts['videos']} videos, {counts['ground_truth']} instances of {len(result.per_class)} classes, "
        f"{counts['predictions_evaluated']} predictions"
    )
    return tag(
        "header",
        tag("div", tag("h1", text(f"{evaluation.title}: diagnosis")), tag("p", text(line), class_="soft")),
        tag(
            "div",
            tag("span", text(f"mAP over tIoU {' '.join(result.thresholds)}"), class_="soft"),
            tag("b", f"{evaluation.metrics['mAP']:.4f}"),
            tag("span", text(about), class_="soft"),
            class_="headline",
        ),
    )


def footer(result: Diagnosis, facts: Sequence[tuple[str, str]]) -> str:
    """The files with their hashes, and the rules."""
    evaluation = result.evaluation
    rows = [*facts, ("protocol", evaluation.protocol)]
    rows += [(name.replace("_", " "), _plain(value)) for name, value in evaluation.options.items() if value is not None]
    rows += [(path, f"SHA-256 {digest}") for path, digest in evaluation.inputs.items()]
    rows += [("resamples", f"{result.resamples}, seed {result.seed}")] if result.intervals else []
    return tag("footer", tag("dl", "".join(tag("dt", text(name)) + tag("dd", text(value)) for name, value in rows)))


def overall(result: Diagnosis) -> str:
    """mAP per threshold with intervals, and what each oracle would gain."""
    names = ["mAP", *(f"mAP@{threshold}" for threshold in result.thresholds)]
    rows = []
    for name in names:
        value, interval = result.evaluation.metrics[name], result.intervals.get(name)
        low, high = (interval.low, interval.high) if interval else (value, value)
        hint = f"{name} {value:.4f}, {low:.4f} to {high:.4f}"
        shown = "mean" if name == "mAP" else f"tIoU {name.partition('@')[2]}"
        rows.append(plots.Interval(name=shown, value=value, low=low, high=high, hint=hint))
    gains = [
        ("o-gain", ORACLE_NAMES[name], each["mAP"], ORACLE_MEANINGS[name]) for name, each in result.what_if.items()
    ]
    drawn = f"Bars: 95 % intervals, from {result.resamples} draws of the videos with replacement, less the draws' bias."
    meanings = "; ".join(f"{ORACLE_NAMES[name]}: {ORACLE_MEANINGS[name]}" for name in result.what_if)
    notes = "".join(tag("p", text(note), class_="note") for note in (*result.evaluation.warnings, *result.notes))
    return notes + _figures(
        _figure("mAP", plots.intervals(rows, label="mAP per tIoU with intervals"), drawn if result.intervals else ""),
        _figure(
            "What if one thing were perfect?",
            plots.gain_bars(gains, label="mAP gained by each oracle"),
            f"mAP gained by mending that alone. {meanings}.",
        ),
        wide=True,
    )


def false_positives(result: Diagnosis) -> str:
    """The profile over budgets, and what removing each kind would gain."""
    found = result.false_positives
    shares = found.shares()
    last = max((number for number, each in enumerate(shares, start=1) if not isnan(each["background"])), default=1)
    beyond = f" There are no predictions beyond {last}G." if last < len(shares) else ""
    names = [f"{budget}G" for budget in range(1, last + 1)]
    kinds = {kind: f"{name} ({ERROR_MEANINGS[kind]})" for kind, name in ERROR_NAMES.items() if kind in NAMES.values()}
    legend = "".join(
        tag("li", tag("span", class_=f"key k-{kind}"), text(ERROR_NAMES[kind]), title=ERROR_MEANINGS[kind])
        for kind in kinds
    )
    gains = [
        (f"k-{kind}", ERROR_NAMES[kind], gain["mAP"], f"normalised, first 10G: {found.normalised_gain[kind]:+.4f}")
        for kind, gain in found.gain.items()
    ]
    meanings = "; ".join(f"{ERROR_NAMES[kind]}: {ERROR_MEANINGS[kind]}" for kind in found.gain)
    return _figures(
        _figure(
            "What the predictions are",
            plots.stacked_bars(names, shares[:last], kinds, label="Share of each kind per budget")
            + tag("ul", legend, class_="legend"),
            "Of each class the first G predictions, the second G, ...; G: the number of its instances. "
            f"Mean over the thresholds.{beyond}",
        ),
        _figure(
            "mAP gained without them",
            plots.gain_bars(gains, label="mAP gained by removing each kind"),
            f"{meanings}.",
        ),
        wide=True,
    ) + _details("Per threshold", _profile_table(result))


def _profile_table(result: Diagnosis) -> str:
    found = result.false_positives
    kinds = list(ERROR_NAMES)[: len(NAMES)]
    rows = []
    for threshold, budgets in found.counts.items():
        for position, counts in enumerate(budgets, start=1):
            if sum(counts.values()):
                rows.append([threshold, f"{position}G", *(str(counts[kind]) for kind in kinds)])
    gains = [
        [threshold, "+ mAP", "", *(f"{found.gain[kind][f'mAP@{threshold}']:+.4f}" for kind in kinds[1:])]
        for threshold in found.counts
    ]
    header_row = ["tIoU", "budget", *(ERROR_NAMES[kind] for kind in kinds)]
    return _table(header_row, [*rows, *gains], names=2, tall=True)


def sensitivity(result: Diagnosis) -> str:
    """Normalised mAP and misses per bucket."""
    if not result.characteristics:
        return ""
    about = (
        "Normalised mAP (AP_N): precision as if every class had "
        f"{result.normal:.1f} instances, so that buckets of different sizes compare. Not found: instances that nothing "
        "takes where normalised precision is above 0.05. Dashed: all instances."
    )
    figures = []
    for each in result.characteristics:
        figures.append(_bucket_figure(each, "mAP_N", result.normalised_mAP))
    for each in result.characteristics:
        figures.append(_bucket_figure(each, "not found", result.not_found))
    return tag("p", text(about), class_="about") + _figures(*figures)


def _bucket_figure(each: Characteristic, what: str, overall_value: float) -> str:
    ranges = [bucket_range(each.name, bucket, first=number == 0) for number, bucket in enumerate(each.buckets)]
    values = [bucket.mAP_N if what == "mAP_N" else bucket.not_found for bucket in each.buckets]
    names = [(bucket.name, short_range(limits)) for bucket, limits in zip(each.buckets, ranges, strict=True)]
    hints = [f"{limits}: {bucket.instances} instances" for bucket, limits in zip(each.buckets, ranges, strict=True)]
    outside = f" {each.outside} instances are in no bucket: not known, or outside." if each.outside else ""
    counts = ", ".join(str(bucket.instances) for bucket in each.buckets)
    return _figure(
        f"{what} by {each.name}",
        plots.bars(
            names,
            values,
            label=f"{what} by {each.name}",
            class_="b-map" if what == "mAP_N" else "b-missed",
            overall=overall_value,
            hints=hints,
        ),
        f"{each.about[:1].upper()}{each.about[1:]}; {BUCKETS_OF[each.scheme]}; instances: {counts}.{outside}",
    )


def classes(result: Diagnosis) -> str:
    """All classes, those that lose most first."""
    rows = sorted(result.per_class.items(), key=lambda item: item[1].AP)
    with_intervals = any(row.interval for _, row in rows)
    head = ["class", "main loss", "gain", "AP", "", *(["95 % interval"] if with_intervals else [])]
    thresholds = result.thresholds
    if len(thresholds) > _THRESHOLDS:
        thresholds = [thresholds[0], thresholds[len(thresholds) // 2], thresholds[-1]]
    head += ["instances", "predictions", "recall", "AP_N", "not found", *thresholds]
    body = [_class_cells(name, row, thresholds, with_intervals) for name, row in rows]
    about = (
        "Lowest AP first. Main loss: the kind of error without which AP would gain most; recall: share of the "
        "instances that some prediction takes; both on average over the thresholds."
    )
    return tag("p", text(about), class_="about") + _table(head, body, names=2, tall=True, raw=frozenset({4}))


def _class_cells(name: str, row: ClassRow, thresholds: Sequence[str], with_intervals: bool) -> list[str]:
    bar = svg(120, 12, f"AP {row.AP:.2f}", box(0, 2, 120 * row.AP, 8, "b-map"))
    interval = f"{row.interval.low:.3f} to {row.interval.high:.3f}" if row.interval else ""
    cells = [name, ERROR_NAMES.get(row.main_loss, ""), f"{row.gain:+.4f}", f"{row.AP:.4f}", bar]
    cells += [interval] if with_intervals else []
    return [
        *cells,
        str(row.instances),
        str(row.predictions),
        f"{row.recall:.3f}",
        f"{row.AP_N:.3f}",
        f"{row.not_found:.3f}",
        *(f"{row.at[threshold]:.3f}" for threshold in thresholds),
    ]


def comparison(result: Diagnosis) -> str:
    """The second predictions against the first; nothing where there is only one."""
    found = result.comparison
    if found is None:
        return ""
    whole = found.metrics["mAP"]
    verdict = (
        f"mAP {whole.first:.4f} → {whole.second:.4f}: {whole.second - whole.first:+.4f}, 95 % interval "
        f"{whole.interval.low:+.4f} to {whole.interval.high:+.4f}; "
        f"p = {p_value(whole.p)} (paired bootstrap over videos), p = {p_value(found.p_permutation)} (permutation test)"
    )
    per_class = sorted(found.per_class.items(), key=lambda item: item[1].second - item[1].first, reverse=True)
    most = sorted(per_class, key=lambda item: -abs(item[1].second - item[1].first))[:_CLASS_ROWS]
    kept = {name for name, _ in most}
    shown = f"The {len(kept)} that changed most of {len(per_class)}. " if len(kept) < len(per_class) else ""
    return (
        tag("p", text(f"first: {found.first}"), class_="soft")
        + tag("p", text(f"second: {found.second}"), class_="soft")
        + tag("p", text(verdict))
        + _figures(
            _differences("Difference of mAP, second minus first", found.metrics.items(), ""),
            _differences(
                "Difference of AP per class",
                [item for item in per_class if item[0] in kept],
                f"{shown}Bars: 95 % intervals from draws of videos, the same for both.",
            ),
            wide=True,
        )
        + _changes(found)
    )


def _differences(title: str, rows: Iterable[tuple[str, Difference]], about: str) -> str:
    drawn = [
        plots.Interval(
            name=name if len(name) <= 20 else f"{name[:19]}…",
            value=row.second - row.first,
            low=row.interval.low,
            high=row.interval.high,
            hint=f"{name}: {row.first:.4f} to {row.second:.4f}, p = {p_value(row.p)}",
        )
        for name, row in rows
    ]
    return _figure(title, plots.intervals(drawn, label=title, signed=True), about)


def _changes(found: Comparison) -> str:
    def table(title: str, rows: Sequence[VideoChange]) -> str:
        cells = [[each.video, str(each.instances), *_change(each.first, each.second)] for each in rows]
        nothing = tag("p", "None.", class_="soft")
        head = ["video", "instances", "first", "second", "difference"]
        return _figure(title, _table(head, cells) if cells else nothing, "mAP within the video alone.")

    return _figures(
        table("Videos that gained most", found.gained), table("Videos that lost most", found.lost), wide=True
    )


def _change(first: float, second: float) -> list[str]:
    return [f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}"]


def _figures(*figures: str, wide: bool = False) -> str:
    return tag("div", *figures, class_="figures wide" if wide else "figures")


def _figure(title: str, inside: str, about: str) -> str:
    caption = tag("figcaption", text(about)) if about else ""
    return tag("figure", tag("h3", text(title)), inside, caption)


def _details(title: str, inside: str) -> str:
    return tag("details", tag("summary", text(title)), inside)


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    names: int = 1,
    tall: bool = False,
    raw: frozenset[int] = frozenset(),
) -> str:
    """A table of which the first columns hold names, the others numbers; cells are escaped but for columns in `raw`."""
    kinds = [None if column < names else "number" for column in range(len(head))]

    def cell(column: int, value: str) -> str:
        return tag("td", value if column in raw else text(value), class_=kinds[column], title=_full(value, column))

    header_row = "".join(tag("th", text(name), class_=kind) for name, kind in zip(head, kinds, strict=True))
    body = "".join(tag("tr", *(cell(column, value) for column, value in enumerate(row))) for row in rows)
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", header_row)), tag("tbody", body)),
        class_="scroll tall" if tall else "scroll",
        tabindex=0,
    )


def _full(cell: str, column: int) -> str | None:
    """What a name that is cut says under the pointer."""
    return cell if column == 0 and len(cell) > 24 else None


def _plain(value: object) -> str:
    return " ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
