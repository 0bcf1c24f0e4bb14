"""Signatures as command lines."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from tal.arguments import Fields, parse
from tal.errors import ConfigError


def example(inputs: list[Path], *, out: Path = Path("x"), retry_failed: bool = False, rate: float | None = None) -> int:
    """An example.

    Args:
        inputs: Files
            and folders.
        out: Where to.
        retry_failed: Again.
        rate: Per second.
    """
    return len(inputs)


def test_words_become_typed_arguments():
    values = parse(example, "example", ["a b", "c", "--retry-failed", "--rate", "2.5"])
    assert values["inputs"] == [Path("a b"), Path("c")]
    assert (values["retry_failed"], values["rate"], values["out"]) == (True, 2.5, Path("x"))


def test_help_shows_the_docstring(capsys):
    with pytest.raises(SystemExit):
        parse(example, "example", ["--help"])
    shown = capsys.readouterr().out
    assert "Files and folders." in shown
    assert "Per second." in shown


def rich(
    names: list[str] | None = None, *, out: Path, kind: Literal["a", "b"] = "a", tiou: list[float] | None = None
) -> None:
    """Rich, 100 % of it."""


def test_kinds_of_options():
    assert parse(rich, "rich", ["--out", "x", "--tiou", "0.5", "0.75", "--kind=b"]) == {
        "names": None,
        "out": Path("x"),
        "kind": "b",
        "tiou": [0.5, 0.75],
        "log_level": "info",
    }
    assert parse(rich, "rich", ["n-1", "n_2", "--out=a_b-c"])["names"] == ["n-1", "n_2"]
    assert parse(rich, "rich", ["--out=a_b-c"])["out"] == Path("a_b-c")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: --out"),
        (["--out", "x", "--kind", "c"], "choose from"),
        (["--out", "x", "--tiou", "much"], "invalid float value: 'much'"),
        (["--out", "x", "--knd", "a"], "unrecognized arguments: --knd"),
    ],
)
def test_wrong_words_are_misuse(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(rich, "rich", words)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_what_a_command_line_cannot_give_is_refused():
    def odd(*, both: int | str) -> None:
        """Odd."""

    with pytest.raises(TypeError, match="cannot be given"):
        parse(odd, "odd", [])


@dataclass
class Base:
    """What all have.

    Args:
        rule: How.
    """

    rule: Literal["strict", "loose"] = "strict"


@dataclass
class Rules(Base):
    """One kind.

    Args:
        tiou: Thresholds.
        exact: To the digit.
        table: A file,
            as text.
    """

    tiou: tuple[float, ...] = (0.5, 0.75)
    exact: bool = False
    table: Path | None = None


def open_ended(name: str, **options: object) -> None:
    """Takes what the name says."""


RULES = Fields(owner="rules", of=Rules, names=("rule", "tiou", "exact", "table"), defaults={"tiou": (0.5, 0.75)})


def test_fields_of_a_dataclass_become_options():
    words = ["x", "--tiou", "0.5,0.6", "0.7", "--rule", "loose", "--exact", "--table", "a.txt"]
    values = parse(open_ended, "open", words, RULES)
    assert values["tiou"] == (0.5, 0.6, 0.7)
    assert (values["rule"], values["exact"], values["table"]) == ("loose", True, Path("a.txt"))


def test_fields_that_are_not_given_are_left_out():
    assert set(parse(open_ended, "open", ["x"], RULES)) == {"name", "log_level"}


def test_help_of_fields_comes_from_the_dataclass_and_its_base(capsys):
    with pytest.raises(SystemExit):
        parse(open_ended, "open", ["--help"], RULES)
    shown = " ".join(capsys.readouterr().out.split())
    assert "Thresholds. (default: 0.5 0.75)" in shown
    assert "How." in shown
    assert "A file, as text." in shown


@pytest.mark.parametrize("words", [["--tiou", "half"], ["--tiou", "0.5;0.6"]])
def test_wrong_numbers_are_told_with_the_option(words):
    with pytest.raises(ConfigError, match="--tiou"):
        parse(open_ended, "open", ["x", *words], RULES)


def test_a_parameter_is_described_as_the_fields_say(capsys):
    rules = replace(RULES, about={"name": "What it is called here."})
    with pytest.raises(SystemExit):
        parse(open_ended, "open", ["--help"], rules)
    assert "What it is called here." in capsys.readouterr().out


@pytest.mark.parametrize(("word", "meant"), [("--retry-faild", "--retry-failed"), ("--rats=2", "--rate")])
def test_a_mistyped_option_names_the_one_that_was_meant(word, meant, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(example, "example", ["a", word])
    assert caught.value.code == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err
