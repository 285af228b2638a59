"""What docs/own-nets-data-loop.md tells runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import torch

TEXT = (Path(__file__).parents[1] / "docs" / "own-nets-data-loop.md").read_text()


def test_its_python_runs(capsys):
    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "4", "4", "0", "1"]
    assert float(lines[-1].split()[1]) > float(lines[0].split()[1])  # it learns
