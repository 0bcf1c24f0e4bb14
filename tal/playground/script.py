"""What happens in a video: who does what when, and what the camera sees. Decided by chance, in whole milliseconds."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise

from tal.playground.actions import ACTIONS, CLASSES, DISTRACTORS, ROUTINES
from tal.playground.camera import Shot, film
from tal.playground.exact import Dice, sin_deg, smooth
from tal.playground.figure import REST, SHIRTS, Body, Limb, Pose, limbs, random_body
from tal.playground.settings import FORMAT_VERSION, Settings

_FREE_END_MS = 250  # a video ends at rest
_WALK_PER_S = 0.26  # picture heights
_WALK_YAW = 78.0


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One action from start to end.

    Args:
        action: Name in `ACTIONS`.
        start_ms, end_ms: Its time.
        cycles: Per cycle the (phase, time in ms) knots between which the phase runs evenly; a pause is two knots of one
            phase.
        amplitude: How far the joints go, 1 fully.
        mirrored: Left and right exchanged.
        quality: Execution score in [0, 1]: it decides the amplitude and how even the cycles are.
        tempo: Cycle length within its action's range: 0 the quickest, 1 the slowest.
        heading: Turn of the body during a walk, degrees.
    """

    action: str
    start_ms: int
    end_ms: int
    cycles: tuple[tuple[tuple[float, int], ...], ...]
    amplitude: float
    mirrored: bool
    quality: float
    tempo: float
    heading: float = 0.0

    @property
    def labelled(self) -> bool:
        """Whether it is an instance of the ground truth."""
        return ACTIONS[self.action].labelled

    def cycles_ms(self) -> list[tuple[int, int]]:
        """Start and end of each cycle."""
        return [(knots[0][1], knots[-1][1]) for knots in self.cycles]

    def time_of(self, cycle_idx: int, phase: float) -> float:
        """When a cycle reaches a phase, milliseconds."""
        knots = self.cycles[cycle_idx]
        for (phase_a, ms_a), (phase_b, ms_b) in pairwise(knots):
            if phase <= phase_b and phase_b > phase_a:
                return ms_a + (ms_b - ms_a) * (phase - phase_a) / (phase_b - phase_a)
        return knots[-1][1]

    def pose(self, time_ms: float, around: Pose) -> Pose:
        """The pose at a time within it, coming from and going back to the pose `around` it."""
        action = ACTIONS[self.action]
        starts = [knots[0][1] for knots in self.cycles]
        cycle_idx = max(0, bisect_right(starts, time_ms) - 1)
        pose = action.pose(_phase(self.cycles[cycle_idx], time_ms), self.amplitude)
        if self.mirrored != (action.alternates and cycle_idx % 2 == 1):
            pose = pose.mirrored()
        pose = pose._replace(yaw=pose.yaw + self.heading)
        ramp_ms = 1000 * action.ramp_s
        if not ramp_ms:
            share = 1.0
            pose = pose._replace(yaw=pose.yaw + around.yaw)
        else:
            pose = pose._replace(yaw=pose.yaw + (0.0 if self.heading else around.yaw))
            share = min(smooth((time_ms - self.start_ms) / ramp_ms), smooth((self.end_ms - time_ms) / ramp_ms))
        return around.blended(pose, share)


def _phase(knots: tuple[tuple[float, int], ...], time_ms: float) -> float:
    for (phase_a, ms_a), (phase_b, ms_b) in pairwise(knots):
        if time_ms <= ms_b:
            return phase_a + (phase_b - phase_a) * max(0.0, time_ms - ms_a) / (ms_b - ms_a)
    return knots[-1][0]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One figure: its looks, its place, and all that it does.

    Args:
        name: Unique within the video.
        body: Looks.
        yaw: Which way it faces at rest, degrees; 0 towards the viewer.
        ground_y: Height of its feet in the picture, fraction from the top.
        path: (time in ms, x in picture heights) between which it moves evenly.
        performances: In time, not overlapping; distractors included.
        sway_s: Period of its swaying at rest.
    """

    name: str
    body: Body
    yaw: float
    ground_y: float
    path: tuple[tuple[int, float], ...]
    performances: tuple[Performance, ...]
    sway_s: float

    def x_at(self, time_ms: float) -> float:
        """Where it stands, picture heights from the left edge."""
        before = self.path[0]
        for after in self.path[1:]:
            if time_ms < after[0]:
                return before[1] + (after[1] - before[1]) * (time_ms - before[0]) / (after[0] - before[0])
            before = after
        return before[1]

    def pose_at(self, time_ms: float) -> Pose:
        """Its joint angles."""
        sway = sin_deg(360.0 * time_ms / (1000.0 * self.sway_s))
        breath = sin_deg(360.0 * time_ms / 3400.0)
        rest = REST._replace(
            yaw=self.yaw + 2.0 * sway,
            lean=0.8 + 0.8 * breath,
            tilt=1.2 * sway,
            left_arm_flex=4.0 + 2.0 * breath,
            right_arm_flex=4.0 + 2.0 * sway,
        )
        starts = [each.start_ms for each in self.performances]
        position = bisect_right(starts, time_ms) - 1
        if position >= 0 and time_ms < self.performances[position].end_ms:
            return self.performances[position].pose(time_ms, rest)
        return rest

    def limbs_at(self, time_ms: float) -> list[Limb]:
        """Its strokes in body heights, from the farthest to the nearest."""
        return limbs(self.pose_at(time_ms), self.body)


@dataclass(frozen=True, kw_only=True)
class Script:
    """One video before it is drawn.

    Args:
        video: Its id.
        split, index: Which one it is.
        settings: What it was made with.
        actors: From the farthest to the nearest.
        shots: What the camera shows, in time; a new one is a cut.
    """

    video: str
    split: str
    index: int
    settings: Settings
    actors: tuple[Actor, ...]
    shots: tuple[Shot, ...]

    @property
    def dice(self) -> Dice:
        """The video's own stream of chance."""
        return video_dice(self.settings, self.split, self.index)

    def shot_at(self, time_ms: float) -> Shot:
        """What the camera shows at a time."""
        starts = [shot.start_ms for shot in self.shots]
        return self.shots[max(0, bisect_right(starts, time_ms) - 1)]


def video_dice(settings: Settings, split: str, index: int) -> Dice:
    """The stream of one video: splits and indices are independent of each other, sizes and rates share it."""
    return Dice("playground", FORMAT_VERSION, settings.difficulty, settings.seed, split, index)


def write_script(settings: Settings, split: str, index: int) -> Script:
    """Decide what happens in one video."""
    dice = video_dice(settings, split, index)
    hard = settings.difficulty == "hard"
    count = dice.whole(2, 3) if hard else 1
    shirts = dice.shuffled(SHIRTS)[:count]
    actors = []
    for actor_idx, shirt in enumerate(shirts):
        own = dice.child("actor", actor_idx)
        body = random_body(own, height=own.between(0.42, 0.56) if hard else own.between(0.56, 0.68), shirt=shirt)
        place = (actor_idx + 0.5) / count if hard else 0.5
        start_x = settings.aspect * (0.5 + (place - 0.5) * 0.75) + own.between(-0.07, 0.07)
        performances, path = _act(own, settings, start_x)
        actors.append(
            Actor(
                name=f"actor_{actor_idx}",
                body=body,
                yaw=own.between(12.0, 48.0) * own.pick((-1.0, 1.0)),
                ground_y=0.64 + 0.48 * body.height if hard else own.between(0.88, 0.93),
                path=tuple(path),
                performances=tuple(performances),
                sway_s=own.between(2.6, 4.4),
            )
        )
    actors.sort(key=lambda each: each.ground_y)
    span = [x for actor in actors for _, x in actor.path]
    shots = film(dice.child("camera"), settings, min(span), max(span), max(each.ground_y for each in actors))
    return Script(
        video=f"{split}_{index:04d}",
        split=split,
        index=index,
        settings=settings,
        actors=tuple(actors),
        shots=shots,
    )


def _act(dice: Dice, settings: Settings, start_x: float) -> tuple[list[Performance], list[tuple[int, float]]]:
    """One actor's performances and path: steps with rests between, and in the hard setting distractors in the rests."""
    hard = settings.difficulty == "hard"
    end_ms = settings.duration_ms - _FREE_END_MS
    done: list[Performance] = []
    path = [(0, start_x)]
    steps = _Steps(dice.child("steps"))
    now = int(1000 * dice.between(0.4, 1.4 if not hard else 2.5))
    while True:
        step = _first_that_fits(dice, steps, now, end_ms, hard)
        if step is None:
            return done, path
        done.append(step)
        now = step.end_ms
        until = now + int(1000 * (dice.between(0.5, 3.6) if hard else dice.between(0.7, 2.0)))
        if hard:
            now = _fill(dice, settings, now, min(until, end_ms), done, path)
        now = max(now, until)


def _first_that_fits(dice: Dice, steps: _Steps, now: int, end_ms: int, hard: bool) -> Performance | None:
    for _ in range(len(CLASSES)):
        step = _perform(dice, steps.next(), now, hard)
        if step.end_ms <= end_ms:
            return step
    return None


class _Steps:
    """Class names without end: half of the time in routines, half in a shuffled order; never one twice in a row."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._routines = dice.chance(0.5)
        self._deck: list[str] = []
        self._last = ""

    def next(self) -> str:
        if not self._deck:
            if self._routines:
                self._deck = [name for key in self._dice.shuffled(tuple(ROUTINES)) for name in ROUTINES[key]]
            else:
                self._deck = self._dice.shuffled(CLASSES)
        name = self._deck.pop(0)
        if name == self._last:
            return self.next()
        self._last = name
        return name


def _perform(dice: Dice, name: str, start_ms: int, hard: bool, cycle_count: int = 0) -> Performance:
    """A performance of an action that starts at a time."""
    action = ACTIONS[name]
    quality = round(dice.between(0.3, 1.0), 3)
    tempo = dice.between(0.0, 1.0)
    shortest, longest = action.cycle_s
    if hard:  # a wider range of speeds
        shortest, longest = 0.75 * shortest, 1.3 * longest
    count = cycle_count or dice.whole(*action.cycles)
    uneven = 0.05 + 0.3 * (1.0 - quality)
    now = start_ms
    cycles = []
    for _ in range(count):
        length_ms = 1000 * (shortest + (longest - shortest) * tempo) * (1.0 + dice.between(-0.5, 0.5) * uneven)
        knots = _timing(dice, now, max(200, int(length_ms)), hard)
        cycles.append(knots)
        now = knots[-1][1]
    return Performance(
        action=name,
        start_ms=start_ms,
        end_ms=now,
        cycles=tuple(cycles),
        amplitude=(0.55 if hard else 0.75) + (0.45 if hard else 0.25) * quality,
        mirrored=dice.chance(0.5),
        quality=quality,
        tempo=tempo,
    )


def _timing(dice: Dice, start_ms: int, length_ms: int, hard: bool) -> tuple[tuple[float, int], ...]:
    """The knots of one cycle: even if easy; with a change of speed, and at times a pause, if hard."""
    if not hard:
        return (0.0, start_ms), (1.0, start_ms + length_ms)
    middle = start_ms + int(length_ms * dice.between(0.38, 0.62))
    pause_ms = int(1000 * dice.between(0.25, 0.8)) if dice.chance(0.12) else 0
    held = ((0.5, middle + pause_ms),) if pause_ms else ()
    return (0.0, start_ms), (0.5, middle), *held, (1.0, start_ms + length_ms + pause_ms)


def _fill(
    dice: Dice, settings: Settings, now: int, until: int, done: list[Performance], path: list[tuple[int, float]]
) -> int:
    """Put distractors into a rest; returns when the last one ends."""
    if dice.chance(0.3):
        goal = settings.aspect * dice.between(0.14, 0.86)
        distance = goal - path[-1][1]
        cycle_count = round(abs(distance) / _WALK_PER_S)
        if cycle_count:
            walk = _perform(dice, "walk", now + 100, hard=False, cycle_count=cycle_count)
            if walk.end_ms <= until + 2500 and walk.end_ms <= settings.duration_ms - _FREE_END_MS:
                heading = _WALK_YAW if distance > 0 else -_WALK_YAW
                done.append(replace(walk, heading=heading, mirrored=False, amplitude=1.0))
                path += [(walk.start_ms, path[-1][1]), (walk.end_ms, goal)]
                now = walk.end_ms
    while dice.chance(0.75):
        fidget = _perform(dice, dice.pick(DISTRACTORS), now + int(1000 * dice.between(0.15, 0.6)), hard=True)
        if fidget.end_ms > until:
            break
        done.append(fidget)
        now = fidget.end_ms
    return now + 150
