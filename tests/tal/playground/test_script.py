"""What happens in the videos: segments, cycles, steps, sentences, and what makes the hard setting hard."""

import itertools

import pytest

from tal.errors import ConfigError
from tal.playground.actions import ACTIONS, CLASSES
from tal.playground.annotate import annotate, sound_events
from tal.playground.script import write_script
from tal.playground.settings import Settings

MANY = range(12)


def _scripts(difficulty, **settings):
    return [write_script(Settings(difficulty=difficulty, seed=1, **settings), "training", index) for index in MANY]


@pytest.fixture(scope="module", params=["easy", "hard"])
def scripts(request):
    return _scripts(request.param)


def test_there_are_ten_classes_or_more_and_all_of_them_occur(scripts):
    assert len(CLASSES) >= 10
    seen = {part.action for script in scripts for actor in script.actors for part in actor.performances}
    assert set(CLASSES) <= seen


def test_an_actor_does_one_thing_at_a_time_within_the_video(scripts):
    for script in scripts:
        for actor in script.actors:
            assert actor.performances
            assert actor.performances[0].start_ms >= 0
            assert actor.performances[-1].end_ms <= script.settings.duration_ms
            for before, after in itertools.pairwise(actor.performances):
                assert before.start_ms < before.end_ms <= after.start_ms


def test_cycles_fill_their_performance(scripts):
    for script in scripts:
        for part in (part for actor in script.actors for part in actor.performances):
            cycles = part.cycles_ms()
            fewest, most = ACTIONS[part.action].cycles
            assert part.action == "walk" or fewest <= len(cycles) <= most
            assert (cycles[0][0], cycles[-1][1]) == (part.start_ms, part.end_ms)
            assert all(end == start for (_, end), (start, _) in itertools.pairwise(cycles))
            for knots in part.cycles:
                assert all(a[0] <= b[0] and a[1] < b[1] for a, b in itertools.pairwise(knots))
                assert (knots[0][0], knots[-1][0]) == (0.0, 1.0)


def test_a_figure_starts_and_ends_each_action_near_rest(scripts):
    """Otherwise limbs would jump, and the jump would tell a segment's edge."""
    for script in scripts[:4]:
        for actor in script.actors:
            for part in actor.performances:
                for edge in (part.start_ms, part.end_ms):
                    before, after = (actor.pose_at(edge + step) for step in (-1.0, 1.0))
                    change = [abs(a - b) for a, b in zip(before, after, strict=True)]
                    change[0] = min(change[0] % 360, -change[0] % 360)
                    assert max(change) < 12.0, (part.action, edge)


def test_entries_agree_with_themselves(scripts):
    for script in scripts[:4]:
        entry = annotate(script)
        rows = entry["annotations"]
        assert rows == sorted(rows, key=lambda row: row["segment"][0])
        assert entry["steps"] == [row["label"] for row in rows]
        assert entry["quality"] == pytest.approx(sum(row["quality"] for row in rows) / len(rows), abs=6e-4)
        for row in rows:
            start, end = row["segment"]
            assert 0 <= start < end <= entry["duration"]
            assert row["segment"] == [round(start, 3), round(end, 3)]
            assert 0 <= row["quality"] <= 1
            assert ("cycles" in row) == ACTIONS[row["label"]].repetitive
            for first, last in row.get("cycles", []):
                assert start <= first < last <= end
        spans = {tuple(span) for moment in entry["moments"] for span in moment["spans"]}
        assert {tuple(row["segment"]) for row in rows} <= spans


def test_sentences_name_the_actor_and_count_the_repetitions():
    for script in _scripts("hard")[:4]:
        entry = annotate(script)
        shirts = {actor.name: actor.body.shirt for actor in script.actors}
        assert len(set(shirts.values())) == len(shirts)
        words = {2: "twice", 3: "three times", 4: "four times"}
        for row in entry["annotations"]:
            texts = [each["text"] for each in entry["moments"] if row["segment"] in each["spans"]]
            assert any(shirts[row["actor"]] in text and ACTIONS[row["label"]].says in text for text in texts)
            if len(row.get("cycles", [])) in words:
                assert any(words[len(row["cycles"])] in text for text in texts)


def test_easy_is_easy():
    for script in _scripts("easy"):
        assert len(script.actors) == 1
        assert len(script.shots) == 1
        assert script.shots[0].first == script.shots[0].last
        assert script.shots[0].shake == 0
        assert all(part.labelled for part in script.actors[0].performances)


def test_hard_is_hard():
    scripts = _scripts("hard")
    parts = [part for script in scripts for actor in script.actors for part in actor.performances]
    assert all(2 <= len(script.actors) <= 3 for script in scripts)
    assert all(len(script.shots) > 1 for script in scripts)
    assert {part.action for part in parts if not part.labelled} > {"walk", "raise_arm", "dip"}
    pauses = [knots for part in parts for knots in part.cycles if len(knots) == 4]
    assert len(pauses) > 10
    assert any(shot.first != shot.last for script in scripts for shot in script.shots)
    assert any(shot.light_swing > 0 for script in scripts for shot in script.shots)
    overlaps = 0
    for script in scripts:
        rows = annotate(script)["annotations"]
        overlaps += sum(
            a["actor"] != b["actor"] and min(a["segment"][1], b["segment"][1]) > max(a["segment"][0], b["segment"][0])
            for a, b in itertools.combinations(rows, 2)
        )
    assert overlaps > 20


def test_cuts_are_the_starts_of_shots():
    for script in _scripts("hard")[:4]:
        shots = script.shots
        assert annotate(script)["cuts"] == [shot.start_ms / 1000 for shot in shots[1:]]
        assert (shots[0].start_ms, shots[-1].end_ms) == (0, script.settings.duration_ms)
        assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(shots))


def test_sounds_come_at_their_phase():
    script = _scripts("easy")[0]
    claps = [part for part in script.actors[0].performances if part.action == "clap"]
    times = [ms for ms, name in sound_events(script) if name == "clap"]
    expected = [start + 0.45 * (end - start) for part in claps for start, end in part.cycles_ms()]
    assert times == pytest.approx(expected)


@pytest.mark.parametrize("duration_s", [5.0, 6.5, 61.0])
@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_any_duration_has_instances(difficulty, duration_s):
    for script in _scripts(difficulty, duration_s=duration_s):
        assert annotate(script)["annotations"]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"difficulty": "medium"}, "easy or hard"),
        ({"duration_s": 2.0}, "5 to 3600"),
        ({"duration_s": float("nan")}, "5 to 3600"),
        ({"width": 161}, "even"),
        ({"height": 20}, "48"),
        ({"fps": 0.0}, "5 to 60"),
        ({"fps": float("inf")}, "5 to 60"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, shown):
    with pytest.raises(ConfigError, match=shown):
        Settings(**settings)
