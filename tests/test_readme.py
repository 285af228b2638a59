"""What the README tells a newcomer to type works."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_its_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it saves a run
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) >= 2
    shorter = "\n".join(blocks).replace("random_state=0", "random_state=0, epochs=1")
    assert "epochs=1" in shorter
    names: dict[str, object] = {}
    exec(shorter, names)
    assert names["images"].shape == (16, 64)  # type: ignore[attr-defined]


def test_its_make_targets_exist():
    targets = set(re.findall(r"^make ([a-z-]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if not link.startswith("https://")]
    assert links
    assert all((ROOT / link).exists() for link in links)
