"""The VideoGLUE score from tables: the paper's seven models, both readings of its averages, and the guard on costs."""

import json

import pytest

from tal.errors import AnnotationError
from tal.evaluation import evaluate

COSTS = "adaptation,parameters_m,gflops\nE2E,88.9,366.7\nFrozen,1.16,366.7\nMLAP,3.7,369.5\nLoRA,9.7,377.9\n"
PUBLISHED = {"CLIP": 39.8, "FLAVA": 37.3, "CoCa": 38.2, "DINOv2": 40.17, "VATT": 43.97, "VideoMAE": 38.6,
             "InternVideo": 39.5}  # fmt: skip
TABLES = """model,adaptation,K400,MiT,SSv2,D48,Char,ANet,AVA,AVA-K,Avg
CLIP,E2E,81.0,39.0,46.6,75.7,54.3,-,27.1,28.9,52.8
FLAVA,E2E,79.1,38.3,61.1,72.0,48.6,-,22.0,25.6,49.4
CoCa,E2E,82.6,43.6,66.8,79.6,55.0,-,27.7,31.0,55.2
DINOv2,E2E,80.3,38.7,60.9,70.2,52.4,-,24.6,27.0,50.5
VATT,E2E,77.1,34.8,65.1,77.6,55.7,-,27.0,28.4,52.7
VideoMAE,E2E,78.7,36.1,65.5,75.5,51.4,-,23.5,26.2,51.0
InternVideo,E2E,80.1,35.9,67.0,75.8,52.2,-,27.2,29.8,52.5
CLIP,Frozen,75.2,32.6,41.0,44.1,11.2,32.7,21.1,25.9,32.8
FLAVA,Frozen,71.3,29.7,40.6,45.9,12.6,32.2,18.8,21.5,31.7
CoCa,Frozen,73.1,32.0,41.5,34.1,8.8,33.0,23.3,24.7,31.2
DINOv2,Frozen,72.3,29.0,40.0,40.4,25.8,32.6,24.6,26.9,35.0
VATT,Frozen,75.1,32.1,57.8,49.7,33.3,35.3,20.3,22.2,39.1
VideoMAE,Frozen,65.1,23.0,53.9,59.5,11.3,33.0,16.0,19.9,32.6
InternVideo,Frozen,69.3,26.3,58.2,55.6,13.0,33.3,13.4,15.7,33.1
CLIP,MLAP,77.1,39.0,50.1,55.8,41.5,33.9,27.7,29.6,43.3
FLAVA,MLAP,71.5,34.5,43.1,58.5,38.2,32.4,21.3,23.2,39.3
CoCa,MLAP,74.2,37.2,45.9,48.4,19.6,33.3,24.4,27.0,36.3
DINOv2,MLAP,75.4,36.0,46.3,51.9,47.8,33.6,25.4,27.0,42.5
VATT,MLAP,75.1,35.6,58.7,60.1,58.2,35.0,22.9,24.1,46.3
VideoMAE,MLAP,71.7,32.2,57.4,69.6,35.9,33.4,19.6,22.1,40.9
InternVideo,MLAP,73.7,34.7,60.3,71.9,40.5,33.6,15.9,17.7,42.2
CLIP,LoRA,80.2,39.7,56.0,77.2,44.2,-,24.5,28.0,49.3
FLAVA,LoRA,74.7,34.1,52.1,68.4,40.8,-,17.9,23.8,44.1
CoCa,LoRA,80.9,41.4,56.1,67.1,45.8,-,26.6,28.7,49.0
DINOv2,LoRA,77.7,36.1,59.0,76.6,38.0,-,22.5,27.9,47.0
VATT,LoRA,75.0,36.5,63.5,68.9,53.5,-,22.3,25.8,49.9
VideoMAE,LoRA,73.6,30.6,61.4,76.0,43.0,-,16.6,23.3,45.9
InternVideo,LoRA,75.5,31.3,63.9,73.6,46.2,-,19.2,25.5,47.7
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "costs.csv").write_text(COSTS)
    (tmp_path / "scores.csv").write_text(TABLES)
    return tmp_path / "costs.csv", tmp_path / "scores.csv"


@pytest.mark.parametrize("averages", ["printed", "groups"])
def test_the_papers_scores(files, averages):
    result = evaluate("videoglue", *files, averages=averages, percent=True)
    assert len(result.metrics) == 7
    for model, published in PUBLISHED.items():
        bound = 0.11 if averages == "printed" else 0.3 if model == "CLIP" else 0.135
        assert 100 * result.metrics[f"{model}/VGS"] == pytest.approx(published, abs=bound)
    clip = result.per_class["CLIP"]
    assert clip["VGS"] == pytest.approx((clip["VGS-parameters"] + clip["VGS-flops"]) / 2)
    assert clip["average E2E"] == pytest.approx(0.528 if averages == "printed" else 0.509, abs=5e-4)
    if averages == "groups":
        assert 100 * clip["VGS"] == pytest.approx(39.54, abs=0.005)


def test_one_model_as_json(files, tmp_path):
    scores = {"ours": {name: {"Kinetics-400": 0.5, "AVA": 0.25} for name in ("e2e", "frozen", "mlap", "lora")}}
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(scores))
    result = evaluate("videoglue", files[0], path)
    assert result.metrics["VGS"] == pytest.approx(0.375)
    assert result.metrics["average LoRA"] == pytest.approx(0.375)
    long = tmp_path / "long.csv"
    long.write_text(
        "model,adaptation,dataset,score\n" + "\n".join(f"ours,{a},{d},{s}" for a, t in scores["ours"].items()
                                                       for d, s in t.items())
    )  # fmt: skip
    assert evaluate("videoglue", files[0], long).metrics == pytest.approx(dict(result.metrics))


def test_incomplete_models_and_gaps_are_told(files):
    text = files[1].read_text().splitlines(keepends=True)
    kept = "".join(line for line in text if not line.startswith("CLIP,LoRA"))
    files[1].write_text(kept.replace("FLAVA,E2E,79.1", "FLAVA,E2E,-"))
    result = evaluate("videoglue", *files, percent=True)
    assert "CLIP/VGS" not in result.metrics
    assert result.missing == ("CLIP",)
    assert result.counts["predictions_dropped"] == {"score of a model that lacks an adaptation": 26}
    assert any("FLAVA lacks K400 under E2E" in text for text in result.warnings)


@pytest.mark.parametrize(
    ("costs", "scores", "told"),
    [
        (COSTS.replace("1.16", "0.13"), TABLES, "parameters_m is 0.13(.|\n)*millions"),
        (COSTS.replace("366.7", ""), TABLES, "is no number"),
        (COSTS.replace("LoRA", "Adapter"), TABLES, "no costs of adaptation 'LoRA'"),
        (COSTS + "LoRA,2,2\n", TABLES, "stands twice"),
        (TABLES, COSTS, "exchanged"),
        (COSTS, TABLES.replace("K400", "K9000"), "unknown dataset 'k9000'"),
        (COSTS, TABLES.replace("81.0", "nan"), "finite number"),
        (COSTS, TABLES.replace("81.0", "181.0"), "a score of 181"),
        (COSTS, TABLES + "CLIP,LoRA,80.2,,,,,,,,\n", "a second score of K400"),
        (COSTS, "model,adaptation,K400\nCLIP,E2E,50\n", "no model has scores under every"),
        (COSTS, "[1]", "no scores of models"),
    ],
)
def test_unusable_tables_are_refused(files, costs, scores, told):
    files[0].write_text(costs)
    files[1].write_text(scores)
    with pytest.raises(AnnotationError, match=told):
        evaluate("videoglue", *files, percent=True)


def test_percent_and_averages_have_to_be_said(files):
    with pytest.raises(AnnotationError, match="--percent"):
        evaluate("videoglue", *files)
    files[1].write_text("\n".join(line.rsplit(",", 1)[0] for line in TABLES.splitlines()))
    with pytest.raises(AnnotationError, match="--averages groups"):
        evaluate("videoglue", *files, percent=True, averages="printed")
    files[1].write_text("model,adaptation,dataset,score\nx,E2E,Avg,50\n")
    with pytest.raises(AnnotationError, match="--averages printed"):
        evaluate("videoglue", *files, percent=True)
