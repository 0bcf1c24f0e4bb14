"""What comes with the package as files: recipes and benchmark cards, by name."""

from importlib.resources import files


def recipe_names() -> list[str]:
    """Names of the recipes, such as "thumos14/actionformer_i3d"."""
    home = files("tal.configs")
    folders = [(entry.name + "/", entry) for entry in home.iterdir() if entry.is_dir()]
    return sorted(
        prefix + entry.name.removesuffix(".yaml")
        for prefix, folder in [("", home), *folders]
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """A recipe's YAML; its first paragraph is a comment that says what it is."""
    return files("tal.configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def recipe_about(name: str) -> str:
    """What a recipe is: the first sentence of its comment."""
    lines = []
    for line in recipe_text(name).splitlines():
        if not line.removeprefix("#").strip() or not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines).partition(". ")[0].removesuffix(".")


def dataset_cards() -> dict[str, tuple[str, str]]:
    """Card's name, such as "thumos14" -> (the benchmark's own name, what it is in a sentence)."""
    cards = (entry for entry in files("tal.data").iterdir() if entry.name.endswith(".md"))
    return dict(sorted((entry.name.removesuffix(".md"), _told(entry.read_text(encoding="utf-8"))) for entry in cards))


def _told(card: str) -> tuple[str, str]:
    title, about = card.split("\n\n")[:2]
    return title.lstrip("# "), " ".join(about.split()).partition(". ")[0].removesuffix(".")
