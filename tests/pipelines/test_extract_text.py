"""Token features of queries: what a tower gives, what is written, what is read and refused."""

import json

import numpy as np
import pytest
import torch

from tal.annotations.moment_results import Query
from tal.annotations.queries import read_queries
from tal.backbones.text import load_text_encoder
from tal.cli import main
from tal.errors import AnnotationError, FeatureError
from tal.features.text import TextFolder, write_tokens

SMALL = "open_clip:ViT-S-32"
ROWS = [
    {"qid": 7, "query": "A man walks his dog.", "vid": "a_60.0_210.0", "duration": 150},
    {"qid": 8, "query": "Rain", "vid": "a_60.0_210.0", "duration": 150, "relevant_windows": [[2, 4]]},
]


@pytest.fixture
def queries(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_tokens_end_in_what_the_whole_sentence_is(tmp_path):
    encoder = load_text_encoder(SMALL, weights="random")
    texts = ["a dog", "somebody opens the door and leaves"]
    tokens = encoder.encode_tokens(texts)
    assert [len(each) for each in tokens] == [4, 8]  # words, and the marks of beginning and end
    last = torch.stack([each[-1] for each in tokens])
    torch.testing.assert_close(last @ encoder.network.text_projection, encoder.encode(texts), rtol=1e-4, atol=1e-4)


def test_command_writes_what_moment_detr_reads(queries, tmp_path, capsys):
    out = tmp_path / "text"
    words = ["extract", "--text", str(queries), "--backbone", SMALL, "--weights", "random", "--out", str(out)]
    assert main(words) == 0
    assert {path.name for path in out.iterdir()} == {"text.json", "qid7.npz", "qid8.npz"}
    with np.load(out / "qid7.npz") as file:
        assert file["last_hidden_state"].shape == (8, 384)
    before = (out / "qid7.npz").stat().st_mtime_ns
    (out / "qid8.npz").unlink()
    assert main(words) == 0
    assert "1 queries done, 1 were there before" in capsys.readouterr().out
    assert (out / "qid7.npz").stat().st_mtime_ns == before
    folder = TextFolder(out)
    assert folder.spec.backbone.startswith(SMALL)
    assert folder.load(Query(qid="8", text="Rain")).shape == (3, 384)
    with pytest.raises(FeatureError, match="A man walks his dog"):
        folder.load(Query(qid="7", text="Another sentence"))
    with pytest.raises(FeatureError, match="no text features of query '9'"):
        folder.load(Query(qid="9", text="Rain"))
    assert main([*words[:-1], str(tmp_path)]) == 2  # a folder that holds something else


def test_queries_without_ids_are_found_by_their_text(tmp_path):
    path = tmp_path / "charades_sta_test.txt"
    path.write_text("AB12 1.0 5.0##a person sits.\nAB12 3.0 9.0##a person laughs.\n")
    first, second = (each.query for each in read_queries(path))
    assert (first.qid, first.video, second.text) == ("", "AB12", "a person laughs.")
    write_tokens(tmp_path, first, np.ones((3, 4), np.float32))
    folder = TextFolder(tmp_path)
    assert folder.has(first)
    assert not folder.has(second)


def test_queries_of_a_file(queries, tmp_path):
    found = read_queries(queries)
    assert [each.query.qid for each in found] == ["7", "8"]
    assert found[0].duration_s == 150
    queries.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(ROWS[0]) + "\n")
    with pytest.raises(AnnotationError, match="qid 7 twice"):
        read_queries(queries)


def test_damaged_features_are_refused(tmp_path):
    query = Query(qid="7", text="Rain")
    write_tokens(tmp_path, query, np.full((3, 4), np.nan))
    folder = TextFolder(tmp_path)
    with pytest.raises(FeatureError, match="NaN"):
        folder.load(query)
    np.savez(tmp_path / "qid7.npz", other=np.ones((3, 4)))
    with pytest.raises(FeatureError, match="holds other"):
        folder.load(query)
    (tmp_path / "qid7.npz").write_bytes(b"PK damaged")
    with pytest.raises(FeatureError, match="cannot be read"):
        folder.load(query)
