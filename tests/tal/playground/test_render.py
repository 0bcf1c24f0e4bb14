"""The pictures and the sound agree with the ground truth."""

import time

import numpy as np
import pytest

from tal.playground.annotate import annotate, frame_box, sound_events
from tal.playground.camera import PLACES
from tal.playground.exact import Dice
from tal.playground.render import Renderer, frames
from tal.playground.scene import paint_backdrop
from tal.playground.script import write_script
from tal.playground.settings import Settings
from tal.playground.sound import RATE, soundtrack


def _script(difficulty="easy", index=0, **settings):
    return write_script(Settings(difficulty=difficulty, seed=2, **settings), "training", index)


def _figure_pixels(script, time_ms):
    drawn, empty = Renderer(script), Renderer(script, figures=False)
    difference = np.asarray(drawn.picture(time_ms), int) - np.asarray(empty.picture(time_ms), int)
    return np.abs(difference).max(axis=2) > 6


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_boxes_hold_the_drawn_figures_tightly(difficulty):
    """Every pixel that a figure changes lies in a box, and each side of the boxes' hull is near such a pixel."""
    for index in range(4):
        script = _script(difficulty, index)
        height, width = script.settings.height, script.settings.width
        for time_ms in np.linspace(0, script.settings.duration_ms - 70, 7 if difficulty == "hard" else 25):
            time_ms = float(time_ms)
            seen = np.argwhere(_figure_pixels(script, time_ms))
            boxes = [frame_box(script, actor, actor.limbs_at(time_ms), time_ms) for actor in script.actors]
            boxes = np.array([box for box in boxes if box is not None]) * (width, height, width, height)
            inside = np.zeros(len(seen), bool)
            for left, top, right, bottom in boxes:
                inside |= (
                    (seen[:, 1] >= left - 1) & (seen[:, 1] + 1 <= right + 1)
                    & (seen[:, 0] >= top - 1) & (seen[:, 0] + 1 <= bottom + 1)
                )  # fmt: skip
            assert inside.mean() > 0.995, (index, time_ms)
            hull = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
            extent = seen[:, 1].min(), seen[:, 0].min(), seen[:, 1].max() + 1, seen[:, 0].max() + 1
            assert np.abs(np.subtract(hull, extent)).max() < 4, (index, time_ms)


def test_tubes_follow_the_frames():
    script = _script("hard")
    entry = annotate(script)
    whole = {tube["actor"]: tube for tube in entry["tubes"] if not tube["label"]}
    assert set(whole) == {actor.name for actor in script.actors}
    frame_times = {round(idx / script.settings.fps, 3) for idx in range(script.settings.frame_count)}
    for tube in whole.values():
        assert set(tube["times"]) <= frame_times
        boxes = np.array(tube["boxes"])
        assert boxes.min() >= 0
        assert boxes.max() <= 1
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    for row in entry["annotations"]:
        matching = [tube for tube in entry["tubes"] if (tube["actor"], tube["label"]) == (row["actor"], row["label"])]
        start, end = row["segment"]
        assert any(start <= tube["times"][0] and tube["times"][-1] < end for tube in matching)


def test_the_figure_moves_when_it_acts_and_the_background_does_not_stand_still():
    script = _script()
    empty = Renderer(script, figures=False)
    first, later = (np.asarray(empty.picture(ms), int) for ms in (0.0, 3000.0))
    assert np.abs(first - later).mean() > 0.3
    part = script.actors[0].performances[0]
    drawn = Renderer(script)

    def motion(time_ms):
        one, two = (np.asarray(drawn.picture(ms), int) for ms in (time_ms, time_ms + 200.0))
        return np.abs(one - two).mean()

    acting = np.mean([motion(ms) for ms in np.linspace(part.start_ms, part.end_ms - 200, 12)])
    resting = np.mean([motion(ms) for ms in np.linspace(0, part.start_ms - 200, 5)])
    assert acting > resting


@pytest.mark.parametrize("place", PLACES)
def test_places_differ_and_drift(place):
    one, two = (paint_backdrop(place, Dice(place, number), 160, 120) for number in (1, 2))
    at_start = np.asarray(one.at(0.0), int)
    assert at_start.shape == (180, 320, 3)
    assert np.abs(at_start - np.asarray(two.at(0.0), int)).mean() > 5
    assert np.abs(at_start - np.asarray(one.at(2.5), int)).mean() > 0.05
    assert at_start.std() > 10


def test_lighting_and_cuts_change_the_picture():
    script = _script("hard", 1)
    cut = script.shots[1].start_ms
    renderer = Renderer(script)
    before, at, after = (np.asarray(renderer.picture(cut + step), int) for step in (-40.0, 0.0, 40.0))
    assert np.abs(at - before).mean() > 3 * np.abs(after - at).mean()


def test_frames_have_the_announced_shape_and_number():
    settings = {"duration_s": 5.0, "width": 96, "height": 64, "fps": 10.0}
    pictures = list(frames(_script(**settings)))
    assert len(pictures) == 50
    assert all(each.shape == (64, 96, 3) and each.dtype == np.uint8 for each in pictures)


def _script_with_claps():
    return next(each for each in (_script(index=index) for index in range(20)) if "clap" in annotate(each)["steps"])


def test_claps_are_heard_when_the_hands_meet():
    script = _script_with_claps()
    sound = soundtrack(script)
    assert sound.dtype == np.float32
    assert len(sound) == round(script.settings.duration_s * RATE)
    assert np.abs(sound).max() <= 1
    loudness = np.sqrt(np.convolve(sound**2, np.ones(160) / 160, mode="same"))
    quiet = np.median(loudness)
    events = sound_events(script)
    for time_ms, name in events:
        if name == "clap":
            onset = round(time_ms * RATE / 1000)
            assert loudness[onset : onset + 320].max() > 5 * quiet
            assert loudness[max(0, onset - 800) : onset - 160].max() < loudness[onset : onset + 320].max() / 2


def test_hands_meet_at_the_clap():
    script = _script_with_claps()
    actor = script.actors[0]
    part = next(part for part in actor.performances if part.action == "clap")

    def hands_apart(phase):
        hands = [stroke for stroke in actor.limbs_at(part.time_of(2, phase)) if stroke.role == "hand"]
        return np.hypot(hands[0].x0 - hands[1].x0, hands[0].y0 - hands[1].y0)

    assert hands_apart(0.45) < 0.08
    assert hands_apart(0.95) > 2 * hands_apart(0.45)


def test_drawing_a_frame_takes_little_time():
    script = _script()
    renderer = Renderer(script)
    renderer.picture(0.0)
    began = time.process_time()
    for frame_idx in range(60):
        renderer.picture(500.0 * frame_idx)
    assert (time.process_time() - began) / 60 < 0.006  # 1.3 ms on a quiet core
