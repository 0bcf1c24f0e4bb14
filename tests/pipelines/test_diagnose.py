"""The command: its tables, its json and page, its exit codes."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tal.cli import main

HOSTILE = "</script><img src=x onerror=\"window.broken=1\"> 'a' [bold]x[/] é☃"
TRUTH = [
    {"segment": [0, 10], "label": HOSTILE},
    {"segment": [20, 30], "label": "walk"},
    {"segment": [40, 44], "label": "walk"},
]
FOUND = [
    {"segment": [0, 10], "label": HOSTILE, "score": 0.9},
    {"segment": [1, 10], "label": HOSTILE, "score": 0.8},
    {"segment": [20, 30], "label": HOSTILE, "score": 0.7},
    {"segment": [24, 36], "label": "walk", "score": 0.6},
    {"segment": [60, 70], "label": "walk", "score": 0.5},
    {"segment": [0, 4], "label": "walk", "score": 0.4},
]


def _write(path, value):
    path.write_text(json.dumps(value))
    return str(path)


@pytest.fixture
def files(tmp_path):
    video = {"subset": "test", "duration": 80, "annotations": TRUTH}
    annotations = _write(tmp_path / "a.json", {"database": {"v": video, HOSTILE: video, "w": video}})
    predictions = _write(tmp_path / "p.json", {"results": {"v": FOUND, HOSTILE: FOUND[:2]}})
    return ["--annotations", annotations, "--predictions", predictions, "--resamples", "50"]


@pytest.fixture
def other(tmp_path):
    return _write(tmp_path / "q.json", {"results": {"v": FOUND[:1], "w": FOUND[:4]}})


class _Page(HTMLParser):
    """What a page holds: tags, anchors, links, text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.open, self.words = set(), [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        assert not any(name.startswith("on") or name == "style" for name in given)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_tables(files, capsys):
    assert main(["diagnose", "generic", *files, "--tiou", "0.5,0.7", "--per-class"]) == 0
    shown = capsys.readouterr().out
    assert main(["evaluate", "generic", *files[:4], "--tiou", "0.5,0.7", "--json", "-"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert re.search(rf"mean +{metrics['mAP']:.4f}", shown)
    for words in ("perfect boundaries", "double detection", "not found", "Sensitivity", "All classes", "worst error"):
        assert words in shown
    assert "without predictions: 1 videos: w" in shown


@pytest.mark.parametrize("width", ["40", "64", "200"])
def test_numbers_are_never_cut(files, other, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["diagnose", "generic", *files, "--against", other]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "Comparison" in shown
    assert max(map(len, shown.splitlines())) <= max(64, int(width))


def test_json_and_page_in_a_folder(files, other, tmp_path, capsys):
    assert main(["diagnose", "generic", *files, "--against", other, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("diagnosis.") == 2
    written = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert written["schema"] == 1
    assert set(written) >= {"evaluation", "false_positives", "what_if", "characteristics", "intervals", "comparison"}
    assert written["evaluation"]["metrics"]["mAP"] == written["intervals"]["mAP"]["value"]
    assert written["comparison"]["metrics"]["mAP"]["first"] == written["evaluation"]["metrics"]["mAP"]
    assert len(written["evaluation"]["inputs"]) == 3
    page = _Page((tmp_path / "out" / "diagnosis.html").read_text())
    assert "Comparison" in page.words


def test_the_page_stands_alone_and_text_stays_text(files, tmp_path):
    path = tmp_path / "page.html"
    assert main(["diagnose", "generic", *files, "--html", str(path)]) == 0
    page = _Page(path.read_text())
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert HOSTILE in page.words
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    kinds = [name for name in page.ids if name.startswith("kind-")]
    assert kinds == [
        f"kind-{kind}"
        for kind in ("double_detection", "wrong_label", "localization", "confusion", "background", "missed")
    ]
    cases, videos = ([name for name in page.ids if name.startswith(kind)] for kind in ("case-", "video-"))
    assert set(page.links) >= {f"#{name}" for name in (*cases, *videos)}


def test_json_alone_on_standard_output(files, capsys):
    assert main(["diagnose", "generic", *files, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["resamples"] == 50


def test_no_draws_no_intervals(files, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["diagnose", "generic", *files, "--resamples", "0", "--html", str(page)]) == 0
    assert "95 %" not in capsys.readouterr().out
    assert "95 %" not in _Page(page.read_text()).words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["counting"], "cannot be diagnosed"),
        (["thumos15"], "thumos14"),
        (["generic", "--resamples", "-1"], "0 or more"),
        (["generic", "--tiou", "1.5"], "1.5"),
    ],
)
def test_misuse_is_one_message_and_exit_code_2(files, words, told, capsys):
    assert main(["diagnose", *words, *(files if "--resamples" not in words else files[:4])]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("tal: ")
    assert told in shown
    assert "Traceback" not in shown


def test_help_tells_the_options_of_the_protocol(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["diagnose", "thumos14", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--against", "--resamples", "--buckets", "--tiou", "--duplicates"):
        assert option in shown


def test_it_needs_no_torch():
    code = "import tal; tal.diagnose; import tal.pipelines.diagnose, tal.report.diagnosis, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "lightning", "pandas", "sklearn"}.isdisjoint(done.stdout.split())
