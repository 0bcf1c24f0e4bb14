"""Writer: features go into their stores in a thread of its own, so that the network does not wait for the disk."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tal.errors import FeatureError
from tal.features.clips import Outputs
from tal.features.files import WriteError
from tal.features.rows import Rows
from tal.features.store import Failure, FeatureStore, State
from tal.timeline import SnippetGrid

_WAITING = 64

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a video's record will say beside its features.

    Args:
        duration_s, source, losses: See `FeatureStore.write`.
        state: How the video stood before.
    """

    duration_s: float
    source: Mapping[str, Any]
    losses: tuple[str, ...] = ()
    state: State = "new"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a video: finished, or the failure that was recorded."""

    video: str
    finished: Finished | None = None
    failure: Failure | None = None


@dataclass(kw_only=True)
class _Video:
    rows: dict[str, Rows] = field(default_factory=dict)
    failure: tuple[str, str] | None = None


class Writer:
    """Appends features to their stores as they come, one store per output of the backbone.

    What is asked for is done in that order. A store that cannot be written ends everything: the next call raises that.

    Args:
        stores: Output of the backbone -> store.
        grid: Number of snippets -> their time.
    """

    def __init__(self, stores: Mapping[str, FeatureStore], grid: Callable[[int], SnippetGrid]) -> None:
        self._stores, self._grid = stores, grid
        self._videos: dict[str, _Video] = {}
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(_WAITING)
        self._outcomes: deque[Outcome] = deque()
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="write features", daemon=True)
        self._thread.start()

    def append(self, video: str, outputs: Outputs) -> None:
        """The next snippets of a video; waits where the disk is behind.

        Raises:
            WriteError: a store cannot be written.
        """
        self._ask(lambda: self._append(video, outputs))

    def finish(self, video: str, finished: Finished) -> None:
        """All snippets of a video are there."""
        self._ask(lambda: self._finish(video, finished))

    def fail(self, video: str, stage: str, reason: str, source: Mapping[str, Any]) -> None:
        """Forget what there is of a video, and record why."""
        self._ask(lambda: self._fail(video, stage, reason, source))

    def drop(self, video: str) -> None:
        """Forget what there is of a video."""
        self._ask(lambda: self._drop(video))

    def outcomes(self) -> Iterator[Outcome]:
        """Videos that are through by now."""
        while self._outcomes:
            yield self._outcomes.popleft()

    def end(self) -> None:
        """Wait until everything is written.

        Raises:
            WriteError: a store cannot be written.
        """
        self._ask(None)
        self._thread.join()
        self._check()

    def close(self) -> None:
        """Stop after the job in hand, and remove what is not finished. Does nothing after `end`."""
        self._stop.set()
        with suppress(queue.Full):
            self._jobs.put_nowait(None)
        self._thread.join()
        for video in list(self._videos):
            self._drop(video)

    def _ask(self, job: Callable[[], None] | None) -> None:
        while True:
            self._check()
            with suppress(queue.Full):
                self._jobs.put(job, timeout=0.1)
                return

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not self._stop.is_set() and (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised in the thread that asks
                self._error = error
                return

    def _append(self, name: str, outputs: Outputs) -> None:
        video = self._videos.setdefault(name, _Video())
        if video.failure is not None:
            return
        try:
            for output, store in self._stores.items():
                if output not in video.rows:
                    video.rows[output] = store.writing(name)
                video.rows[output].append(outputs[output])
        except WriteError:
            raise
        except FeatureError as error:
            video.failure = "network", error.given

    def _finish(self, name: str, finished: Finished) -> None:
        video = self._videos.get(name, _Video())
        try:
            for rows in video.rows.values() if video.failure is None else ():
                grid = self._grid(rows.count)
                rows.commit(grid, duration_s=finished.duration_s, source=finished.source, losses=finished.losses)
        except WriteError:
            raise
        except FeatureError as error:
            video.failure = getattr(error, "stage", "network"), error.given
        if video.failure is not None:
            self._fail(name, *video.failure, finished.source)
            return
        self._drop(name)
        self._outcomes.append(Outcome(video=name, finished=finished))

    def _fail(self, name: str, stage: str, reason: str, source: Mapping[str, Any]) -> None:
        self._drop(name)
        _LOG.warning("%s: %s failed: %s", name, stage, reason)
        failures = [
            store.record_failure(name, stage=stage, error=reason, source=source) for store in self._stores.values()
        ]
        self._outcomes.append(Outcome(video=name, failure=failures[0]))

    def _drop(self, name: str) -> None:
        video = self._videos.pop(name, None)
        for rows in video.rows.values() if video is not None else ():
            rows.close()
