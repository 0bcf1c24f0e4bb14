"""`tal list`: what is here."""

from typing import Literal

from tal.pipelines.packaged import dataset_cards, recipe_names, recipe_text

Kind = Literal["models", "backbones", "protocols", "datasets", "recipes", "commands"]


def list_(kind: Kind | None = None) -> None:
    """List what is here: models (methods), backbones, protocols, datasets, recipes, commands.

    Args:
        kind: One kind; everything if left out.
    """
    from tal.registry import BACKBONES, COMMANDS, METHODS, PROTOCOLS

    tables = {"models": METHODS, "backbones": BACKBONES, "protocols": PROTOCOLS, "commands": COMMANDS}
    rows = {name: [(key, entry.about) for key, entry in table.items()] for name, table in tables.items()}
    rows["datasets"] = [(name, f"{title}: {about}") for name, (title, about) in dataset_cards().items()]
    rows["recipes"] = [(name, recipe_text(name).partition("\n")[0].lstrip("# ")) for name in recipe_names()]
    chosen = [kind] if kind else ["models", "backbones", "protocols", "datasets", "recipes"]
    for name in chosen:
        if not kind:
            print(f"{name}:")
        width = max((len(key) for key, _ in rows[name]), default=0)
        for key, about in rows[name]:
            print(f"{'' if kind else '  '}{key:<{width}}  {about}")
