"""`tal list`: every method says where it comes from, as a table and as JSON."""

import json

import pytest

from tal.cli import main
from tal.methods.cards import CARDS
from tal.registry import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_card(name):
    card = CARDS[name]
    assert card.task
    assert card.weights
    assert "arXiv:" in card.paper or card.status == "ours"
    assert card.sources or card.status == "ours"
    assert card.note or card.status != "reconstruction in parts"


def test_models_are_listed_with_their_facts(capsys):
    assert main(["list", "models"]) == 0
    told = capsys.readouterr().out
    for name, card in CARDS.items():
        if name in METHODS:
            assert f"\n{name} " in f"\n{told}"
            assert card.paper in told
            assert card.weights in told
    assert "reconstruction in parts: " in told


def test_json(capsys, tmp_path):
    assert main(["list", "models", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tal.list/1"
    assert found["models"]["tridet"]["status"] == "equal to the original"
    assert set(found["models"]) == set(METHODS)
    assert main(["list", "--json", str(tmp_path / "all.json")]) == 0
    assert "actionformer" in capsys.readouterr().out
    assert {"backbones", "protocols", "recipes"} < set(json.loads((tmp_path / "all.json").read_text()))
