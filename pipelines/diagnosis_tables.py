"""A diagnosis as tables for people; they fit a narrow terminal too, where names are folded and never numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tal.diagnosis.cases import MISSED, Case
from tal.diagnosis.result import Comparison, Diagnosis, VideoChange
from tal.pipelines.evaluation_tables import told
from tal.report.diagnosis_words import BUCKETS_OF, ERROR_NAMES, ORACLE_NAMES, UNITS, bucket_range, p_value, seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 76
_NARROWEST = 64
"""Below it lines go on in the next one: a number is never cut."""

_BUDGETS = (1, 2, 3, 5, 10)
_FEW_BUDGETS = (1, 2, 3)
_CLASSES = 8
_VIDEOS = 3


def show(result: Diagnosis, *, per_class: bool = False) -> None:
    """Print a diagnosis; all classes, or those that lose most."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.width = max(console.width, _NARROWEST)
    wide = console.width >= _WIDE
    evaluation = result.evaluation
    console.print(f"[bold]{escape(evaluation.title)}[/] ({escape(evaluation.protocol)}): diagnosis\n")
    console.print(_overall(result))
    for line in told(evaluation):
        console.print(escape(line), style="dim")
    for note in (*evaluation.warnings, *result.notes):
        console.print(f"[yellow]note:[/] {escape(note)}")
    _section(console, "What if it were perfect?", "mAP gained by mending that alone", _what_if(result, wide))
    budgets = _BUDGETS if wide else _FEW_BUDGETS
    _section(
        console,
        "False positives",
        "of each class the first G predictions, the second G, ... (G: its instances); mAP gained without that kind",
        _false_positives(result, budgets),
    )
    _sensitivity(console, result, wide)
    names = "All classes" if per_class else "Classes that lose most"
    _section(console, names, "", _classes(result, wide, None if per_class else _CLASSES))
    if result.comparison is not None:
        _compared(console, result.comparison)
    if result.cases:
        about = f"at tIoU {result.case_tiou:g}; the page (--html FILE) shows more of them, on the timeline"
        _section(console, "The worst error of each kind", about, _cases(result))


def _section(console: Console, title: str, about: str, table: Table) -> None:
    console.print(f"\n[bold]{title}[/]")
    if about:
        console.print(about, style="dim")
    console.print(table)


def _table(*columns: str, names: int = 1) -> Table:
    """A table of which the first columns hold names, which fold, and the others numbers, which never do."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, column in enumerate(columns):
        if position < names:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _overall(result: Diagnosis) -> Table:
    table = _table("tIoU", "mAP", "95 % interval over videos" if result.intervals else "")
    for name in ("mAP", *(f"mAP@{threshold}" for threshold in result.thresholds)):
        interval = result.intervals.get(name)
        told_interval = "" if interval is None else f"{_number(interval.low)} to {_number(interval.high)}"
        row = (name.partition("@")[2] or "mean", _number(result.evaluation.metrics[name]), told_interval)
        table.add_row(*row, style="bold" if name == "mAP" else None)
    return table


def _what_if(result: Diagnosis, wide: bool) -> Table:
    table = _table("", "+ mAP", "")
    table.columns[2].justify = "left"
    largest = max(each["mAP"] for each in result.what_if.values())
    for name, gains in result.what_if.items():
        table.add_row(ORACLE_NAMES[name], _gain(gains["mAP"]), _bar(gains["mAP"], largest, 24 if wide else 8))
    return table


def _false_positives(result: Diagnosis, budgets: tuple[int, ...]) -> Table:
    found = result.false_positives
    shares = found.shares()
    table = _table("", *(f"{budget}G" for budget in budgets), "+ mAP")
    for kind in shares[0]:
        cells = (_share(shares[budget - 1][kind]) for budget in budgets)
        gain = _gain(found.gain[kind]["mAP"]) if kind in found.gain else ""
        table.add_row(ERROR_NAMES[kind], *cells, gain)
    return table


def _sensitivity(console: Console, result: Diagnosis, wide: bool) -> None:
    about = f"normalised mAP of instances that are alike (of all: {result.normalised_mAP:.4f}), and the share not found"
    console.print(f"\n[bold]Sensitivity[/]\n[dim]{about} ({result.not_found:.3f})[/]")
    for characteristic in result.characteristics:
        heading = f"{characteristic.name}, {characteristic.about}"
        console.print(f"{heading} [dim]({BUCKETS_OF[characteristic.scheme]})[/]")
        table = _table("", "instances", "mAP_N", "not found", *([""] if wide else []))
        table.columns[0].min_width = 22
        if wide:
            table.columns[4].justify = "left"
        for position, bucket in enumerate(characteristic.buckets):
            cells = [_number(bucket.mAP_N), _number(bucket.not_found, 3)]
            bar = [_bar(bucket.mAP_N, 1.0, 24)] if wide else []
            limits = bucket_range(characteristic.name, bucket, first=position == 0)
            name = f"  {bucket.name:<3} {limits} {UNITS[characteristic.name]}".rstrip()
            table.add_row(name, str(bucket.instances), *cells, *bar)
        if characteristic.outside:
            table.add_row("  unknown, or outside", str(characteristic.outside), "", "", *([""] if wide else []))
        console.print(table)


def _classes(result: Diagnosis, wide: bool, count: int | None) -> Table:
    """The first classes, or all of them and, where there is room, with their intervals."""
    from rich.markup import escape

    rows = sorted(result.per_class.items(), key=lambda item: item[1].AP)[:count]
    intervals = wide and count is None and bool(result.intervals)
    further = ["95 % interval"] if intervals else ["predicted", "recall"] if wide else []
    table = _table("class", "main loss", "AP", "instances", *further, "gain", names=2)
    for name, row in rows:
        cells = [str(row.predictions), _number(row.recall, 3)] if wide else []
        if intervals and row.interval is not None:
            cells = [f"{_number(row.interval.low, 3)} to {_number(row.interval.high, 3)}"]
        loss = ERROR_NAMES.get(row.main_loss, "")
        table.add_row(escape(name), loss, _number(row.AP), str(row.instances), *cells, _gain(row.gain))
    return table


def _compared(console: Console, comparison: Comparison) -> None:
    from rich.markup import escape

    about = f"first: {escape(comparison.first)}\nsecond: {escape(comparison.second)}"
    table = _table("tIoU", "first", "second", "difference", "95 % interval", "p")
    for name, row in comparison.metrics.items():
        interval = f"{row.interval.low:+.4f} to {row.interval.high:+.4f}"
        table.add_row(
            name.partition("@")[2] or "mean",
            _number(row.first),
            _number(row.second),
            f"{row.second - row.first:+.4f}",
            interval,
            p_value(row.p),
            style="bold" if name == "mAP" else None,
        )
    _section(console, "Comparison", about, table)
    permuted = p_value(comparison.p_permutation)
    console.print(
        f"p: paired bootstrap over videos, two-sided; permutation test of the mAP: p = {permuted}", style="dim"
    )
    changed = sorted(comparison.per_class.items(), key=lambda item: item[1].second - item[1].first)
    table = _table("class", "first", "second", "difference", "p")
    chosen = changed if len(changed) <= 2 * _VIDEOS else [*changed[:_VIDEOS], *changed[-_VIDEOS:]]
    for name, row in reversed(chosen):
        cells = (_number(row.first), _number(row.second), f"{row.second - row.first:+.4f}", p_value(row.p))
        table.add_row(escape(name), *cells)
    _section(console, "Classes that gained and lost most", "", table)
    if comparison.gained or comparison.lost:
        table = _table("video", "instances", "first", "second")
        for each in (*comparison.gained[:_VIDEOS], *reversed(comparison.lost[:_VIDEOS])):
            table.add_row(*_changed(each))
        _section(console, "Videos that gained and lost most", "mAP within the video alone", table)


def _changed(video: VideoChange) -> tuple[str, ...]:
    from rich.markup import escape

    return escape(video.video), str(video.instances), _number(video.first), _number(video.second)


def _cases(result: Diagnosis) -> Table:
    from rich.markup import escape

    table = _table("", "class", "video", "where", "score", names=4)
    first: dict[str, Case] = {}
    for case in result.cases:
        first.setdefault(case.kind, case)
    for kind, case in first.items():
        where = f"{seconds(case.span.start_s)} to {seconds(case.span.end_s)}"
        score = "" if case.kind == MISSED or case.span.score is None else f"{case.span.score:.3g}"
        table.add_row(ERROR_NAMES[kind], escape(case.span.label), escape(case.video), where, score)
    return table


def _bar(value: float, largest: float, cells: int) -> str:
    if not value > 0 or not largest > 0:
        return ""
    return "━" * max(1, round(cells * value / largest))


def _number(value: float, digits: int = 4) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _gain(value: float) -> str:
    return f"{value:+.4f}" if abs(value) >= 5e-5 else "0"
