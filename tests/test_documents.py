"""What the documents tell people to type is there."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from tal.registry import COMMANDS, PROTOCOLS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "data").glob("*.md"))]


def _commands():
    for path in DOCUMENTS:
        for block in re.findall(r"```(?:bash)?\n(.*?)```", path.read_text(), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("tal "):
                    yield pytest.param(shlex.split(line, comments=True)[1:], id=f"{path.name}: {line[:70]}")
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        text = re.sub(r"\\\n#", "", path.read_text())
        for line in re.findall(r"^# +(tal (?:train|explain|extract|playground) .*)$", text, flags=re.MULTILINE):
            yield pytest.param(shlex.split(line)[1:], id=f"{path.parent.name}/{path.name}: {line[:70]}")


@pytest.mark.parametrize("words", _commands())
def test_commands_are_understood(words):
    name, *rest = words
    function = COMMANDS.load(name)
    if name not in ("train", "explain"):
        from tal.arguments import parse
        from tal.pipelines.protocol_words import protocol_fields

        for part in ("status", "verify", "pack", "text"):
            if name == "extract" and f"--{part}" in rest:
                module = import_module(f"tal.pipelines.extract_{part}")
                function = getattr(module, "extract_text" if part == "text" else part)
        assert parse(function, name, rest, protocol_fields(rest) if name in ("evaluate", "diagnose") else None)
        return
    from tal.pipelines.train_recipe import build_recipe, read_recipe

    recipe, *rest = rest
    if "--out" in rest:
        place = rest.index("--out")
        del rest[place : place + 2]
    assert build_recipe(read_recipe(recipe), rest).method


def test_python_of_the_readme_runs(toy_package, make_video, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "my.mp4", frames=60, fps=15)
    (tmp_path / "annotations.csv").write_text("video,start,end,label\nmy,0.5,2,wave\n")
    names = {}
    exec(code.replace("demo/run/model", str(toy_package)), names)
    assert names["annotations"].classes == ("wave",)
    assert names["frames"].pixels.shape[0] == 2
    assert len(capsys.readouterr().out.splitlines()) == len(names["detections"])


def test_links_of_the_documents_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_no_path_of_a_machine_stands_in_the_product():
    paths = re.compile(r"(?<![\w.])/(?:home|root|tmp|opt|mnt|srv)/\w")
    tracked = [
        path
        for folder in ("tal", "pipelines", "configs", "data", "tools", "docs")
        for path in (ROOT / folder).rglob("*")
    ]
    for path in [*tracked, ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "constraints.txt"]:
        if path.is_file() and path.suffix in (".py", ".md", ".yaml", ".toml", ".txt", ".html", ".js", ".css", ""):
            assert not paths.search(path.read_text()), path


def test_every_protocol_and_variant_stands_in_the_table():
    text = (ROOT / "docs/evaluation.md").read_text()
    for name in PROTOCOLS:
        assert f"`{name}`" in text, name
        for variant in PROTOCOLS.load(name).variants:
            assert f"`{variant}`" in text, f"{name}: {variant}"
