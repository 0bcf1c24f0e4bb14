"""Parts of a parity case, for modules that have a fixture `case` (see parity.py)."""

import pytest


@pytest.fixture(scope="module")
def facts(case):
    """What its json says."""
    return case.facts


@pytest.fixture(scope="module")
def values(case):
    """Its inputs and outputs, by name."""
    return case.values


@pytest.fixture(scope="module")
def batch(case):
    """All of its videos."""
    return case.batch()
