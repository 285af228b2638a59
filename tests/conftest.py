"""What every test shares: one thread a worker, derandomised Hypothesis, GPU tests skipped where there is none."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("lowerbound", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("lowerbound")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
