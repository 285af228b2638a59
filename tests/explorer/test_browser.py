"""The pages in a browser: nothing is said on the console, points are decoded, and keys do what they say."""

import json

import numpy as np
import pytest
from chromium import PROGRAM, Chromium

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")]
DRAWN = "document.querySelector('#here')?.children.length"


@pytest.fixture
def browser(tmp_path):
    with Chromium(tmp_path / "profile") as found:
        yield found


def canvas_of(browser, place):
    """The grey values of the first picture in an element."""
    script = f"""(() => {{ const c = document.querySelector('{place} canvas');
      const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      return JSON.stringify(Array.from(p).filter((_, i) => i % 4 === 0)); }})()"""
    return np.array(json.loads(browser.run(script)))


def grey(view):
    import base64

    return np.frombuffer(base64.b64decode(view["pixels"]), dtype=np.uint8)


def test_the_served_page_decodes_what_the_model_decodes(browser, server, explorer):
    browser.open(server.address)
    browser.until(DRAWN)
    of_order = [int(d) for d in json.loads(browser.run("JSON.stringify([...byId('up').options].map((o) => o.value))"))]
    names = json.loads(browser.run("JSON.stringify([...byId('up').options].map((o) => o.textContent))"))
    numbers = [int(name.split()[1]) for name in names]  # "latent 0", as `traverse` and the columns of `encode` say
    assert numbers == of_order
    browser.run("byId('over').focus()")
    for _ in range(9):
        browser.key("ArrowRight")
    browser.key("ArrowUp")
    browser.until("!asking && !wanted")
    assert browser.run("document.querySelector('#here figcaption').textContent") == "E[x | z]"
    z = json.loads(browser.run("JSON.stringify(Array.from(here()))"))
    np.testing.assert_array_equal(canvas_of(browser, "#here"), grey(explorer.decode([z])[0]))
    browser.key("Enter")
    browser.until("byId('row').children.length")
    row = browser.run("chosen.row")
    np.testing.assert_array_equal(canvas_of(browser, "#row"), grey(explorer.originals([row])[0]))
    browser.key("a")
    for _ in range(9):
        browser.key("ArrowDown")
    browser.key("b")
    browser.until("document.querySelectorAll('#steps figure').length === 9")
    browser.run("byId('way').value = 'circle'; byId('way').dispatchEvent(new Event('change'))")
    ends = [json.loads(browser.run(f"JSON.stringify(Array.from(walk.{end}))")) for end in "ab"]
    latents, _ = explorer.walk(*ends, "circle")
    browser.until(f"Math.abs(map.path[4][0] - {latents[4][0]}) < 1e-4")
    browser.run("[...document.querySelectorAll('#own button')].find((b) => b.textContent.startsWith('Take')).click()")
    browser.run("[...document.querySelectorAll('#own button')].find((b) => b.textContent === 'Encode').click()")
    browser.until("own")
    np.testing.assert_allclose(
        json.loads(browser.run("JSON.stringify(Array.from(own))")), explorer.mean[row], atol=1e-4
    )
    browser.run("byId('over').focus()")
    browser.key("Escape")
    assert browser.run("chosen === null && map.path.length === 0")
    assert browser.problems == []


def test_a_first_look_is_followed_by_the_draw_when_the_cursor_rests(browser, in_turn, monkeypatch):
    monkeypatch.setattr("lowerbound.explorer.explorer.QUICK_SECONDS", -1.0)
    with in_turn.serve() as server:
        browser.open(server.address)
        browser.until("document.querySelector('#here figcaption')")
        browser.run("""window.said = new Set(); new MutationObserver(() => {
          said.add(document.querySelector('#here figcaption').textContent);
        }).observe(byId('here'), { childList: true })""")
        browser.run("byId('over').focus()")
        browser.key("ArrowRight")
        browser.until("said.size === 2")
        first, drawn = json.loads(browser.run("JSON.stringify([...said])"))
        assert first.startswith("A first look")
        assert drawn == "E[x_d | x_<d, z] along one draw of x"
        z = json.loads(browser.run("JSON.stringify(Array.from(here()))"))
        np.testing.assert_array_equal(canvas_of(browser, "#here"), grey(in_turn.decode([z])[0]))
        assert browser.problems == []


def test_every_control_is_reached_by_tab_and_shows_it(browser, server):
    browser.open(server.address)
    browser.until(DRAWN)
    count = browser.run("""[...document.querySelectorAll('select, button, input, textarea, summary, [tabindex]')]
      .filter((one) => one.offsetParent && !one.disabled).length""")
    reached, outlines = set(), set()
    while not reached or browser.run("document.activeElement !== document.body"):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        if browser.run("document.activeElement === document.body"):
            break
        found = "(() => { const a = document.activeElement; window.order ??= new Map();"
        found += " if (!order.has(a)) order.set(a, order.size); return order.get(a); })()"
        reached.add(browser.run(found))
        outlines.add(browser.run("getComputedStyle(document.activeElement).outlineStyle"))
    assert (len(reached), outlines) == (count, {"solid"})
    assert browser.problems == []


def test_a_picture_is_drawn_by_keys(browser, server):
    browser.open(server.address)
    browser.until(DRAWN)
    browser.run("document.querySelector('#own canvas').focus()")
    browser.key(" ")
    browser.key("ArrowUp")
    browser.key(" ")
    drawn = canvas_of(browser, "#own").reshape(4, 40, 5, 40)
    expected = np.zeros((4, 5))
    expected[[2, 1], 2] = 255
    np.testing.assert_array_equal(drawn.mean((1, 3)), expected)
    browser.key("Delete")
    expected[1, 2] = 0
    np.testing.assert_array_equal(canvas_of(browser, "#own").reshape(4, 40, 5, 40).mean((1, 3)), expected)
    assert browser.problems == []


def test_the_saved_page_needs_no_server(browser, explorer, tmp_path):
    path = explorer.write(tmp_path / "page.html")
    browser.open(path.as_uri())
    browser.until(DRAWN)
    browser.run("byId('over').focus()")
    browser.key("Enter")
    browser.until("byId('row').children.length")
    row = browser.run("chosen.row")
    np.testing.assert_array_equal(canvas_of(browser, "#row"), grey(explorer.originals([row])[0]))
    assert browser.problems == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_table_fits_the_window_and_its_names_are_text(tmp_path, of_people, width):
    with of_people.serve() as server, Chromium(tmp_path / "profile", width, 900) as browser:
        browser.open(server.address)
        browser.until(DRAWN)
        browser.run("choose(3)")
        browser.until("byId('row').children.length")
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('b, i:not(.track i)').length") == 0
        assert "</script><b>city" in browser.run("byId('row').textContent")
        assert "(gap)" in browser.run("byId('row').textContent")
        assert browser.problems == []


def test_a_hundred_thousand_rows_are_drawn(tmp_path, explorer):
    """The buffer of pixels takes them all; how long that takes is printed and not judged."""
    from small_pictures import of_pictures

    many = np.random.default_rng(0).integers(0, 2, (100_000, 4, 5))
    with of_pictures().explore(many, num_rows=100_000).serve() as server, Chromium(tmp_path / "profile") as browser:
        browser.open(server.address)
        browser.until(DRAWN)
        milliseconds = browser.run(
            "(() => { const t = performance.now(); map.draw(); return performance.now() - t; })()"
        )
        print(f"100,000 points: {milliseconds:.0f} ms")
        assert browser.run("map.xs.length") == 100_000
        assert browser.problems == []
