"""Every test starts from the same random state and leaves the precision as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext

import jaxtyping
import pytest
import torch
from typechecker import begin_test
from waits import Waits

collect_ignore = ["support"]  # helpers; collected, each would be a second module beside the one that tests import

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True)
def seed() -> Iterator[int]:
    """The seed of the test: 0, or the environment variable LOWERBOUND_TEST_SEED (any of 0–99 must pass)."""
    value = int(os.environ.get("LOWERBOUND_TEST_SEED", "0"))
    dtype = torch.get_default_dtype()
    torch.manual_seed(value)
    jaxtyping.config.update("jaxtyping_disable", False)  # whatever the test before has left
    begin_test()
    yield value
    torch.set_default_dtype(dtype)


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of reports are made, and drawn in tests marked `drawn` alone: drawing takes most of the time."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("lowerbound.report.page._png", lambda figure: "")


@pytest.fixture
def brief_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps and repetitions, for what does not depend on how exact a finding is."""
    monkeypatch.setattr("lowerbound.diagnosis.case._STEPS", 20)
    monkeypatch.setattr("lowerbound.diagnosis.approximation._DISTRIBUTIONS", 6)
    monkeypatch.setattr("lowerbound.diagnosis.gradient_noise._MINIBATCHES", 12)
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._CHAIN", 100)
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._ROWS", 2)
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._DRAWS", 60)


@pytest.fixture
def as_users_run() -> Iterator[None]:
    """Without the type checks that only tests run: for arguments that users may get wrong and annotations forbid."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What waits for a device in the steps of fits; left out is the first, in which a loss checks its choices."""
    from lowerbound.training.training_run import TrainingRun  # the type checks come before the first import

    take_steps, seen = TrainingRun.advance, list[str]()

    def advance(run: TrainingRun, num_steps: int) -> None:
        with Waits(seen) if run.step > 0 else nullcontext():
            take_steps(run, num_steps)

    monkeypatch.setattr(TrainingRun, "advance", advance)
    return seen
