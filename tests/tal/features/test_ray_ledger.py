"""The ledger of a cluster's run: every video through once, whoever is lost, and the right one blamed."""

import random
from pathlib import Path

import pytest

from tal.features.cluster.ledger import KILLS, LOSSES, Ledger, Outcome


def ledger_of(*names):
    return Ledger({name: Path(f"{name}.mp4") for name in names})


def done(name):
    return Outcome(video=name, kind="done", video_s=2.0)


def outcomes(ledger):
    return {outcome.video: outcome.kind for outcome in ledger.news(0)[0]}


def test_hands_out_each_video_once_in_order():
    ledger = ledger_of("a", "b", "c")
    assert ledger.take(0) == ("a", Path("a.mp4"))
    assert [ledger.take(1)[0], ledger.take(0)[0]] == ["b", "c"]
    assert ledger.take(1) is None
    for worker, name in ((0, "a"), (1, "b"), (0, "c")):
        assert not ledger.news(0)[2]
        ledger.ended(worker, done(name))
    found, waiting, finished = ledger.news(1)
    assert [outcome.video for outcome in found] == ["b", "c"]
    assert (waiting, finished) == (False, True)


def test_what_was_lost_with_a_node_comes_next_without_blame():
    ledger = ledger_of("a", "b", "c")
    ledger.take(0), ledger.take(0)
    ledger.lost(0, None, blame=False)
    assert {ledger.take(1)[0], ledger.take(1)[0]} == {"a", "b"}
    assert ledger.take(1)[0] == "c"


def test_a_node_that_is_given_up_says_nothing_any_more():
    ledger = ledger_of("a")
    ledger.take(0)
    ledger.lost(0, None, blame=False)
    ledger.ended(0, done("a"))
    assert ledger.news(0) == ([], True, False)


def test_finished_by_a_lost_worker_is_done_and_not_skipped():
    ledger = ledger_of("a", "b")
    ledger.take(0)
    ledger.lost(0, None, blame=False)
    ledger.take(1), ledger.take(1)
    ledger.ended(1, Outcome(video="a", kind="skipped"))
    ledger.ended(1, Outcome(video="b", kind="skipped"))
    assert outcomes(ledger) == {"a": "done", "b": "skipped"}


def test_suspects_run_last_and_alone():
    ledger = ledger_of("a", "b", "c")
    ledger.take(0), ledger.take(0)
    ledger.lost(0, None, blame=True)
    assert ledger.take(0)[0] == "c"
    assert ledger.take(0) is None  # not beside another one
    ledger.ended(0, done("c"))
    first = ledger.take(0)[0]
    assert first in "ab"
    assert ledger.take(0) is None  # not two at once
    second = ledger.take(1)[0]
    assert {first, second} == {"a", "b"}


def test_part_of_a_workers_videos_may_be_lost():
    ledger = ledger_of("a", "b")
    ledger.take(0), ledger.take(0)
    ledger.lost(0, ["a"], blame=True)
    ledger.ended(0, done("b"))
    assert outcomes(ledger) == {"b": "done"}
    assert ledger.take(0)[0] == "a"


def test_nodes_that_are_lost_again_and_again_become_suspicious():
    ledger = ledger_of("a")
    for _ in range(LOSSES + KILLS - 1):
        assert not ledger.news(0)[2]
        assert ledger.take(0)[0] == "a"
        ledger.lost(0, None, blame=False)
    assert outcomes(ledger) == {"a": "ended"}


def test_stopped_it_gives_nothing():
    ledger = ledger_of("a")
    ledger.stop()
    assert ledger.stopped()
    assert ledger.take(0) is None
    assert ledger.news(0) == ([], False, False)


@pytest.mark.parametrize("seed", range(30))
def test_only_videos_that_end_their_workers_are_blamed(seed):
    """Workers and nodes end at random; some videos end every worker that has them."""
    rng = random.Random(seed)
    names = [f"v{number}" for number in range(40)]
    deadly = set(rng.sample(names, 3))
    ledger = ledger_of(*names)
    hands = {worker: [] for worker in range(4)}
    node_losses, steps = 0, 0
    while not ledger.news(0)[2]:
        steps += 1
        assert steps < 10_000
        worker = rng.randrange(4)
        if len(hands[worker]) < 5 and (taken := ledger.take(worker)) is not None:
            hands[worker].append(taken[0])
        elif rng.random() < 0.02 and node_losses < LOSSES - 1:
            node_losses += 1
            ledger.lost(worker, None, blame=False)
            hands[worker].clear()
        elif hands[worker] and deadly & set(hands[worker]):
            ledger.lost(worker, None, blame=True)
            hands[worker].clear()
        elif hands[worker]:
            ledger.ended(worker, done(hands[worker].pop(0)))
    assert outcomes(ledger) == {name: "ended" if name in deadly else "done" for name in names}
    assert len(ledger.news(0)[0]) == len(names)
