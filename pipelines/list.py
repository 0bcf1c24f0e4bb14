"""`tal list`: what is here."""

from importlib.resources import files
from typing import Literal

Kind = Literal["models", "backbones", "protocols", "recipes", "commands"]


def list_(kind: Kind | None = None) -> None:
    """List what is here: models (methods), backbones, protocols, recipes, commands.

    Args:
        kind: One kind; everything if left out.
    """
    from tal.registry import BACKBONES, COMMANDS, METHODS, PROTOCOLS

    tables = {"models": METHODS, "backbones": BACKBONES, "protocols": PROTOCOLS, "commands": COMMANDS}
    rows = {name: [(key, entry.about) for key, entry in table.items()] for name, table in tables.items()}
    rows["recipes"] = _recipes()
    chosen = [kind] if kind else ["models", "backbones", "protocols", "recipes"]
    for name in chosen:
        if not kind:
            print(f"{name}:")
        width = max((len(key) for key, _ in rows[name]), default=0)
        for key, about in rows[name]:
            print(f"{'' if kind else '  '}{key:<{width}}  {about}")


def _recipes() -> list[tuple[str, str]]:
    """Recipe name -> the first line of its opening comment."""
    home = files("tal.configs")
    found = []
    for folder in [home, *(entry for entry in home.iterdir() if entry.is_dir())]:
        for entry in folder.iterdir():
            if entry.name.endswith(".yaml"):
                prefix = "" if folder is home else f"{folder.name}/"
                about = entry.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
                found.append((prefix + entry.name.removesuffix(".yaml"), about))
    return sorted(found)
