"""The example for FastAPI, ``useChat`` and SQLite, its page built as its README says, in a real
browser."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from streamhub.testing.waiting import patience, unhurried, until

from ..browser.bundles import FOLDER
from ..support.chromium import Pages
from ..support.openai_upstream import openai_upstream
from .following import ENDLESS, EXAMPLES, Example, loaded

pytestmark = pytest.mark.slow

NAME = "fastapi_usechat_sqlite"
SERVE = "STREAMHUB_URL=redis://localhost:6379/0 uvicorn app:app --port 8000"
ANSWER = "".join(f"{n}. Why? " for n in range(1, 61))
#: What the browser logs when a server is killed, and of a chat that is somebody else's.
CUT = "net::ERR_|network error"
REFUSED = "status of 40[14]"


@pytest.fixture
async def chat(tmp_path: Path, redis_url: str) -> Example:
    """With its page."""
    changes = {
        "PAUSE = 0.25": f"PAUSE = {unhurried(0.03)}",
        "LEASE = 15.0": f"LEASE = {unhurried(2)}",
        **ENDLESS,
    }
    example = Example(NAME, tmp_path, redis_url=redis_url, changes=changes)
    # As `npm install` would.
    (example.folder / "page" / "node_modules").symlink_to(FOLDER / "node_modules")
    await example.done("npm run build --prefix page")
    return example


async def log_in(page: Page, url: str, name: str) -> None:
    await page.goto(url)
    await page.locator("input[name=name]").fill(name)
    await page.get_by_role("button", name="Log in").click()


def rows(example: Example) -> list[tuple[str, str]]:
    """The status and the text of each answer that is kept."""
    with closing(sqlite3.connect(example.folder / "chat.db")) as database:
        kept = database.execute("SELECT status, message FROM answers ORDER BY ended").fetchall()
    return [(status, json.loads(message)["parts"][-1]["text"]) for status, message in kept]


async def test_each_answer_is_kept_once_as_what_it_ended(
    chat: Example, pages: Pages, browser: Browser
) -> None:
    """A reload in the middle loses nothing; nor does a SIGKILL of the server what was written by
    then, which is kept as lost and shown as that. Nobody else sees any of it."""
    pages.expect_errors(CUT, REFUSED)

    async def saved(count: int) -> bool:
        return len(rows(chat)) == count

    async with chat.served(SERVE):
        page = await pages.open()
        await log_in(page, f"{chat.url}/?chat=1", "ann")
        answers = page.locator("article[data-role=assistant]")
        await page.get_by_role("button", name="Ask").click()
        await expect(answers).to_contain_text("5. Why?")
        await page.reload()
        await expect(answers.locator("span")).to_have_text(ANSWER.strip())
        await expect(page.locator("#status")).to_have_text("ready")
        await until(lambda: saved(1))
        await page.reload()
        await expect(answers.locator("span")).to_have_text(ANSWER.strip())
        await expect(answers.locator("i")).to_have_text("finished")

        async with Pages(browser) as others:
            others.expect_errors(REFUSED)
            other = await others.open()
            await log_in(other, f"{chat.url}/?chat=1", "bob")
            await expect(other.locator("main")).to_have_text("There is no such chat.")
            assert [] == others.errors
            login = {one["name"]: one["value"] for one in await other.context.cookies()}
        async with httpx.AsyncClient(base_url=chat.url, cookies=login, timeout=patience()) as bob:
            asked = await bob.post(
                "/api/chat",
                json={"id": "1", "messages": [{"id": "q", "role": "user", "parts": []}]},
            )
            stopped = await bob.post("/api/chat/1/stop")
            read = await bob.get("/api/chat/1/stream")
        assert [404, 404, 204] == [asked.status_code, stopped.status_code, read.status_code]

        await page.locator("[name=question]").fill("And now?")
        await page.get_by_role("button", name="Ask").click()
        await expect(answers.nth(1)).to_contain_text("5. And now?")
    # SIGKILL has ended the server.
    async with chat.served(SERVE):
        await until(lambda: saved(2))
        await page.reload()
        await expect(answers.locator("i")).to_have_text(["finished", "lost"])
        shown = await answers.locator("span").all_text_contents()

    (_, first), (status, second) = rows(chat)
    assert [ANSWER, second] == [first, shown[1]]
    numbers = [int(one) for one in re.findall(r"(\d+)\. And now\? ", second)]
    assert ("lost", [*range(1, len(numbers) + 1)]) == (status, numbers)
    assert 5 <= len(numbers)


async def test_a_real_model_is_told_the_whole_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that speaks as OpenAI's does, where the environment names it."""
    example = Example(NAME, tmp_path)
    (example.folder / "page" / "dist").mkdir()
    program = loaded(example.folder)
    said = [("user", "Why?"), ("assistant", "So."), ("user", "Hm?")]
    messages = [{"role": who, "parts": [{"type": "text", "text": text}]} for who, text in said]
    with openai_upstream(says=["It turns."]) as upstream:
        monkeypatch.setenv("MODEL", "a-model")
        monkeypatch.setenv("OPENAI_API_KEY", "a key")
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        answer = [one async for one in program.model(messages) if isinstance(one, str)]
        await program.client().close()
    program.database.close()

    assert "It turns." == "".join(answer)
    told = [(one["role"], one["content"]) for one in upstream.asked[0].body["messages"]]
    assert said == told


def test_its_page_is_built_of_the_packages_that_are_tested() -> None:
    """In the versions that the browser's tests have."""
    wanted = json.loads((EXAMPLES / NAME / "page" / "package.json").read_text())
    tested = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    asked = wanted["dependencies"] | wanted["devDependencies"]

    assert asked == {name: tested[name] for name in asked}
