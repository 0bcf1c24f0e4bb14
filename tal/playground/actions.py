"""The action classes as tables of key poses. To add one, add an entry to `ACTIONS`.

Each cycle runs through the key poses with rest at each; several cycles make one instance. Every action is told from the
others by its motion alone: figures, clothes, places and camera are drawn without regard to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tal.playground.exact import smooth
from tal.playground.figure import REST, Pose

_BOTH = {
    "arms_flex": "{}_arm_flex",
    "arms_out": "{}_arm_out",
    "elbows": "{}_elbow",
    "elbows_out": "{}_elbow_out",
    "legs_flex": "{}_leg_flex",
    "legs_out": "{}_leg_out",
    "knees": "{}_knee",
}


def _pose(**angles: float) -> Pose:
    """A pose from what differs from rest; `arms_flex` and the like set both sides."""
    values: dict[str, float] = {}
    for name, value in angles.items():
        sides = _BOTH.get(name)
        values |= {sides.format(side): value for side in ("left", "right")} if sides else {name: value}
    return REST._replace(**values)


@dataclass(frozen=True, kw_only=True)
class Action:
    """How one action moves, counts and sounds.

    Args:
        keys: (phase in [0, 1], pose), from phase 0 to phase 1.
        cycle_s: Shortest and longest cycle, seconds.
        cycles: Fewest and most cycles of an instance; (1, 1): not repetitive.
        says: The verb phrase of its sentence, third person.
        sounds: (phase, name of the sound) in each cycle.
        ramp_s: Time to come from rest into the cycle and back; 0 where the cycle itself begins and ends at rest.
        alternates: Every second cycle is mirrored.
        labelled: A class of the benchmark; otherwise a distractor.
    """

    keys: tuple[tuple[float, Pose], ...]
    cycle_s: tuple[float, float]
    cycles: tuple[int, int] = (1, 1)
    says: str = ""
    sounds: tuple[tuple[float, str], ...] = ()
    ramp_s: float = 0.0
    alternates: bool = False
    labelled: bool = True

    @property
    def repetitive(self) -> bool:
        """Whether its cycles are counted."""
        return self.cycles != (1, 1)

    def pose(self, phase: float, amplitude: float) -> Pose:
        """The pose at a phase of the cycle; `amplitude` scales what differs from rest, except the turn of the body."""
        before = self.keys[0]
        for after in self.keys[1:]:
            if phase <= after[0]:
                break
            before = after
        full = before[1].blended(after[1], smooth((phase - before[0]) / (after[0] - before[0])))
        return REST.blended(full, amplitude)._replace(yaw=full.yaw, plant=full.plant)


_GUARD = {"arms_flex": 25.0, "elbows": 115.0, "arms_out": 6.0, "elbows_out": -12.0, "lean": 8.0, "knees": 22.0,
          "left_leg_flex": 16.0, "right_leg_flex": 4.0}  # fmt: skip
_CROUCH = _pose(legs_flex=52, knees=88, lean=30, arms_flex=-45, elbows=10)
_CHAMBER = _pose(right_leg_flex=75, right_knee=105, arms_out=25, elbows=50, lean=-5, plant=0)
_SIT = _pose(legs_flex=86, knees=8, lean=-12, arms_flex=-35, arms_out=22, elbows=0, legs_out=8)
_STAR = _pose(legs_out=30, arms_out=160, elbows=5)
_BOW = _pose(lean=76, nod=22, arms_flex=-6, elbows=4, legs_flex=-3)
_LUNGE = _pose(left_leg_flex=66, left_knee=76, right_leg_flex=-38, right_knee=14, lean=6,
               arms_out=42, elbows_out=-100, elbows=10)  # fmt: skip
_SQUAT = _pose(legs_flex=88, knees=122, lean=40, legs_out=12, arms_flex=82, elbows=5)
_LEFT_KNEE_UP = _pose(left_leg_flex=82, left_knee=98, right_arm_flex=48, right_elbow=45, left_arm_flex=-30, plant=1)
_LEFT_JAB = _pose(**_GUARD | {"left_arm_flex": 88, "left_elbow": 2, "twist": -26, "lean": 13})
_RIGHT_JAB = _pose(**_GUARD | {"right_arm_flex": 88, "right_elbow": 2, "twist": 26, "lean": 13})
_WIND_UP = _pose(right_arm_flex=158, right_arm_out=18, right_elbow=70, left_arm_flex=62, lean=-18, twist=-24,
                 left_leg_flex=38, left_knee=44, plant=1)  # fmt: skip
_RELEASE = _pose(right_arm_flex=105, right_elbow=6, left_arm_flex=10, lean=18, twist=26, left_leg_flex=26, left_knee=12,
                 right_leg_flex=-16, right_knee=14)  # fmt: skip
_FOLLOW = _pose(right_arm_flex=20, right_arm_out=-8, lean=34, twist=30, left_leg_flex=24, left_knee=22,
                right_leg_flex=-18, right_knee=20)  # fmt: skip
_STRIDE = _pose(left_leg_flex=24, right_leg_flex=-22, left_arm_flex=-20, right_arm_flex=24, left_knee=4, right_knee=12)
_PASSING = _pose(left_leg_flex=2, right_leg_flex=10, right_knee=50, plant=0)
_ARM_UP = _pose(right_arm_out=150, right_elbow_out=12)
_KNEE_HALF_UP = _pose(right_leg_flex=52, right_knee=76, plant=0)
_HANDS_APART = {"arms_flex": 62, "elbows": 30, "arms_out": 40, "elbows_out": -8}
_HANDS_TOGETHER = {"arms_flex": 62, "elbows": 30, "arms_out": 6, "elbows_out": -46}

ACTIONS: dict[str, Action] = {
    "bow": Action(
        keys=((0, REST), (0.36, _BOW), (0.62, _BOW), (1, REST)), cycle_s=(1.8, 2.8), says="bows"
    ),
    "clap": Action(
        keys=((0, _pose(**_HANDS_APART)), (0.45, _pose(**_HANDS_TOGETHER)), (1, _pose(**_HANDS_APART))),
        cycle_s=(0.42, 0.65), cycles=(4, 8), says="claps", sounds=((0.45, "clap"),), ramp_s=0.3,
    ),
    "jump": Action(
        keys=(
            (0, REST), (0.28, _CROUCH), (0.42, _pose(arms_flex=150, lean=4)),
            (0.57, _pose(lift=0.22, arms_flex=165, knees=30, legs_flex=12)),
            (0.72, _pose(arms_flex=80, knees=18, legs_flex=9)),
            (0.83, _pose(legs_flex=40, knees=72, lean=22, arms_flex=10)), (1, REST),
        ),
        cycle_s=(1.05, 1.5), cycles=(1, 4), says="jumps", sounds=((0.72, "thud"),),
    ),
    "kick": Action(
        keys=(
            (0, REST), (0.28, _CHAMBER), (0.46, _pose(right_leg_flex=98, right_knee=2, lean=-24, arms_out=38, plant=0)),
            (0.62, _CHAMBER), (1, REST),
        ),
        cycle_s=(1.0, 1.5), cycles=(1, 3), says="kicks", sounds=((0.4, "whoosh"), (0.97, "step")),
    ),
    "lunge": Action(
        keys=((0, REST), (0.4, _LUNGE), (0.58, _LUNGE), (1, REST)),
        cycle_s=(1.6, 2.3), cycles=(1, 3), says="lunges", sounds=((0.36, "step"), (0.97, "step")), alternates=True,
    ),
    "march": Action(
        keys=((0, REST), (0.25, _LEFT_KNEE_UP), (0.5, REST), (0.75, _LEFT_KNEE_UP.mirrored()), (1, REST)),
        cycle_s=(0.95, 1.4), cycles=(2, 4), says="marches in place", sounds=((0.48, "step"), (0.98, "step")),
    ),
    "punch": Action(
        keys=(
            (0, _pose(**_GUARD)), (0.2, _LEFT_JAB), (0.45, _pose(**_GUARD)),
            (0.52, _pose(**_GUARD)), (0.72, _RIGHT_JAB), (1, _pose(**_GUARD)),
        ),
        cycle_s=(0.85, 1.25), cycles=(2, 4), says="punches", sounds=((0.16, "whoosh"), (0.68, "whoosh")), ramp_s=0.3,
    ),
    "sit_down": Action(
        keys=((0, REST), (0.2, _pose(legs_flex=95, knees=128, lean=36, arms_flex=40)), (0.4, _SIT), (0.62, _SIT),
              (0.82, _pose(legs_flex=95, knees=128, lean=40, arms_flex=50)), (1, REST)),
        cycle_s=(2.6, 3.6), says="sits down and gets up", sounds=((0.38, "thud"),),
    ),
    "squat": Action(
        keys=((0, REST), (0.48, _SQUAT), (0.56, _SQUAT), (1, REST)), cycle_s=(1.5, 2.2), cycles=(1, 3), says="squats",
    ),
    "star_jump": Action(
        keys=(
            (0, REST), (0.12, _pose(knees=34, legs_flex=18)),
            (0.3, _pose(legs_out=22, arms_out=115, lift=0.09)), (0.45, _STAR),
            (0.58, _pose(legs_out=30, arms_out=160, knees=16, legs_flex=8)),
            (0.76, _pose(legs_out=12, arms_out=70, lift=0.09)), (0.9, _pose(knees=14, legs_flex=7)), (1, REST),
        ),
        cycle_s=(0.95, 1.35), cycles=(2, 4), says="does star jumps", sounds=((0.45, "thud"), (0.9, "thud")),
    ),
    "throw": Action(
        keys=((0, REST), (0.34, _WIND_UP), (0.5, _RELEASE), (0.64, _FOLLOW), (1, REST)),
        cycle_s=(1.3, 1.9), says="throws", sounds=((0.42, "whoosh"),),
    ),
    "turn": Action(
        keys=(
            (0, REST), (0.3, _pose(yaw=100, left_leg_flex=24, left_knee=46, arms_out=30, plant=1)),
            (0.55, _pose(yaw=200, right_leg_flex=24, right_knee=46, arms_out=34, plant=0)),
            (0.8, _pose(yaw=300, left_leg_flex=24, left_knee=46, arms_out=30, plant=1)), (1, _pose(yaw=360)),
        ),
        cycle_s=(1.7, 2.6), says="turns around", sounds=((0.4, "step"), (0.68, "step"), (0.95, "step")),
    ),
    "wave": Action(
        keys=(
            (0, _pose(right_arm_out=98, right_elbow_out=38, right_elbow=0)),
            (0.5, _pose(right_arm_out=104, right_elbow_out=104, right_elbow=0)),
            (1, _pose(right_arm_out=98, right_elbow_out=38, right_elbow=0)),
        ),
        cycle_s=(0.5, 0.8), cycles=(3, 6), says="waves", ramp_s=0.4,
    ),
    # Distractors of the hard setting: near misses of classes, and what people do while waiting.
    "walk": Action(
        keys=((0, _STRIDE), (0.25, _PASSING), (0.5, _STRIDE.mirrored()), (0.75, _PASSING.mirrored()), (1, _STRIDE)),
        cycle_s=(0.85, 1.1), sounds=((0.05, "step"), (0.55, "step")), ramp_s=0.25, labelled=False,
    ),
    "scratch_head": Action(
        keys=((0, REST), (0.3, _pose(right_arm_out=80, right_elbow_out=118, right_arm_flex=20)),
              (0.4, _pose(right_arm_out=86, right_elbow_out=122)), (0.5, _pose(right_arm_out=80, right_elbow_out=116)),
              (0.6, _pose(right_arm_out=86, right_elbow_out=122)), (1, REST)),
        cycle_s=(1.6, 2.6), labelled=False,
    ),
    "raise_arm": Action(
        keys=((0, REST), (0.35, _ARM_UP), (0.6, _ARM_UP), (1, REST)), cycle_s=(1.5, 2.4), labelled=False,
    ),
    "dip": Action(
        keys=((0, REST), (0.45, _pose(legs_flex=32, knees=54, lean=16, arms_flex=20)), (1, REST)),
        cycle_s=(0.9, 1.5), labelled=False,
    ),
    "look_around": Action(
        keys=((0, REST), (0.25, _pose(yaw=55, twist=10)), (0.5, REST), (0.75, _pose(yaw=-55, twist=-10)), (1, REST)),
        cycle_s=(1.8, 2.8), labelled=False,
    ),
    "rub_hands": Action(
        keys=(
            (0, _pose(arms_flex=40, elbows=58, arms_out=8, elbows_out=-48)),
            (0.5, _pose(left_arm_flex=48, right_arm_flex=32, elbows=58, arms_out=8, elbows_out=-48)),
            (1, _pose(arms_flex=40, elbows=58, arms_out=8, elbows_out=-48)),
        ),
        cycle_s=(0.4, 0.6), cycles=(3, 6), ramp_s=0.35, labelled=False,
    ),
    "lift_knee": Action(
        keys=((0, REST), (0.4, _KNEE_HALF_UP), (0.55, _KNEE_HALF_UP), (1, REST)), cycle_s=(1.0, 1.6), labelled=False,
    ),
    "nod_forward": Action(
        keys=((0, REST), (0.4, _pose(lean=24, nod=18)), (0.6, _pose(lean=24, nod=18)), (1, REST)),
        cycle_s=(1.2, 2.0), labelled=False,
    ),
    "reach": Action(
        keys=(
            (0, REST), (0.4, _pose(right_arm_flex=78, right_elbow=12, lean=10)),
            (0.6, _pose(right_arm_flex=82, right_elbow=8, lean=12)), (1, REST),
        ),
        cycle_s=(1.2, 2.0), labelled=False,
    ),
}  # fmt: skip

CLASSES: tuple[str, ...] = tuple(sorted(name for name, action in ACTIONS.items() if action.labelled))
DISTRACTORS: tuple[str, ...] = tuple(name for name, action in ACTIONS.items() if not action.labelled and name != "walk")

# What people do one after the other; a video's steps follow such routines half of the time.
ROUTINES: dict[str, tuple[str, ...]] = {
    "greeting": ("wave", "bow", "clap"),
    "warm-up": ("march", "squat", "star_jump"),
    "fight": ("punch", "kick", "turn"),
    "game": ("lunge", "throw", "jump"),
    "rest": ("turn", "sit_down", "clap"),
}
