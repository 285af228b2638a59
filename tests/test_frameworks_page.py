"""What docs/frameworks.md tells runs as it stands, where Lightning and Hugging Face datasets are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "frameworks.md").read_text()
LIGHTNING, *OF_DATASETS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Lightning, about its own settings
def test_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    exec(LIGHTNING, names)
    assert names["trainer"].global_step == 8
    assert names["fitted"].sample(2).shape == (2, 8, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of datasets, about its own cache
def test_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    Path("rows.csv").write_text("a,b,c\n" + "\n".join(f"{i % 7},{i % 3}.5,{i % 5}" for i in range(60)))
    names: dict = {"__name__": "page"}
    exec("import torch\nimport lowerbound as lb\n" + "\n".join(OF_DATASETS), names)
    assert list(names["fitted"].sample(2).columns) == ["a", "b", "c"]
    assert names["record"].step == 4
