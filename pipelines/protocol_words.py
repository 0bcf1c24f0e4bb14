"""Words of a command whose options depend on the protocol that is named first."""

from collections.abc import Callable, Sequence

from tal.arguments import Fields, parse
from tal.console import set_up_logging
from tal.datasets.protocol import Protocol
from tal.registry import PROTOCOLS


def run_with_protocol(function: Callable[..., int], name: str, words: Sequence[str]) -> int:
    """Call `function(protocol, ..., **options)` with the words; the options are those of the protocol.

    Raises:
        SystemExit: code 2 after a message about a wrong word, code 0 after --help.
        TalError: no such protocol.
    """
    arguments = parse(function, name, words, protocol_fields(words))
    set_up_logging(arguments.pop("log_level"))
    return function(**arguments)


def protocol_fields(words: Sequence[str]) -> Fields | None:
    """The options of the protocol that the words name, first or later; None if they name none.

    Raises:
        TalError: the first word is no protocol.
    """
    named = words[0] if words and not words[0].startswith("-") else next((w for w in words if w in PROTOCOLS), None)
    if named is None:
        return None
    protocol: Protocol = PROTOCOLS.load(named)
    names = protocol.open_options
    return Fields(
        owner=named,
        of=type(protocol),
        names=names,
        defaults={each: getattr(protocol, each) for each in names},
        choices={"variant": tuple(protocol.variants)},
        about={
            "annotations": protocol.annotation_files,
            "predictions": protocol.prediction_files,
            "variant": "Apply the rules of another tool. " + "; ".join(_told(protocol)) + ".",
        },
    )


def _told(protocol: Protocol) -> list[str]:
    """Each variant in words."""
    return [f"{name}: {variant.about.rstrip('.')}" for name, variant in protocol.variants.items()]
