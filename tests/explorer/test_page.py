"""One file with everything in it, of which no name of the data can become a part of the script."""

import base64
import hashlib
import json
import re
from importlib.resources import files

import numpy as np
import pytest

from lowerbound.cli import main
from lowerbound.explorer.page import page


def content_of(text):
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL)[1])


def scripts_of(text):
    return re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)


def test_the_policy_allows_this_script_and_style_alone():
    text = page("a", None)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#x27;", "'")
    for kind, found in (("script", scripts_of(text)), ("style", re.findall(r"<style>(.*?)</style>", text, re.DOTALL))):
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy
    assert "connect-src 'none'" in page("a", {}).replace("&#x27;", "'")
    assert not re.search(r"""\son\w+=|style=|https?://""", text)


def test_the_files_of_the_page_are_in_the_package():
    names = {one.name for one in files("lowerbound.explorer").joinpath("static").iterdir()}
    assert names == {"page.html", "style.css", "source.js", "views.js", "map.js", "own.js", "page.js"}


def test_no_name_ends_its_element(of_people, tmp_path):
    path = of_people.write(tmp_path / "people.html")
    text = path.read_text()
    assert "</script><b>city" not in text
    assert "<i>" not in text
    content = content_of(text)
    assert content["colours"][-2]["name"] == "</script><b>city"
    assert len(scripts_of(text)) == 1


def test_a_saved_page_holds_a_decoded_grid_and_rows(explorer, tmp_path):
    content = content_of(explorer.write(tmp_path / "page.html").read_text())
    saved = content["saved"]
    order = np.argsort(-explorer.activity).tolist()
    assert set(saved["planes"]) == {"pca", f"{order[0]},{order[1]}"}
    plane = saved["planes"]["pca"]
    count, (left, _, _, top) = plane["points"], plane["box"]
    z = explorer.directions(None).lift(np.array([[left, top]]), explorer.mean.mean(0))
    corner = saved["views"][plane["shown"][(count - 1) * count]]
    assert corner == explorer.decode(z)[0]
    assert set(saved["rows"]) == {str(i) for i in range(len(explorer.mean))}
    assert saved["views"][saved["rows"]["2"]["original"]] == explorer.originals([2])[0]
    assert saved["views"][saved["rows"]["2"]["reconstruction"]] == explorer.reconstructions([2])[0]
    assert saved["rows"]["2"]["neighbours"] == explorer.neighbours(2)
    assert saved["findings"] is None


def test_a_page_that_is_there_is_kept(explorer, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        explorer.write(path)
    assert path.read_text() == "mine"
    explorer.write(path, force=True)
    assert "<canvas" in path.read_text()
    with pytest.raises(ValueError, match="Could not write"):
        explorer.write(tmp_path / "no" / "folder.html")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    words = ["--steps", "3", "--hidden", "8", "--latent-dim", "2", "--no-evaluate", "--no-compile", "--device", "cpu"]
    assert main(["fit", "digits", *words, "--out", str(path)]) == 0
    return path


def test_the_command_writes_a_page(run, tmp_path, capsys):
    words = ["explore", str(run), "--num-rows", "20", "--no-diagnose", "--out", str(tmp_path / "page.html")]
    assert main(words) == 0
    assert "Wrote the latent space of 20 rows" in capsys.readouterr().out
    content = content_of((tmp_path / "page.html").read_text())
    assert (content["count"], content["title"], content["saved"]["findings"]) == (20, "vae on digits", None)
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


@pytest.mark.slow
def test_a_page_of_the_command_has_the_findings_of_diagnose(run, tmp_path, capsys, brief_diagnosis):
    assert main(["explore", str(run), "--num-rows", "20", "--out", str(tmp_path / "page.html")]) == 0
    found = content_of((tmp_path / "page.html").read_text())["saved"]["findings"]
    assert main(["diagnose", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])["findings"]
    assert {one["name"]: one["sentence"] for one in found} == {one["name"]: one["sentence"] for one in told}


@pytest.mark.parametrize(
    "words, part",
    [
        (["--out", "page.txt"], "must end in .html"),
        (["--out", "page.html", "--port", "80"], "leave one of them out"),
        (["--num-rows", "1"], "'--num-rows'"),
        (["--port", "70000"], "'--port'"),
        (["--label", "y"], "--label goes with --data"),
    ],
)
def test_a_misused_option_is_one_sentence(run, words, part, capsys):
    assert main(["explore", str(run), *words]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1


def test_the_command_serves_until_it_is_interrupted(run, capsys, monkeypatch):
    from lowerbound.explorer.server import ExplorerServer

    opened = []

    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(ExplorerServer, "wait", interrupted)
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["explore", str(run), "--num-rows", "5"]) == 0
    out, err = capsys.readouterr()
    address = re.search(r"Latent space of 5 rows: (http://127\.0\.0\.1:\d+/[\w-]{32}/)\n", out)[1]
    assert opened == [address]
    assert err == "Ctrl-C ends it.\nEnded.\n"
    assert main(["explore", str(run), "--num-rows", "5", "--no-browser"]) == 0
    assert opened == [address]
