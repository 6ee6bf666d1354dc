"""The built book in headless Chromium, from the disk and without network: what a reader would stumble over."""

import json
import math
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import websocket
import yaml

from maskfr_utils.names import TITLES
from maskfr_utils.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
PHONE = 390  # px
SETTLED = """Promise.all([
    window.MathJax ? MathJax.startup.promise : null,
    ...[...document.images].map(image => image.decode().catch(() => null)),
]).then(() => true)"""
FACTS = """({
    pictures: [...document.images].map(i => [i.src, i.getAttribute("alt"), i.naturalWidth, i.clientWidth]),
    formulas: document.querySelectorAll("mjx-container svg").length,
    "wrong formulas": document.querySelectorAll("[data-mjx-error]").length,
    figures: [...document.querySelectorAll("article figure")].map(figure => [
        figure.id, figure.querySelector("figcaption")?.innerText ?? "", !!figure.querySelector(".caption-number")]),
    "bare tables": [...document.querySelectorAll("article table:not(.indextable)")]
        .filter(table => !table.caption && !table.closest("figure")).map(table => table.innerText.slice(0, 60)),
    ids: [...document.querySelectorAll("[id]")].map(element => element.id),
    links: [...document.links].map(link => link.href),
})"""

# Text whose contrast to the background behind it is below WCAG's 4.5, in the theme of the page.
FAINT = """(() => {
    const numbers = colour => (colour.match(/[\\d.]+/g) ?? []).map(Number);
    const light = colour => numbers(colour).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor, n = numbers(colour);
            if (n.length === 3 || n[3] > 0.5) return colour;
        }
        return getComputedStyle(document.documentElement).getPropertyValue("color-scheme").includes("dark") ? "rgb(0,0,0)" : "rgb(255,255,255)";
    };
    const found = new Set();
    for (const element of document.querySelectorAll("article :is(p, li, td, th, figcaption, summary, dt, h1, h2, b, output)")) {
        if (!element.innerText?.trim() || !element.offsetParent) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.add(element.tagName + ": " + element.innerText.slice(0, 40) + " " + ratio.toFixed(1));
    }
    return [...found].slice(0, 5);
})()"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium installed (apt-get install chromium)")


class Tab:
    """One tab of a headless Chromium, driven over its debugging protocol.

    Args:
        profile: an empty folder for the browser's files.
    """

    def __init__(self, profile: Path):
        options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        options += " --disable-component-update --disable-sync --remote-debugging-port=0 --window-size=1200,900"
        command = [CHROMIUM, *options.split(), f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port, end = profile / "DevToolsActivePort", time.monotonic() + 30
        while not (port.exists() and port.read_text().count("\n")):
            assert self.process.poll() is None and time.monotonic() < end, "Chromium does not start"
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json/list") as answer:
            tab = next(target for target in json.load(answer) if target["type"] == "page")
        self.socket = websocket.create_connection(tab["webSocketDebuggerUrl"], suppress_origin=True, timeout=300)
        self.events: list[dict] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        """The answer to one command; events that arrive before it are kept."""
        self.socket.send(json.dumps({"id": 1, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if "id" in message:
                assert "error" not in message, f"{method}: {message}"
                return message["result"]
            self.events.append(message)

    def evaluate(self, script: str):
        """The value of a JavaScript expression, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def resize(self, width: int) -> None:
        """Makes the page `width` pixels wide; below 600 it is a phone's."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )

    def open(self, address: str, width: int = 1200) -> None:
        """Goes to a page and waits until pictures and formulas are there."""
        self.resize(width)
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))
        self.evaluate(SETTLED)

    def complaints(self) -> list[str]:
        """Errors in the console, files that did not load, and requests that leave the machine."""
        found = []
        for event in self.events:
            method, what = event["method"], event["params"]
            if method == "Network.requestWillBeSent" and not what["request"]["url"].startswith(("file:", "data:")):
                found.append(f"asks the network for {what['request']['url']}")
            elif (
                method in ("Network.loadingFailed", "Runtime.exceptionThrown")
                or (method == "Log.entryAdded" and what["entry"]["level"] == "error")
                or (method == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"))
            ):
                found.append(json.dumps(what)[:500])
        return found

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    tab = Tab(tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def visits(built_book, tab):
    """What each page showed: address -> facts; each page is opened once."""
    return {
        page.as_uri(): visit(tab, page.as_uri()) for page in sorted(built_book.glob("*.html")) if page.stem != "index"
    }


def visit(tab: Tab, address: str) -> dict:
    """Opens a page and notes what the tests look at."""
    tab.open(address)
    facts = tab.evaluate(FACTS) | {"complaints": tab.complaints()}
    faint = []
    for theme in ("light", "dark"):
        tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        faint += [f"{theme}: {text}" for text in tab.evaluate(FAINT)]
    tab.resize(PHONE)
    return facts | {"faint": faint, "phone": tab.evaluate("document.documentElement.scrollWidth")}


def test_every_page_is_there(visits):
    assert {Path(address).stem for address in visits} == {*PAGES, "search", "genindex"}


def test_pages_load_without_complaint(visits):
    assert {address: facts["complaints"] for address, facts in visits.items() if facts["complaints"]} == {}


def test_pictures_have_size_and_alt_text(visits):
    pictures = [picture for facts in visits.values() for picture in facts["pictures"]]
    assert pictures
    for source, alt, drawn, shown in pictures:
        assert drawn > 0 and shown > 0, f"{source} is {drawn} px wide, shown at {shown}"
        assert alt and not alt.startswith("_images"), f"{source} has the alt text {alt!r}"


def test_formulas_are_drawn(visits):
    assert sum(facts["formulas"] for facts in visits.values()) > 10
    assert [address for address, facts in visits.items() if facts["wrong formulas"]] == []


def test_pages_fit_a_phone(visits):
    assert {address: facts["phone"] for address, facts in visits.items() if facts["phone"] > PHONE} == {}


def test_text_can_be_read_in_light_and_dark(visits):
    assert {address: facts["faint"] for address, facts in visits.items() if facts["faint"]} == {}


def test_figures_and_tables_have_numbers_and_captions(visits):
    figures = [figure for facts in visits.values() for figure in facts["figures"]]
    assert len(figures) > 50
    for name, caption, numbered in figures:
        assert name and numbered and len(caption) > 20, f"{name}: {caption!r}"
    assert not [table for facts in visits.values() for table in facts["bare tables"]]


def test_a_table_of_results_sorts(built_book, tab):
    tab.open((built_book / "compare_models.html").as_uri())
    column = "[...document.querySelectorAll('#tab-cost tbody tr')].map(row => parseFloat(row.cells[1].innerText))"
    before = tab.evaluate(column)
    tab.evaluate("document.querySelectorAll('#tab-cost thead th')[1].click()")
    assert tab.evaluate(column) == sorted(before, reverse=True)
    tab.evaluate("document.querySelectorAll('#tab-cost thead th')[1].click()")
    assert tab.evaluate(column) == sorted(before)
    tab.open((built_book / "arcface.html").as_uri())  # numbers with exponents
    column = column.replace("tab-cost", "tab-scored")
    before = tab.evaluate(column)
    tab.evaluate("document.querySelectorAll('#tab-scored thead th')[1].click()")
    assert tab.evaluate(column) == sorted(before, reverse=True)
    column = column.replace("tab-scored", "tab-cost")
    tab.open((built_book / f"{PAGES[0]}.html").as_uri())  # whose table is no output of a cell
    shares = column.replace("tab-cost", "tab-headline") + ".filter(share => share > 0)"
    before = tab.evaluate(shares)
    tab.evaluate("document.querySelectorAll('#tab-headline thead th')[1].click()")
    assert tab.evaluate(shares) == sorted(before, reverse=True) != before


@pytest.mark.parametrize(("page", "figure"), [("data", "div.cell_output img"), ("tuning", ".pointed svg")])
def test_a_figure_fits_a_phone_and_grows_at_a_tap(built_book, tab, page, figure):
    tab.open((built_book / f"{page}.html").as_uri(), PHONE)
    width = f"document.querySelector('{figure}').getBoundingClientRect().width"
    fits = tab.evaluate(width)
    tab.evaluate(f"document.querySelector('{figure}').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert fits < PHONE < tab.evaluate(width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_curves_say_their_names(built_book, tab):
    tab.open((built_book / "tuning.html").as_uri())
    tab.evaluate("document.querySelector('.pointed g.run').dispatchEvent(new Event('pointerenter'))")
    assert tab.evaluate("document.querySelector('.pointed .told').innerText") in TITLES.values()


def test_sliders_move_the_curve_of_arcface(built_book, tab):
    """Among 1,000 people, all others at 90 degrees, a face at 60 degrees, without a margin: 1 / (1 + 999 exp(-s cos 60°))."""
    tab.open((built_book / "arcface.html").as_uri())
    said = "document.querySelector('#play-arcface .said').innerText"
    set_s = (
        "(() => { const s = document.querySelector('#play-arcface input'); s.value = 10; s.oninput(); return true; })()"
    )
    before = tab.evaluate(said)
    tab.evaluate(set_s)
    after = tab.evaluate(said)
    share = float(after.split(", ")[1].split("%")[0])  # "At 60°: ...% with the margin, ...% without."
    assert before != after and share == pytest.approx(
        100 / (1 + 999 * math.exp(-10 * math.cos(math.radians(60)))), rel=0.01
    )


def test_internal_links_resolve(visits):
    internal = 0
    for page, facts in visits.items():
        for link in facts["links"]:
            address, _, anchor = link.partition("#")
            if address.startswith("file:"):
                internal += 1
                assert Path(urllib.request.url2pathname(address.removeprefix("file://"))).exists(), f"{page}: {link}"
                assert not anchor or urllib.parse.unquote(anchor) in visits[address]["ids"], f"{page} links to {link}"
    assert internal > 100


def test_search_finds_a_word_of_the_study(built_book, tab):
    tab.open((built_book / "search.html").as_uri() + "?q=FReLU")
    end, found = time.monotonic() + 20, []
    while not found and time.monotonic() < end:
        time.sleep(0.2)
        found = tab.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert any("blocks.html" in link for link in found)


def test_search_for_a_figure_of_the_report_finds_it_first(built_book, tab):
    tab.open((built_book / "search.html").as_uri() + "?q=Figure+3")
    end, found = time.monotonic() + 20, []
    while not found and time.monotonic() < end:
        time.sleep(0.2)
        found = tab.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert "blocks.html" in found[0] and found[0].endswith("#fig-ibasic")
