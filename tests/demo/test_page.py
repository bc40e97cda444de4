"""The demo's page in a real Chromium: what one does to an answer, and what one sees of it."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Locator, Page, Route, expect

from streamhub.demo import essence
from streamhub.demo.model_server import text_for, tokens
from streamhub.testing.waiting import bounded, patience

from ..support.chromium import Pages
from .running_demo import BOUND, MODES, Demo, running

pytestmark = pytest.mark.slow

QUESTION = "How does streamhub keep this answer alive?"
#: What the browser logs of a connection that was cut.
CUT = "net::ERR_INCOMPLETE_CHUNKED_ENCODING"
#: And of asking a demo that has ended already, or ends at that moment.
ENDED = r"net::ERR_(CONNECTION_(REFUSED|RESET|CLOSED)|EMPTY_RESPONSE)"
#: The text of an answer without its seams.
TEXT = """element => {
  const copy = element.querySelector(".text").cloneNode(true);
  copy.querySelectorAll(".seam").forEach(seam => seam.remove());
  return copy.textContent;
}"""
RENDER = """async text => {
  const { blocks, render } = await import("/markdown.js");
  const ink = { text: text => document.createTextNode(text), mark: () => [] };
  const root = document.createElement("div");
  root.append(...blocks(text).map(block => render(block, ink)));
  return root.innerHTML;
}"""
#: What a text looks like after each of its tokens, while it is written.
WRITTEN = """async tokens => {
  const { blocks, render, settled } = await import("/markdown.js");
  const ink = { text: text => document.createTextNode(text), mark: () => [] };
  let text = "";
  return tokens.map(token => {
    text += token;
    const root = document.createElement("div");
    root.append(...blocks(settled(text)).map(block => render(block, ink)));
    return root.textContent;
  });
}"""
#: Keeps all that the page says of how an answer stands, and all signs that were seen in its text.
WATCH = """() => {
  window.seen = { states: [], signs: [] };
  new MutationObserver(() => {
    for (const turn of document.querySelectorAll(".turn")) {
      const goesOn = turn.querySelector(".seam.crash") !== null;
      seen.states.push([turn.querySelector(".state").textContent, goesOn]);
      seen.signs.push(...turn.querySelector(".text").textContent.match(/[*#`]+/g) ?? []);
    }
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
}"""


@pytest.fixture(scope="module", params=MODES)
async def demo(request: pytest.FixtureRequest) -> AsyncIterator[Demo]:
    """A demo that answers slowly enough to be disturbed."""
    async with running("--pace", "60", *MODES[request.param]) as demo:
        yield demo


@pytest.fixture(scope="module")
async def plain_demo() -> AsyncIterator[Demo]:
    """One for tests that do nothing to it."""
    async with running("--memory") as demo:
        yield demo


@pytest.fixture
def pages(pages: Pages) -> Pages:
    """They outlive the demo, and go on asking for it."""
    pages.expect_errors(ENDED)
    return pages


async def _ask(page: Page, question: str = QUESTION) -> Locator:
    """Type a question, and send it as one does; its turn on the page."""
    turns = await page.locator(".turn").count()
    await page.get_by_label("Your question").fill(question)
    await page.keyboard.press("Enter")
    return page.locator(".turn").nth(turns)


async def _has(turn: Locator, count: int) -> None:
    """Wait until so many chunks have come."""
    async with bounded(BOUND):
        while int(await turn.get_attribute("data-chunks") or 0) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # nothing in the browser waits for a number


async def _becomes(turn: Locator, state: str) -> None:
    await expect(turn).to_have_attribute("data-state", state, timeout=patience(BOUND) * 1000)


def _plain(markdown: str) -> str:
    """What is left of a text when only its letters count."""
    return "".join(re.findall(r"[a-zA-Z]", markdown))


async def _assert_whole(turn: Locator, chunks: int) -> None:
    """The whole text is there, of so many chunks, none missing and none doubled."""
    facts = [await turn.get_attribute(f"data-{name}") for name in ("chunks", "holes", "doubles")]
    assert [str(chunks), "0", "0"] == facts
    assert _plain(text_for(QUESTION)) == _plain(await turn.evaluate(TEXT))


async def test_an_answer_survives_all_that_one_does_to_it(demo: Demo, pages: Pages) -> None:
    """Cut the connection, open a second tab, crash the producer, reload: every tab ends with the
    whole text, each chunk once, and shows the seams."""
    pages.expect_errors(CUT)
    page = await pages.open(demo.url)
    turn = await _ask(page)
    await _has(turn, 30)
    await page.get_by_role("button", name="Cut connection").click()
    await _becomes(turn, "reconnecting")
    await _becomes(turn, "following")

    async with page.context.expect_page() as opened:
        await page.get_by_role("button", name="Second tab").click()
    second = await opened.value
    other = second.locator(".turn").last
    await _has(other, 100)
    await page.get_by_role("button", name="Crash producer").click()
    await expect(page.locator(".seam.crash")).to_have_count(1, timeout=patience(BOUND) * 1000)
    cut = await page.locator(".seam.cut").inner_text()
    match = re.fullmatch(r"connection cut here, (\d+) missed chunks? made up for", cut)
    assert match is not None, cut
    missed = page.locator("#tab [data-fact=missed-made-up-for] dd")
    assert int(match[1]) <= int(await missed.inner_text())

    await page.get_by_role("button", name="Reload").click()
    turn = page.locator(".turn").last
    await _becomes(turn, "finished")
    await _becomes(other, "finished")
    session = (await demo.get(f"/chats/{page.url.partition('chat=')[2]}?tab=look"))["turns"][0]
    assert 2 == len(session["producers"])
    first, then = (producer["name"] for producer in session["producers"])
    for each in (turn, other):
        await _assert_whole(each, session["chunks"])
        await expect(each.locator(".seam.crash")).to_have_text(f"{first} died here, {then} goes on")
    for tab in (page, second):
        await expect(tab.locator("#writers span")).to_have_text([first, f"{then} went on"])
        await expect(tab.locator("#writers i")).to_have_class(["by-0", "by-1"])
        await expect(tab.locator("#log .strip i")).to_have_class(["by-0", "by-1"])
    # Its own connection was not cut: that another producer went on is no reconnect of the tab.
    for fact in ("reconnects", "missed-made-up-for"):
        await expect(second.locator(f"#tab [data-fact={fact}] dd")).to_have_text("0")


async def test_stop_is_seen_in_every_tab(demo: Demo, pages: Pages) -> None:
    """The button in one, the end in both, and the next question may be asked."""
    page = await pages.open(demo.url)
    turn = await _ask(page)
    await _has(turn, 20)
    second = await pages.open(page.url)
    await _has(second.locator(".turn"), 20)
    await page.get_by_role("button", name="Stop").click()

    for tab in (page, second):
        await _becomes(tab.locator(".turn"), "cancelled")
        await expect(tab.get_by_text("stopped", exact=True)).to_be_visible()
        await expect(tab.get_by_role("button", name="Send")).to_be_visible()
    counts = {await tab.locator(".turn").get_attribute("data-chunks") for tab in (page, second)}
    assert 1 == len(counts)


async def test_a_question_of_one_tab_is_seen_in_the_other(pages: Pages, plain_demo: Demo) -> None:
    """Tabs on one chat show the same turns."""
    page = await pages.open(plain_demo.url)
    second = await pages.open(page.url)
    await _becomes(await _ask(page), "finished")
    await _becomes(second.locator(".turn"), "finished")
    await _becomes(await _ask(second, "Why does bread rise?"), "finished")

    await expect(page.locator(".turn")).to_have_count(2)
    for tab in (page, second):
        questions = await tab.locator(".question").all_inner_texts()
        assert [QUESTION, "Why does bread rise?"] == questions
        await _becomes(tab.locator(".turn").last, "finished")


async def test_a_failure_is_shown_with_its_reason(pages: Pages) -> None:
    """An API that is not there is a clear error on the page, also after a reload."""
    url = "http://127.0.0.1:1/v1"
    async with running("--memory", "--openai-url", url, "--model", "m") as demo:
        page = await pages.open(demo.url)
        await _becomes(await _ask(page), "failed")
        for _ in range(2):
            error = page.locator(".turn .error")
            await expect(error).to_contain_text(f"cannot reach the model API at {url}")
            await page.reload()


@pytest.mark.parametrize("demo", ["memory"], indirect=True)
async def test_a_browser_that_gives_up_is_helped(demo: Demo, pages: Pages) -> None:
    """Upon some answers an EventSource stops for good. The page then asks how the session stands,
    and goes on after the last cursor if it has not ended."""
    pages.expect_errors(CUT, "502")

    async def gives_up(page: Page, status: int) -> None:
        turn = await _ask(page)
        await _has(turn, 30)
        answered = asyncio.Event()

        async def answer(route: Route) -> None:
            await route.fulfill(status=status)
            answered.set()

        await page.route("**/stream?*", answer, times=1)
        await page.get_by_role("button", name="Cut connection").click()
        await asyncio.wait_for(answered.wait(), patience(BOUND))
        await _becomes(turn, "finished")
        chunks = (await demo.turn(await turn.get_attribute("data-session") or ""))["chunks"]
        await _assert_whole(turn, chunks)

    tabs = {status: await pages.open(demo.url) for status in (204, 502)}
    await asyncio.gather(*(gives_up(page, status) for status, page in tabs.items()))


async def test_the_page_survives_its_server(pages: Pages, redis_url: str) -> None:
    """While the demo is gone it says so; when it is back, the chat goes on by itself."""
    async with running("--redis", redis_url) as demo:
        page = await pages.open(demo.url)
        turn = await _ask(page)
        await _becomes(turn, "finished")
        port = demo.url.rsplit(":", 1)[1].strip("/")
    await expect(page.get_by_role("alert")).to_contain_text("does not answer")
    async with running("--redis", redis_url, port=("--port", port)):
        await expect(page.get_by_role("alert")).to_be_hidden(timeout=patience(BOUND) * 1000)
        await _becomes(await _ask(page, "Why does bread rise?"), "finished")
        await expect(page.locator(".turn")).to_have_count(2)


@pytest.mark.parametrize("demo", ["memory"], indirect=True)
async def test_it_fits_on_every_screen(demo: Demo, pages: Pages) -> None:
    """Nothing is wider than the window, what one can do is in view, and on a phone the log shows
    that it opens. Nowhere is an answer live whose producer is known to be dead."""
    page = await pages.open(demo.url)
    turn = await _ask(page)
    await _has(turn, 60)
    await page.evaluate(WATCH)
    await page.get_by_role("button", name="Crash producer").click()
    await expect(turn).to_have_attribute("data-live", "false")
    await expect(page.locator(".seam.crash")).to_be_visible(timeout=patience(BOUND) * 1000)
    states = [state for state, goes_on in await page.evaluate("seen.states") if not goes_on]
    dead = states.index("producer crashed, its lease still runs")
    assert "live" not in states[dead:]

    await page.set_viewport_size({"width": 390, "height": 844})
    fold = page.locator("summary", has_text="What is happening")
    for expanded, says in (("false", "Show"), ("true", "Hide")):
        await expect(fold).to_have_attribute("aria-expanded", expanded)
        await expect(fold.get_by_text(says, exact=True)).to_be_in_viewport(ratio=1)
        await expect(page.locator("#producer")).to_be_visible(visible=expanded == "true")
        if expanded == "false":
            await fold.click()
    for width in (320, 390, 768):
        await page.set_viewport_size({"width": width, "height": 720})
        assert width >= await page.evaluate("document.documentElement.scrollWidth")
        for name in ("Reload", "Second tab", "Cut connection", "Crash producer", "Stop"):
            await expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
        await expect(page.locator("#producer")).to_be_in_viewport()


async def test_it_ends_with_a_way_on(pages: Pages, plain_demo: Demo) -> None:
    """After an answer, of which no sign of Markdown was seen, come the code that was at work, to
    be copied, and the documentation."""
    page = await pages.open(plain_demo.url)
    await page.evaluate(WATCH)
    onward = page.get_by_role("region", name="Now in your own application")
    await expect(onward).to_be_hidden()
    await _becomes(await _ask(page), "finished")
    await expect(onward.get_by_text("Show the code")).to_be_in_viewport(ratio=1)
    assert [] == await page.evaluate("seen.signs")

    await onward.get_by_text("Show the code").click()
    await onward.get_by_role("button", name="Copy").click()
    await expect(onward.get_by_role("button", name="Copied")).to_be_visible()
    await page.get_by_label("Your question").press("Control+v")
    await expect(page.get_by_label("Your question")).to_have_value(inspect.getsource(essence))
    assert inspect.getsource(essence) == await onward.locator("pre").inner_text()

    async with page.context.expect_page() as opened:
        await onward.get_by_role("link", name="Start").click()
    start = await opened.value
    await expect(start.get_by_role("heading", level=1)).to_have_text("Start")
    await start.get_by_role("link", name="All pages").click()
    await expect(start.get_by_role("heading", level=1)).to_have_text("streamhub")


async def test_nothing_comes_from_elsewhere(pages: Pages, plain_demo: Demo) -> None:
    """Page and answer need no other server than the demo's."""
    page = await pages.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(plain_demo.url)
    await _becomes(await _ask(page), "finished")

    assert asked
    assert [] == [url for url in asked if not url.startswith((plain_demo.url, "data:"))]


#: Markdown, and the elements that it becomes.
MARKDOWN = [
    ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
    ("`<b>` & **<i>**", "<p><code>&lt;b&gt;</code> &amp; <strong>&lt;i&gt;</strong></p>"),
    ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
    ("# One\n## Two", "<h2>One</h2><h3>Two</h3>"),
    ("a\n\nb *c*", "<p>a</p><p>b <em>c</em></p>"),
    ("- a\n- **b**", "<ul><li>a</li><li><strong>b</strong></li></ul>"),
    ("1. a\n2. b\n   c", "<ol><li>a</li><li>b c</li></ol>"),
    ("```py\na < b\n# c\n```\nd", "<pre><code>a &lt; b\n# c</code></pre><p>d</p>"),
    ("an **open", "<p>an <strong>open</strong></p>"),
    ("```\nopen", "<pre><code>open</code></pre>"),
    ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
    ("`a*b*c`", "<p><code>a*b*c</code></p>"),
    ("", ""),
    ("#hash", "<p>#hash</p>"),
]


async def test_text_is_never_html(pages: Pages, plain_demo: Demo) -> None:
    """A small part of Markdown becomes elements, and all else is text."""
    page = await pages.open(plain_demo.url)

    assert MARKDOWN == [(text, await page.evaluate(RENDER, text)) for text, _ in MARKDOWN]


async def test_signs_of_markdown_are_not_seen_while_it_is_written(
    pages: Pages, plain_demo: Demo
) -> None:
    """Those at the end of what is there so far are held back, until they mean something."""
    page = await pages.open(plain_demo.url)
    for question in ("alive", "lighthouses", "bread"):
        written = await page.evaluate(WRITTEN, tokens(text_for(question)))

        assert [] == [text for text in written if re.search(r"[*#`]|(^|\n)(-|\d\.)$", text)]
