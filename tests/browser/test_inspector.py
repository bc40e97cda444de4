"""The inspector in a real Chromium, on a real ``streamhub serve``: what one sees and does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import redis.asyncio
from playwright.async_api import Page, expect

from streamhub import Hub, HubConfig, LiveStream, Status
from streamhub.testing.waiting import within

from ..conftest import RunPython
from ..support.chromium import Pages
from ..support.cli_process import CliProcess, start_cli
from ..support.redis_server import RedisServer
from ..support.redis_stage import meta

pytestmark = pytest.mark.slow

TOKEN = "a-sécret-tøken"
AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
JUDGED = """async () => {
  const found = await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
  return found.violations.flatMap(one => one.nodes.map(
    node => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}"""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("dark", "light")
#: What the browser logs of an answer that asks for the token.
UNAUTHORIZED = "401"
KILLED = """
import asyncio, os, sys
from streamhub import Hub, HubConfig

async def main():
    hub = Hub.from_url(sys.argv[1], config=HubConfig(lease=0.5, host="worker-7"))
    stream, _ = await hub.register("chat:killed", owner="dora", metadata={"model": "llama"})
    await stream.publish("Before the kill.")
    await stream.flush()
    os._exit(9)

asyncio.run(main())
"""


class Site(NamedTuple):
    url: str
    redis: str
    process: CliProcess


@pytest.fixture(scope="module")
async def site() -> AsyncIterator[Site]:
    """A server for all tests here, on a store of its own."""
    with RedisServer() as server:
        async with start_cli("serve", "--port", "0", "--token", TOKEN, url=server.url) as process:
            yield Site(await process.address(), server.url, process)


@pytest.fixture
async def hub(site: Site) -> AsyncIterator[Hub]:
    """What produces, on another machine as it were."""
    async with redis.asyncio.Redis.from_url(site.redis) as client:
        await client.flushall()
    async with Hub.from_url(site.redis, config=HubConfig(host="web-3")) as hub:
        yield hub


async def begun(hub: Hub, session_id: str, *chunks: str, **facts: object) -> LiveStream:
    stream, _ = await hub.register(session_id, **facts)  # type: ignore[arg-type]
    for chunk in chunks:
        await stream.publish(chunk)
    await within(stream.flush())
    return stream


async def opened(pages: Pages, site: Site, seen: str = "") -> Page:
    """The page, with the token in its fragment, which no server is sent."""
    return await pages.open(f"{site.url}/#token={TOKEN}&{seen}")


def line(page: Page, session_id: str) -> Page:
    return page.locator("tbody tr", has=page.get_by_role("link", name=session_id, exact=True))  # type: ignore[return-value]


@pytest.mark.parametrize("width", [1280, 390])
async def test_everything_can_be_read_by_everybody(
    site: Site, hub: Hub, pages: Pages, width: int
) -> None:
    """Board, session, server, questions: names, contrast and structure as WCAG AA wants them, in
    light and dark, and nothing wider than the screen."""
    pages.expect_errors(UNAUTHORIZED)
    await begun(hub, "chat:active", "Some text.", owner="ann", metadata={"model": "gpt"})
    await (await begun(hub, "chat:failed", owner="bob")).fail("RateLimitError: no more credit")
    await (await begun(hub, "chat:finished", "All of it.")).close()
    page = await pages.open()
    await page.set_viewport_size({"width": width, "height": 800})
    found: dict[str, list[str]] = {}

    async def judge(what: str) -> None:
        if not await page.evaluate("() => 'axe' in window"):
            await page.evaluate(AXE.read_text())
        found[what] = []
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found[what] += await page.evaluate(JUDGED)
        if await page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            found[what].append("wider than the screen")

    await page.goto(site.url)
    await expect(page.get_by_label("Token")).to_be_focused()
    await judge("login")
    await page.keyboard.type("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("That is not the token.")).to_be_visible()
    await page.keyboard.type(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr")).to_have_count(3)
    await judge("board")
    await page.keyboard.press("/")
    await page.keyboard.type("no more credit")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(page.locator("#session .failure")).to_have_text("RateLimitError: no more credit")
    await expect(page.locator("#session .timeline li").last).to_contain_text("Failed")
    await judge("session")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Server").click()
    await expect(page.locator(".findings li")).not_to_have_count(0)
    await judge("server")
    await page.keyboard.press("Escape")
    await page.get_by_label("Search sessions").fill("chat:active")
    await page.get_by_role("link", name="chat:active", exact=True).click()
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await judge("question")
    await page.keyboard.press("Escape")
    assert {what: [] for what in found} == found


async def test_the_token_is_in_no_address(site: Site, hub: Hub, pages: Pages) -> None:
    """It is taken out of the fragment at once, and sent in a header alone; a reload keeps it."""
    await begun(hub, "s")
    page = await pages.open()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    await page.goto(f"{site.url}/#token={TOKEN}&status=active")
    await expect(page.locator("tbody tr")).to_have_count(1)
    assert f"{site.url}/#status=active" == page.url
    await page.reload()
    await expect(page.locator("tbody tr")).to_have_count(1)
    told = await page.evaluate("() => performance.getEntries().map(one => one.name)")
    assert [] == [url for url in [*sent, *told] if "ken" in url]


async def test_a_killed_producer_is_told_from_the_page_alone(
    site: Site, hub: Hub, pages: Pages, run_python: RunPython
) -> None:
    """What died, where, after what: and what is said of it in the list."""
    await begun(hub, "chat:fine", "x")
    page = await opened(pages, site)
    killed = await run_python(KILLED, site.redis)
    await killed.wait()
    row = line(page, "chat:killed")
    await expect(row.locator(".status")).to_have_text("lost")
    await page.get_by_role("button", name="lost").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("link", name="chat:killed").click()
    session = page.locator("#session")
    await expect(session.locator(".failure")).to_contain_text("Its producer is lost")
    await expect(session.locator(".output")).to_contain_text("Before the kill.")
    kinds = session.locator(".timeline li h4")
    await expect(kinds.first).to_contain_text("Claimed")
    await expect(session.locator(".timeline")).to_contain_text("Last heard of")
    await expect(session.locator(".facts:not(.long)")).to_contain_text("worker-7")
    await expect(session.locator(".facts:not(.long)")).to_contain_text("llama")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Stop it").click()
    await expect(session.locator(".status").first).to_have_text("cancelled")
    await expect(page.get_by_text("No session is like that.")).to_be_visible()


async def test_a_session_is_followed_live_with_its_parts(
    site: Site, hub: Hub, pages: Pages
) -> None:
    """Text, reasoning, tool calls and data as they come; a pause is drawn where it was."""
    stream = await begun(hub, "chat:agent", "stored")
    page = await opened(pages, site, "session=chat:agent")
    output = page.locator("#session .output")
    await expect(output).to_have_text("stored")

    async def publish(**part: object) -> None:
        await stream.publish(json.dumps(part), event="ui")

    await publish(type="reasoning-delta", id="r", delta="I should look it up.")
    await publish(type="tool-input-available", toolCallId="c", toolName="search", input={"q": "x"})
    await publish(type="tool-output-available", toolCallId="c", output={"hits": 3})
    await expect(output.locator(".tool .state")).to_have_text("done")
    await expect(output.locator(".tool")).to_contain_text('"hits": 3')
    await expect(output.locator(".reasoning .said")).to_have_text("I should look it up.")
    # The pause that the page is to see: nothing is to come in it.
    await page.wait_for_timeout(2_300)
    await publish(type="text-delta", id="t", delta="Found ")
    await publish(type="text-delta", id="t", delta="it.")
    await publish(type="data-progress", data={"done": 3})
    await stream.publish("own", event="custom")
    await expect(output.locator(".text .said").last).to_have_text("Found it.")
    await expect(output.locator(".seam.pause")).to_contain_text("of silence")
    await expect(output.locator(".data")).to_have_count(2)
    await expect(page.locator(".arrivals .gap").first).to_be_attached()
    await stream.close()
    await expect(page.locator("#session .status").first).to_have_text("finished")
    await expect(page.locator("#session .timeline li").last).to_contain_text("Finished")
    # The next stream of the session takes its place.
    await (await begun(hub, "chat:agent", "anew")).close()
    await expect(output).to_have_text("anew")


HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script><b>'


async def test_what_sessions_hold_is_shown_as_text(site: Site, hub: Hub, pages: Pages) -> None:
    """Markup in every place, a megabyte on one line, metadata without end, a damaged record."""
    metadata = {"model": HOSTILE, "more": HOSTILE * 5_000}
    await begun(hub, HOSTILE, HOSTILE, "x" * 1_000_000, "end", owner=HOSTILE, metadata=metadata)
    await begun(hub, "bad")
    await begun(hub, "un\u202e\u061c\u00ad\U000e0041seen")
    async with redis.asyncio.Redis.from_url(site.redis) as client:
        await client.hset(meta("bad"), "terms", HOSTILE)
    page = await opened(pages, site)
    assert HOSTILE == await page.get_by_role("link", name="<img").text_content()
    spelled = page.get_by_role("link", name="un")
    assert "un\\u202e\\u061c\\u00ad\\ue0041seen" == await spelled.text_content()
    await page.get_by_role("link", name="<img").click()
    output = page.locator("#session .output")
    await expect(output).to_contain_text("980,000 characters more in this chunk)end")
    assert (await output.inner_text()).startswith(HOSTILE)
    await expect(page.locator("#session .metadata")).to_contain_text("characters more)")
    await expect(page.locator("#session .facts:not(.long)")).to_contain_text(HOSTILE)
    await page.keyboard.press("Escape")
    await expect(line(page, "bad").locator(".status")).to_have_text("damaged")
    await page.get_by_role("link", name="bad", exact=True).click()
    await expect(page.locator("#session .failure")).to_contain_text("unreadable record")
    assert 0 == await page.locator("main :is(img, script, b:not(.chip b)), #session img").count()
    assert "1" != await page.title()
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_role("button", name="Remove it").click()
    await expect(page.locator("#session .status").first).to_have_text("gone")
    assert [] == [info.session_id async for info in hub.sessions() if info.session_id == "bad"]


async def test_parts_that_are_none_and_are_too_many_harm_no_page(
    site: Site, hub: Hub, pages: Pages
) -> None:
    """Values of any type where texts belong, nested without end, and elements without number: what
    comes after them is shown, and the oldest goes."""
    odd = {"toString": 1, "valueOf": 1}
    parts: list[dict[str, object]] = [
        {"type": "text-delta", "id": odd, "delta": odd},
        {"type": "tool-input-delta", "toolCallId": odd, "toolName": odd, "inputTextDelta": odd},
        {"type": "tool-output-error", "toolCallId": "__proto__", "errorText": odd},
    ]
    deep = '{"type": "data-deep", "data": ' + "[" * 9_000 + "]" * 9_000 + "}"
    stream = await begun(hub, "s", "begin")
    for data in (*map(json.dumps, parts), deep, *['{"type": "start-step"}'] * 4_000):
        await stream.publish(data, event="ui")
    await stream.publish("end")
    await within(stream.flush())
    page = await opened(pages, site, "session=s")
    output = page.locator("#session .output")
    await expect(output).to_contain_text("end")
    await page.get_by_role("button", name="Read from the start").click()
    await expect(output).to_contain_text("not kept in this page.")
    await expect(output).to_contain_text("end")
    assert 1_000 < await output.locator(".seam").count() < 3_500
    await stream.publish(json.dumps(parts[0]), event="ui")
    await stream.publish(deep, event="ui")
    await stream.publish("at last")
    await expect(output).to_contain_text('ui, nested too deeply{"type": "data-deep", "data": [[[')
    await expect(output).to_contain_text("at last")
    await expect(output).to_contain_text('{"toString":1,"valueOf":1}')


async def test_the_page_goes_on_where_its_server_was_away(
    hub: Hub, pages: Pages, site: Site
) -> None:
    """It says so, and shows what has changed since once the server is back."""
    pages.expect_errors("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY_RESPONSE", "ERR_")
    stream = await begun(hub, "s", "x")
    async with start_cli("serve", "--port", "0", url=site.redis) as process:
        url = await process.address()
        page = await pages.open(url)
        await expect(page.locator("#link")).to_have_text("live")
    await expect(page.locator("#link")).to_have_text("reconnecting")
    await stream.close()
    async with start_cli("serve", "--port", url.rpartition(":")[2], url=site.redis):
        await expect(page.locator("#link")).to_have_text("live")
        await expect(page.locator("tbody .status")).to_have_text("finished")
    assert Status.FINISHED is (await stream.info()).status


async def test_a_tab_that_nobody_sees_lets_go(site: Site, hub: Hub, pages: Pages) -> None:
    """Its connections are few, and read by nobody; once it is seen again it is as new as before."""
    stream = await begun(hub, "s", "x")
    page = await pages.open()
    await page.clock.install()
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.url))
    await page.goto(f"{site.url}/#token={TOKEN}")
    await expect(page.locator("#link")).to_have_text("live")
    hide = "is => { Object.defineProperty(document, 'hidden', { configurable: true, value: is }); "
    hide += "document.dispatchEvent(new Event('visibilitychange')); }"
    await page.evaluate(hide, True)
    await page.clock.run_for(31_000)
    await expect(page.locator("#link")).to_have_text("reconnecting")
    assert [True] == ["/inspector/board" in url for url in ended]
    await stream.close()
    await page.clock.run_for(60_000)
    await expect(page.locator("#link")).to_have_text("reconnecting")
    await page.evaluate(hide, False)
    await page.clock.run_for(1_000)
    await expect(page.locator("tbody .status")).to_have_text("finished")
