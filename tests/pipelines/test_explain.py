"""`tal explain`: values, reasons, and what it says where the data is not at hand."""

from tal.cli import main
from tal.pipelines.train_derive import Lengths
from tal.pipelines.train_recipe import build_recipe, write_recipe

from .conftest import recipe_values


def test_explain_tells_values_and_reasons(data_folder, tmp_path, capsys, monkeypatch):
    read, of = [], Lengths.of
    monkeypatch.setattr(Lengths, "of", lambda samples: read.append(samples) or of(samples))
    path = tmp_path / "recipe.yaml"
    values = recipe_values(data_folder)
    write_recipe(build_recipe(values, ["--model.branch_layers", "auto"]), path)
    assert main(["explain", str(path), "--optim.lr", "0.25"]) == 0
    told = capsys.readouterr().out
    assert "lr: 0.25" in told
    assert "branch_layers: 2  <- 3 levels" in told
    assert "classes: 2  <- classes with instances in the splits: jump, squat" in told
    assert "6 training and 2 validation videos, 18 training instances" in told
    assert len(read) == 1  # what was read for a derived setting is not read again for the summary


def test_explain_without_the_data(capsys):
    assert main(["explain", "thumos14/actionformer_i3d"]) == 1
    told = capsys.readouterr().out
    assert "train_snippets: 2304" in told
    assert "could not be derived" in told
