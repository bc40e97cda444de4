"""The example of an agent of LangGraph that asks before it acts, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from streamhub.testing.waiting import unhurried

from ..support.chromium import Pages
from .services import Services

pytest.importorskip("langgraph.checkpoint.sqlite")

pytestmark = [pytest.mark.integrations, pytest.mark.slow]

SERVE = "STREAMHUB_URL=redis://localhost:6379/0 uvicorn app:app --port 8000"
ASKED = "I would delete report.txt now."


@pytest.fixture
def agent(tmp_path: Path, redis_url: str) -> Services:
    changes = {
        "PAUSE = 0.25": f"PAUSE = {unhurried(0.01)}",
        "LEASE = 5.0": f"LEASE = {unhurried(0.5)}",
    }
    return Services("langgraph_approval", tmp_path, changes=changes, STREAMHUB_URL=redis_url)


async def asks(page: Page) -> None:
    await expect(page.locator("#answer")).to_have_text(ASKED)
    await expect(page.locator("#approval span")).to_have_text("Delete report.txt?")
    await expect(page.locator("#approval")).to_be_visible()


async def said(page: Page, what: str) -> None:
    await expect(page.locator("#answer")).to_have_text(f"{ASKED} So: report.txt {what}")
    await expect(page.locator("#approval")).to_be_hidden()


async def test_an_agent_waits_for_its_user(agent: Services, pages: Pages) -> None:
    """Its question is there again after a reload, and after a SIGKILL of the server; it acts if it
    is approved and not if it is rejected, once if that is said twice."""
    async with agent.served(SERVE) as server:
        page = await pages.open(agent.url)
        await page.get_by_role("button", name="Ask").click()
        await asks(page)
        await page.reload()
        await asks(page)
        await page.get_by_role("button", name="Reject").click()
        await said(page, "was kept: the user has refused.")

        await page.get_by_role("button", name="Ask").click()
        await asks(page)
        await page.close()
        await server.kill()
    async with agent.served(SERVE):
        page = await pages.open(agent.url)
        await asks(page)
        await page.get_by_role("button", name="Approve").click()
        await said(page, "was deleted.")

        asked = 'curl -X POST "http://localhost:8000/chats/2?question=Tidy%20up"'
        assert '{"begun":true}' == await agent.curl(asked)
        async with await agent.run("curl -N http://localhost:8000/chats/2/answer") as read:
            while "data-interrupt" not in (line := await read.line()):
                assert line, "it ended"
            question = json.loads(line.removeprefix("data: "))["data"]["id"]
            url = f"{agent.url}/chats/2/approvals/{question}"
            async with httpx.AsyncClient() as client:
                for _ in range(2):
                    assert 200 == (await client.post(url, params={"approved": True})).status_code
            _, rest = await read.ended()

    assert 1 == rest.count('"output":"report.txt was deleted."')
    assert "event: end" in rest
