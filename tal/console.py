"""What a person sees while something runs: log lines and progress bars, quiet when nobody is watching."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import TypeVar

from tal.errors import TalError, VideoError

Item = TypeVar("Item")

_PATIENCE_S = 2.0


def set_up_logging(level: str = "info") -> None:
    """Send `tal`'s log lines to stderr, from `level` ("debug", "info", "warning", "error") upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s" if level != "debug" else "%(asctime)s %(name)s %(message)s"))
    logger = logging.getLogger("tal")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items; on a terminal, a progress bar appears once it has taken over two seconds."""
    if not sys.stderr.isatty():
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    began = time.monotonic()
    iterator = enumerate(items, start=1)
    for done, item in iterator:
        yield item
        if time.monotonic() - began > _PATIENCE_S:
            yield from _with_bar((rest for _, rest in iterator), label, total, done)
            return


def _with_bar(items: Iterable[Item], label: str, total: int | None, done: int) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


@contextmanager
def meter(label: str, total: float) -> Iterator[Callable[[float], None]]:
    """Give a function to call with how much of `total` is done; on a terminal, a bar shows it after two seconds."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(label, total=total)
    began = time.monotonic()

    def show(done: float) -> None:
        progress.update(task, completed=done)
        if not progress.live.is_started and time.monotonic() - began > _PATIENCE_S:
            progress.start()

    try:
        yield show
    finally:
        progress.stop()


def tell_failed(failed: Mapping[str, TalError]) -> None:
    """Print what went wrong, by video; what help there is, once for all that it is for."""
    told: set[tuple[str, ...]] = {()}
    for video, error in failed.items():
        reason = f"{error.stage} failed: {error.reason}" if isinstance(error, VideoError) else error.given
        print(f"  failed: {video}: {reason}")
        if error.help not in told:
            told.add(error.help)
            print("\n".join(f"  {line}" for line in error.help))
