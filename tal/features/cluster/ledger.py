"""Ledger: which videos are left, who works on which, and what became of them. One for a run; knows nothing of Ray."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tal.features.store import Failure

KILLS = 2
"""A video in whose hands a worker ended so often is recorded as failed."""

LOSSES = 5
"""A video that was lost with its node so often is treated as if it had ended its worker."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a video.

    Args:
        video: The id.
        kind: "ended": it ended its worker KILLS times, and nothing is recorded yet.
        failure: Of "failed".
        replaced: "done" anew, because its file was replaced.
        video_s: Its duration, of "done".
    """

    video: str
    kind: Literal["done", "skipped", "failed", "ended"]
    failure: Failure | None = None
    replaced: bool = False
    video_s: float = 0.0


@dataclass(kw_only=True)
class _Job:
    path: Path
    kills: int = 0
    losses: int = 0


@dataclass(kw_only=True)
class _Worker:
    """Videos in a worker's hands. `alone`: it has one that may end it, and gets no other beside."""

    videos: set[str] = field(default_factory=set)
    alone: bool = False


class Ledger:
    """Hands out videos, each to one worker at a time, and again where a worker was lost.

    A worker that ends, ends for one of the videos in its hands or for none. All of them wait until the others are
    done, and then run alone, one per worker: which one it was shows then, and it takes no other with it.

    Args:
        videos: id -> path.
    """

    def __init__(self, videos: Mapping[str, Path]) -> None:
        self._jobs = {video: _Job(path=path) for video, path in videos.items()}
        self._left = deque(videos)
        self._suspects: deque[str] = deque()
        self._workers: dict[int, _Worker] = {}
        self._again: set[str] = set()
        self._outcomes: list[Outcome] = []
        self._stopped = False

    def take(self, worker: int) -> tuple[str, Path] | None:
        """The next video for a worker; None if there is none for it now."""
        hands = self._workers.setdefault(worker, _Worker())
        if self._stopped or hands.alone:
            return None
        if self._left:
            video = self._left.popleft()
        elif self._suspects and not hands.videos:
            video, hands.alone = self._suspects.popleft(), True
        else:
            return None
        hands.videos.add(video)
        return video, self._jobs[video].path

    def ended(self, worker: int, outcome: Outcome) -> None:
        """A worker is through with a video. What comes from a worker that was given up counts for nothing."""
        hands = self._workers.get(worker)
        if hands is None or outcome.video not in hands.videos:
            return
        self._release(hands, outcome.video)
        if outcome.kind == "skipped" and outcome.video in self._again:  # finished by a worker that was lost then
            outcome = Outcome(video=outcome.video, kind="done")
        self._outcomes.append(outcome)

    def lost(self, worker: int, videos: Iterable[str] | None, *, blame: bool) -> None:
        """Videos were in the hands of something that ended.

        Args:
            worker: The worker that had them.
            videos: Which; None for all of the worker's.
            blame: It ended while its node lives on, perhaps for one of them.
        """
        hands = self._workers.setdefault(worker, _Worker())
        for video in list(hands.videos if videos is None else hands.videos.intersection(videos)):
            self._release(hands, video)
            self._again.add(video)
            job = self._jobs[video]
            job.losses += not blame
            job.kills += blame or job.losses >= LOSSES
            if job.kills >= KILLS:
                self._outcomes.append(Outcome(video=video, kind="ended"))
            elif blame or job.losses >= LOSSES:
                self._suspects.append(video)
            else:
                self._left.appendleft(video)

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopped = True

    def stopped(self) -> bool:
        """Whether workers are to leave what they have."""
        return self._stopped

    def news(self, known: int) -> tuple[Sequence[Outcome], bool, bool]:
        """(outcomes after the first `known`, whether there is something to hand out, whether all are through)."""
        return (
            self._outcomes[known:],
            bool(self._left or self._suspects) and not self._stopped,
            len(self._outcomes) == len(self._jobs),
        )

    def _release(self, hands: _Worker, video: str) -> None:
        hands.videos.discard(video)
        if not hands.videos:
            hands.alone = False
