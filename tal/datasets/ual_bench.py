"""UAL-Bench: when the unusual happens, in accidents (UAG-OOPS), self-stimulation (UAG-SSBD) and jokes (UAG-FunQA)."""

from tal.datasets.kinds.onset import OnsetProtocol

PROTOCOL = OnsetProtocol(
    name="ual-bench",
    title="UAL-Bench unusual activity localization",
    sizes=(("uag-oops", 1589), ("uag-ssbd", 104), ("uag-funqa", 172), ("charades", 3720)),
    source="Hasnat79/UAL_Bench, src/eval/eval_your_results.py",
)
