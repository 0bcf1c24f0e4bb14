"""How the house is laid out: imports run one way, and nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tal

ROOT = Path(__file__).parents[1]
TAL = ROOT / "tal"

LAYERS = [
    [
        "version",
        "atomic",
        "errors",
        "device",
        "registry",
        "segments",
        "timeline",
        "boxes",
        "console",
        "arguments",
        "checkpoints",
    ],
    ["ops"],
    ["video", "audio", "annotations"],
    ["backbones"],
    ["features", "datasets", "modules"],
    ["methods"],
    ["metrics"],
    ["evaluation", "package"],
    ["diagnosis"],
    ["localization", "playground", "report"],
    ["query_localization"],
    ["pipelines"],
    ["cli", "__main__"],
]
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
LEAVES = set(LAYERS[0])

# Rooms on one line that may use each other, in one direction: (from, to).
NEIGHBOURS = {("__main__", "cli"), ("audio", "video")}


def _rooms_of_tal():
    """(room, file) of the whole house; rglob does not follow the links."""
    for path in sorted([*TAL.rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]):
        room = path.relative_to(TAL if path.is_relative_to(TAL) else ROOT).with_suffix("").parts[0]
        if room not in ("__init__", "configs", "data"):
            yield room, path


def _imports(path):
    """(module, line) of every `tal` import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "tal" else [node.module]
        yield from ((name, node.lineno) for name in names if name.split(".")[0] in ("tal", "pipelines"))


def test_imports_run_one_way():
    wrong = []
    for room, path in _rooms_of_tal():
        for module, line in _imports(path):
            where = f"{path.relative_to(ROOT)}:{line} imports {module}"
            target = module.split(".")[1] if module.count(".") else ""
            if module.split(".")[0] == "pipelines" or target not in HEIGHT:
                wrong.append(f"{where}: no such room")
            elif room == target or (room, target) in NEIGHBOURS or {room, target} <= LEAVES:
                continue
            elif HEIGHT[target] >= HEIGHT[room]:
                wrong.append(f"{where}: runs back")
    assert not wrong, "\n".join(wrong)


def test_lightning_only_where_training_is():
    users = [
        path.relative_to(ROOT).as_posix()
        for _, path in _rooms_of_tal()
        if any(
            line.lstrip().startswith(("import lightning", "from lightning", "import pytorch_lightning"))
            for line in path.read_text().splitlines()
        )
    ]
    assert all(user.startswith("pipelines/train") for user in users), users


def test_relative_imports_are_not_used():
    for _, path in _rooms_of_tal():
        assert not any(
            isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(ast.parse(path.read_text()))
        ), path


def _modules_after(code):
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import tal",
        "from tal.cli import main; main(['--help'])",
        "from tal.cli import main; main(['list'])",
        "import tal; tal.evaluate; tal.read_annotations",
        "import tal.pipelines.evaluate, tal.pipelines.export, tal.pipelines.check, tal.pipelines.diagnose",
        "from tal.registry import *; [Entry(PROTOCOLS.load(name).evaluator, '').load() for name in PROTOCOLS]",
        "import tal.playground.render",
    ],
)
def test_light_commands_do_not_import_torch(code):
    assert _modules_after(code).isdisjoint({"torch", "lightning", "numba", "open_clip"})


def test_help_loads_nothing_but_the_command_table():
    loaded = _modules_after("from tal.cli import main; main(['--help'])")
    assert loaded.isdisjoint({"numpy", "jsonargparse", "rich", "av", "yaml"})


def test_links_of_the_top_level_are_tracked():
    for name in ("pipelines", "configs", "data"):
        assert (TAL / name).is_symlink()
        assert (TAL / name).readlink() == Path("..") / name


def test_public_names_stay_what_they_are():
    """A module of a function's name would take its place as soon as anything imports it."""
    script = (
        "import tal, types, importlib\n"
        "for name, home in tal._HOME.items():\n"
        "    importlib.import_module(home)\n"
        "    for _ in range(2):\n"
        "        assert not isinstance(getattr(tal, name), types.ModuleType), name\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert not set(tal._HOME) & {path.stem for path in TAL.iterdir()}
