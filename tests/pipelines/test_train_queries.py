"""Training on queries end to end: learns, saves, resumes exactly, draws as documented, refuses what is wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.annotations import read_annotations
from tal.annotations.moment_results import Query
from tal.annotations.records import Moment
from tal.cli import main
from tal.errors import AnnotationError, ConfigError, FeatureError, PackageError
from tal.evaluation import evaluate
from tal.features.text import write_tokens
from tal.methods.batching import collate
from tal.package import load_model
from tal.pipelines.train import kept_weights, train
from tal.pipelines.train_data import LocalizerData
from tal.pipelines.train_derive import derive
from tal.pipelines.train_queries import QueryDraws, QuerySamples, dropped_tokens, saliency_pairs, until
from tal.pipelines.train_recipe import build_recipe
from tal.pipelines.train_samples import open_data
from tal.timeline import SnippetGrid

from .query_data import LAYOUT, WIDTHS, query_recipe, write_queries


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_queries(tmp_path_factory.mktemp("queries"))


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    train(build_recipe(query_recipe(folder)), out, command="tal train this")
    return out


def test_learns_and_writes_a_package(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["MR-R1@0.50"] > 0.6  # the best window, if it were the same for all queries, reaches 0.33
    assert metrics["HL-Fair-mAP"] > 0.7  # clips in random order reach 0.37
    assert metrics["mAP"] == metrics["MR-mAP"]
    package = load_model(run / "model")
    assert package.model.inputs.streams == WIDTHS
    assert package.text.width == package.model.inputs.text == 8
    assert package.classes == ()
    assert "96 queries" in package.card


def _answer(folder, run, out, *words):
    streams = [f"{name}={folder / name}" for name in WIDTHS]
    given = ["--model", run / "model", "--out", out, "--features", *streams, *words]
    return main(["localize", *map(str, given)])


def test_answers_on_the_command_line_score_as_in_training(folder, run, tmp_path, capsys):
    truth = folder / "validation.jsonl"
    assert _answer(folder, run, tmp_path, "--queries", truth, "--text", folder / "text") == 0
    assert "24 queries on 24 videos answered" in capsys.readouterr().out
    assert "somebody does number" in (tmp_path / "report.html").read_text()
    files = ["--annotations", str(truth), "--predictions", str(tmp_path / "predictions.jsonl")]
    assert main(["evaluate", "qvhighlights", *files]) == 0
    assert "MR-R1" in capsys.readouterr().out
    found = evaluate("qvhighlights", truth, tmp_path / "predictions.jsonl", unrounded=True)
    metrics = json.loads((run / "metrics.json").read_text())
    for name, value in found.metrics.items():
        assert value == pytest.approx(metrics[name], abs=1e-9), name
    table = evaluate("grounding", truth, tmp_path / "predictions.csv", tiou=0.5, top=1).metrics
    assert table["R1@0.50"] == pytest.approx(metrics["MR-R1@0.50"])


def test_localizing_without_what_is_needed(folder, run, tmp_path, toy_package, capsys):
    truth = folder / "validation.jsonl"
    assert _answer(folder, run, tmp_path) == 2
    assert "--queries FILE" in capsys.readouterr().err
    assert _answer(folder, run, tmp_path, "--queries", truth) == 2
    assert "no text tower here makes" in capsys.readouterr().err
    words = ["localize", "--features", str(folder / "slow"), "--model", str(toy_package), "--out", str(tmp_path)]
    assert main([*words, "--queries", str(truth)]) == 2
    assert "answers no queries" in capsys.readouterr().err


def test_resumed_training_equals_an_uninterrupted_one(folder, tmp_path, monkeypatch):
    recipe = build_recipe(query_recipe(folder, model={"dropout": 0.2}, max_epochs=3, validate_every=0))
    train(recipe, tmp_path / "whole")
    from tal.pipelines.train_module import LocalizerModule

    original = LocalizerModule.on_train_epoch_start

    def dying(self):
        if self.current_epoch == 1:
            raise RuntimeError
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(LocalizerModule, "on_train_epoch_start", dying)
        with pytest.raises(RuntimeError):
            train(recipe, tmp_path / "cut")
    train(recipe, tmp_path / "cut", resume=True)
    first, second = (
        kept_weights(tmp_path / name / "checkpoints" / "last.ckpt", "moment_detr") for name in ("whole", "cut")
    )
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)


@pytest.fixture(scope="module")
def opened(folder):
    recipe = build_recipe(query_recipe(folder))
    data = open_data(recipe.data)
    return recipe, data, derive(recipe, data)


def test_samples_carry_queries(opened):
    _, data, derived = opened
    assert derived.config.text_width == 8
    assert len(data.train) == 96
    sample = data.train[3]
    assert sample.query.qid == "3"
    assert sample.text.shape[1] == 8
    assert isinstance(data.fold([0, 1]).validation, QuerySamples)
    assert data.fold([4]).validation[0].query.qid == "4"


def test_draws_are_a_function_of_seed_epoch_and_query(opened):
    recipe, data, derived = opened
    from tal.methods.moment_detr import MomentDetr

    model = MomentDetr(derived.config)
    draws = QueryDraws(data.train, model.inputs, replace(recipe.data.queries, max_moments=1), seed=0)
    again = QueryDraws(data.train, model.inputs, replace(recipe.data.queries, max_moments=1), seed=0)
    first = [draws[0, index].saliency_pairs for index in range(8)]
    assert all(torch.equal(a, again[0, index].saliency_pairs) for index, a in enumerate(first))
    assert any(not torch.equal(a, draws[1, index].saliency_pairs) for index, a in enumerate(first))
    batch = collate([draws[0, index] for index in range(4)], model.inputs, train=True)
    assert batch.text.shape == (4, batch.text_mask.sum(1).max(), 8)
    assert batch.names == ("0", "1", "2", "3")
    assert batch.saliency_pairs.shape == (4, 2, 2)


GRID = SnippetGrid(stride_s=2.0, window_s=2.0, count=10)


def test_saliency_pairs_of_annotated_clips():
    moment = Moment(text="a", spans_s=((4, 10),), clips=(2, 3, 4), saliency=((1, 1, 1), (4, 4, 4), (2, 2, 2)))
    for seed in range(20):
        (hard, easy), (worst, other) = saliency_pairs(moment, GRID, 2.0, np.random.default_rng(seed))
        assert (hard, worst) == (3, 2)
        assert easy in (2, 3, 4)
        assert other not in (2, 3, 4)
    all_of_it = replace(moment, clips=tuple(range(10)), saliency=tuple((i,) for i in range(10)))
    assert saliency_pairs(all_of_it, GRID, 2.0, np.random.default_rng(0)).tolist() == [[9, 9], [0, 0]]


def test_saliency_pairs_of_spans_alone():
    moment = Moment(text="a", spans_s=((4.0, 8.0),))
    for seed in range(20):
        inside, outside = saliency_pairs(moment, GRID, 2.0, np.random.default_rng(seed))
        assert sorted(inside) == [2, 3]
        assert len(set(outside)) == 2
        assert not set(outside) & {2, 3}
    whole = replace(moment, spans_s=((0.0, 20.0),))
    pairs = saliency_pairs(whole, GRID, 2.0, np.random.default_rng(0))
    np.testing.assert_array_equal(pairs[0], pairs[1])


def test_dropped_tokens():
    text = torch.ones(8, 3)
    dropped = dropped_tokens(text, 0.25, np.random.default_rng(0))
    assert (dropped.sum(1) == 0).sum() == 2
    assert text.sum() == 24


def test_long_videos_are_read_as_far_as_the_model_does(folder):
    recipe = build_recipe(query_recipe(folder, model={"train_snippets": 12}))
    data = open_data(recipe.data)
    from tal.methods.moment_detr import MomentDetr

    model = MomentDetr(derive(recipe, data).config)
    draws = QueryDraws(data.train, model.inputs, recipe.data.queries, seed=0)
    samples = [draws[0, index] for index in range(96)]
    assert all((each.instances.end_s <= 24).all() for each in samples)
    starts_s = [data.train.moment(index).spans_s[0][0] for index in range(96)]
    assert max(starts_s) > 24
    assert [len(each.instances) for each in samples] == [int(start_s < 24) for start_s in starts_s]
    beyond = [each.saliency_pairs for each, start_s in zip(samples, starts_s, strict=True) if start_s >= 24]
    assert not torch.cat(beyond).any()
    batch = collate(samples[:4], model.inputs, train=True)
    losses = model.loss(model(batch), batch)
    assert torch.isfinite(losses["loss"])
    assert all((each.end_s <= 24).all() for each in model.eval().predict(batch))


def test_validation_batches_are_of_one_size(opened):
    from tal.methods.moment_detr import MomentDetr

    recipe, data, derived = opened
    model = MomentDetr(derived.config)
    batches = list(LocalizerData(data, recipe, model.inputs, None).val_dataloader())
    assert sorted(name for batch in batches for name in batch.names) == sorted(
        each.query.qid for each in data.validation
    )
    assert all(batch.mask.all() and batch.text_mask.all() for batch in batches)
    assert 1 < max(len(batch.names) for batch in batches) <= recipe.optim.batch_size


def test_what_is_not_read_is_not_salient():
    moment = Moment(text="a", spans_s=((4, 10), (14, 18)), clips=(2, 7, 8), saliency=((1,), (4,), (2,)))
    read = until(moment, 15.0, 2.0)
    assert read == replace(moment, spans_s=((4, 10), (14, 15)), clips=(2,), saliency=((1,),))
    assert until(moment, 4.0, 2.0) == replace(moment, spans_s=(), clips=(), saliency=())


def test_what_does_not_fit_is_refused(folder, tmp_path):
    recipe = build_recipe(query_recipe(folder))
    data = open_data(recipe.data)
    with pytest.raises(ConfigError, match=r"without data\.queries\.text"):
        derive(recipe, replace(data, text=None))
    one_file = query_recipe(folder)
    del one_file["data"]["queries"]["validation"]
    with pytest.raises(ConfigError, match="no subset 'training'"):
        open_data(build_recipe(one_file).data)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "text" / "qid5.npz").unlink()
    with pytest.raises(FeatureError, match="1 queries have no features: 5"):
        open_data(build_recipe(query_recipe(other)).data)
    (other / "train.jsonl").write_text('{"qid": 1, "query": "a", "vid": "b", "duration": 20}\n')
    with pytest.raises(AnnotationError, match="without answers"):
        open_data(build_recipe(query_recipe(other)).data)


def test_a_package_without_its_text_spec_is_refused(run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "model")
    (tmp_path / "model" / "text.json").unlink()
    with pytest.raises(PackageError, match="text of the queries"):
        load_model(tmp_path / "model")


VIDEOS = ("s13-d21", "AB12C", "v_a1")
SENTENCES = (("somebody opens a door", 4.0, 12.0), ("somebody laughs.", 10.0, 18.0))


def _tacos(rows):
    return {
        video: {
            "timestamps": [[start * 10, end * 10] for _, start, end in SENTENCES],
            "sentences": [text for text, _, _ in SENTENCES],
            "fps": 10.0,
            "num_frames": 260,
        }
        for video in rows
    }


def _captions(rows):
    times = [[start, end] for _, start, end in SENTENCES]
    sentences = [text for text, _, _ in SENTENCES]
    return {video: {"duration": 26.0, "timestamps": times, "sentences": sentences} for video in rows}


def _charades(rows):
    return "".join(f"{video} {start} {end}##{text}\n" for video in rows for text, start, end in SENTENCES)


@pytest.mark.parametrize(
    ("write", "name", "protocol"),
    [
        (_tacos, "train.json", "tacos"),
        (_captions, "train.json", "activitynet-captions"),
        (_charades, "train.txt", "charades-sta"),
    ],
    ids=["TACoS", "ActivityNet Captions", "Charades-STA"],
)
def test_queries_of_other_sets(write, name, protocol, tmp_path):
    """Sentences without ids, moments without saliency, videos whose duration only their features tell."""
    rng = np.random.default_rng(0)
    for part in ("slow", "text"):
        (tmp_path / part).mkdir()
    content = write(VIDEOS)
    content = content if isinstance(content, str) else json.dumps(content)
    for split in ("train", "validation"):
        (tmp_path / name.replace("train", split)).write_text(content)
    for video in VIDEOS:
        np.save(tmp_path / "slow" / f"{video}.npy", rng.normal(0, 1, (13, 6)).astype(np.float32))
    for text, _, _ in SENTENCES:
        write_tokens(tmp_path / "text", Query(text=text), rng.normal(0, 1, (4, 8)).astype(np.float32))
    values = query_recipe(tmp_path, model={"resize": write is _captions}, max_epochs=1, validate_every=1)
    values["data"] |= {"annotations": str(tmp_path / name), "protocol": protocol}
    values["data"]["queries"]["validation"] = str(tmp_path / name.replace("train", "validation"))
    values["data"]["features"] = {"slow": {"folder": str(tmp_path / "slow"), "layout": LAYOUT}}
    values["optim"]["batch_size"] = 4
    trained = train(build_recipe(values), tmp_path / "run")
    assert {"R1@0.50", "mAP"} <= set(trained.metrics)
    assert len(trained.detections) == 6
    assert all((each.end_s <= 26).all() for each in trained.detections.values())


def test_text_features_are_made_where_none_are_given(tmp_path):
    folder = write_queries(tmp_path / "data", train=8, validation=2)
    shutil.rmtree(folder / "text")
    files = [str(folder / "train.jsonl"), str(folder / "validation.jsonl")]
    tower = ["--backbone", "open_clip:ViT-S-32", "--weights", "random", "--out", str(folder / "text")]
    assert main(["extract", "--text", *files, *tower]) == 0
    recipe = query_recipe(folder, max_epochs=1, validate_every=0, precision="bf16")
    train(build_recipe(recipe), tmp_path)
    for name, words in (("stored", ["--text", folder / "text"]), ("made", [])):
        assert _answer(folder, tmp_path, tmp_path / name, "--queries", files[1], "--no-report", *words) == 0
    stored, made = (tmp_path / name / "predictions.jsonl" for name in ("stored", "made"))
    for first, second in zip(stored.open(), made.open(), strict=True):
        a, b = json.loads(first), json.loads(second)
        assert a["qid"] == b["qid"]
        np.testing.assert_allclose(a["pred_relevant_windows"], b["pred_relevant_windows"], atol=1e-3)
        np.testing.assert_allclose(a["pred_saliency_scores"], b["pred_saliency_scores"], atol=1e-3)
    with np.load(folder / "text" / "qid8.npz") as file:
        np.savez(folder / "text" / "qid8.npz", last_hidden_state=file["last_hidden_state"], text=np.array("other"))
    assert _answer(folder, tmp_path, tmp_path / "other", "--queries", files[1], "--text", folder / "text") == 1


REAL = Path(__file__).parents[3] / "shared/cases/moments/qvhighlights_val.jsonl"


@pytest.mark.skipif(not REAL.exists(), reason="the cases are not beside the checkout")
def test_saliency_pairs_of_all_validation_queries():
    rng = np.random.default_rng(0)
    annotations = read_annotations(REAL)
    moments = [(record.duration_s, moment) for record in annotations.videos.values() for moment in record.moments]
    assert len(moments) == 1550
    for duration_s, moment in moments:
        grid = SnippetGrid(stride_s=2.0, window_s=2.0, count=min(round(duration_s / 2), 75))
        (best, easy), (worst, other) = saliency_pairs(moment, grid, 2.0, rng)
        scores = map(sum, moment.saliency)
        total = {min(clip, grid.count - 1): score for clip, score in zip(moment.clips, scores, strict=True)}
        assert total[best] == max(total.values())
        assert total[worst] == min(total.values())
        assert easy in total
        assert (other not in total) == (len(total) < grid.count)
