"""The example for FastAPI and an EventSource, in a real browser."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from streamhub.testing.waiting import unhurried

from ..http.serving import Followed
from ..support.chromium import Pages
from ..support.openai_upstream import openai_upstream
from .following import ENDLESS, EXAMPLES, Example, loaded

pytestmark = pytest.mark.slow

#: What the browser logs when the server is killed at the end.
CUT = "net::ERR_"
ANSWER = "".join(f"{n}. Why? " for n in range(1, 61))


def example(directory: Path, redis_url: str) -> Example:
    changes = {"PAUSE = 0.25": f"PAUSE = {unhurried(0.03)}", **ENDLESS}
    return Example("fastapi_eventsource", directory, redis_url=redis_url, changes=changes)


async def reads(page: Page, text: str) -> None:
    """The page shows this, and nothing else, of an answer."""
    await expect(page.locator("#answer")).to_have_text(text.strip())


async def test_an_answer_survives_a_reload(tmp_path: Path, redis_url: str, pages: Pages) -> None:
    """In memory: it is complete, each word once, in the tab that was reloaded and in another, which
    shows the next answer, too, and stops it in both."""
    pages.expect_errors(CUT)
    chat = example(tmp_path, redis_url)
    async with chat.served("uvicorn app:app --port 8000"):
        first = await pages.open(chat.url)
        followed: list[str] = []
        first.on("request", lambda asked: followed.append(asked.url.rpartition("/")[2]))
        await first.get_by_role("button", name="Ask").click()
        await expect(first.locator("#answer")).to_contain_text("5. Why?")
        assert "answers" not in followed, "who opened the page before the first answer came again"
        await first.reload()
        second = await pages.open(chat.url)
        for page in (first, second):
            await reads(page, ANSWER)
            await expect(page.locator("#status")).to_have_text("finished")

        await second.locator("input").fill("And now?")
        await second.get_by_role("button", name="Ask").click()
        await expect(first.locator("#answer")).to_contain_text("3. And now?")
        await first.get_by_role("button", name="Stop").click()
        for page in (first, second):
            await expect(page.locator("#status")).to_have_text("cancelled")
        texts = [await page.locator("#answer").text_content() or "" for page in (first, second)]

    assert texts[0] == texts[1]
    numbers = [int(one) for one in re.findall(r"(\d+)\. And now\? ", texts[0])]
    assert [*range(1, numbers[-1] + 1)] == numbers
    assert "Why?" not in texts[0]


async def test_two_workers_serve_one_chat(tmp_path: Path, redis_url: str) -> None:
    """Whichever of them a request meets, it follows the same answer."""
    chat = example(tmp_path, redis_url)
    command = "STREAMHUB_URL=redis://localhost:6379/0 uvicorn app:app --port 8000 --workers 2"
    async with chat.served(command), httpx.AsyncClient(base_url=chat.url, timeout=None) as client:
        asked = [await client.post("/chats/1", params={"question": "Why?"}) for _ in range(8)]

        async def read() -> str:
            # With a connection of its own, which either worker may accept.
            async with client.stream("GET", "/chats/1/answers") as response:
                told = Followed(response)
                return "".join([(await told.next()).data for _ in range(60)])

        answers = await asyncio.gather(*[read() for _ in range(8)])

    assert [True, *[False] * 7] == [one.json()["begun"] for one in asked]
    assert {ANSWER} == {*answers}


async def test_a_real_model_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that speaks as OpenAI's does, where the environment names it."""
    program = loaded(EXAMPLES / "fastapi_eventsource")
    with openai_upstream(says=["It ", "turns."]) as upstream:
        monkeypatch.setenv("MODEL", "a-model")
        monkeypatch.setenv("OPENAI_API_KEY", "a key")
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        said = [one async for one in program.model("Why?") if isinstance(one, str)]
        await program.client().close()

    assert "It turns." == "".join(said)
    assert "a-model" == upstream.asked[0].body["model"]
