"""What holds for every protocol: its name, the description of its options, the source of its variants."""

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

from tal.arguments import _all_described
from tal.datasets.protocol import steps
from tal.errors import ConfigError, TalError
from tal.registry import PROTOCOLS, Entry

every_protocol = pytest.mark.parametrize("protocol", [PROTOCOLS.load(name) for name in PROTOCOLS], ids=list(PROTOCOLS))


def test_names_are_those_of_the_registry():
    assert {name: PROTOCOLS.load(name).name for name in PROTOCOLS} == {name: name for name in PROTOCOLS}


@every_protocol
def test_what_a_protocol_says_of_itself(protocol):
    assert protocol.source
    assert protocol.title
    for files in (protocol.annotation_files, protocol.prediction_files):
        assert files.endswith(".")
    known = {field.name for field in fields(protocol)}
    assert set(protocol.options) <= known
    described = _all_described(type(protocol))
    assert not [name for name in protocol.open_options if not described.get(name)]
    rules = json.loads(json.dumps(protocol.described()))
    assert rules["source"]
    assert len(set(rules) & set(protocol.open_options)) >= len(protocol.open_options) - 1  # One may not apply.


@every_protocol
def test_its_evaluator_takes_what_evaluate_gives(protocol):
    run = Entry(protocol.evaluator, "").load()
    assert list(inspect.signature(run).parameters) == ["protocol", "annotations", "predictions", "inputs"]
    assert isinstance(protocol, get_type_hints(run)["protocol"])


@every_protocol
def test_variants_name_their_source_and_change_fields_that_exist(protocol):
    known = {field.name for field in fields(protocol)}
    for name, variant in protocol.variants.items():
        assert set(variant.settings) <= known
        assert variant.about
        chosen = protocol.with_options(variant=name)
        assert chosen.described()["source"] == variant.source
        assert all(getattr(chosen, field) == value for field, value in variant.settings.items())


def test_what_a_caller_asks_for_wins_over_the_variant():
    grounding = PROTOCOLS.load("charades-sta").with_options(variant="2d-tan", nms=1.0)
    assert grounding.nms == 1.0
    assert grounding.compare == "exceed"


@pytest.mark.parametrize("given", [0.5, [0.5], (0.5,), np.array([0.5])])
def test_one_threshold_may_be_given_bare(given):
    assert PROTOCOLS.load("thumos14").with_options(tiou=given).tiou == (0.5,)


def test_paths_may_be_words():
    assert PROTOCOLS.load("ava").with_options(labelmap="classes.pbtxt").labelmap == Path("classes.pbtxt")


def test_none_leaves_an_option_as_it_is():
    protocol = PROTOCOLS.load("thumos14")
    assert protocol.with_options(subset=None, tiou=None) == protocol


def test_unknown_options_and_variants_are_refused_with_those_there_are():
    protocol = PROTOCOLS.load("thumos14")
    with pytest.raises(ConfigError, match="no option labelmap") as caught:
        protocol.with_options(labelmap="x")
    assert "duplicates" in caught.value.expected
    with pytest.raises(TalError, match="unknown variant") as caught:
        protocol.with_options(variant="opentadd")
    assert "opentad" in caught.value.todo


def test_steps_are_the_floats_of_the_official_evaluators():
    assert steps(0.5, 0.95, 10) == tuple(np.linspace(0.5, 0.95, 10))
