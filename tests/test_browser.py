"""The built book in headless Chromium, from the disk and without network: what a reader would stumble over."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import websocket
import yaml

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
    ids: [...document.querySelectorAll("[id]")].map(element => element.id),
    links: [...document.links].map(link => link.href),
})"""

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
        self.socket = websocket.create_connection(tab["webSocketDebuggerUrl"], suppress_origin=True, timeout=120)
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
    tab.resize(PHONE)
    return facts | {"phone": tab.evaluate("document.documentElement.scrollWidth")}


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
