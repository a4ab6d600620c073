"""Which cases of the matrix run: a sample drawn by a seed, or all of them."""

from __future__ import annotations

import pytest

from harness.chaos.matrix import Case, possible, sample

SAMPLE, SEED = 12, 4


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos", "faults in rollouts")
    group.addoption("--full-matrix", action="store_true", help="every fault in every phase of every policy")
    group.addoption("--chaos-seed", type=int, default=SEED, help="which sample of the matrix (default: %(default)s)")
    group.addoption("--chaos-sample", type=int, default=SAMPLE, help="how many cases (default: %(default)s)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        chosen = cases(metafunc.config)
        metafunc.parametrize("case", chosen, ids=[case.name for case in chosen])


def cases(config: pytest.Config) -> list[Case]:
    """The cases of this session."""
    everything = possible()
    if config.getoption("--full-matrix"):
        return everything
    return sample(everything, config.getoption("--chaos-sample"), config.getoption("--chaos-seed"))
