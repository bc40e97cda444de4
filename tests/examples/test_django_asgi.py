"""The example for Django under ASGI: a real login, and a real browser."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from streamhub.testing.waiting import patience, unhurried

from ..support.chromium import Pages
from .following import ENDLESS, Example

pytestmark = [pytest.mark.slow, pytest.mark.integrations]

ANSWER = "".join(f"{n}. Why? " for n in range(1, 61))
MIGRATE = "python manage.py migrate"
CREATE = (
    "DJANGO_SUPERUSER_PASSWORD=lamp python manage.py createsuperuser --noinput"
    " --username ann --email ann@example.org"
)
#: What the browser logs when the server is killed at the end.
CUT = "net::ERR_"


async def log_in(page: Page, name: str) -> None:
    """On the page to which everybody is sent at first."""
    await page.locator("[name=username]").fill(name)
    await page.locator("[name=password]").fill("lamp")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("p").first).to_have_text(f"You are {name}.")


async def test_users_have_chats_of_their_own(
    tmp_path: Path, redis_url: str, pages: Pages, browser: Browser
) -> None:
    """Who has logged in asks, reloads in the middle, and has the whole answer, each word once; the
    next one is stopped from another tab. Another user has nothing of it under the same address."""
    pages.expect_errors(CUT)
    # What waits for an answer that nobody asks for is told so within a second.
    changes = {"PAUSE = 0.25": f"PAUSE = {unhurried(0.03)}", "wait=30": "wait=1", **ENDLESS}
    chat = Example("django_asgi", tmp_path, redis_url=redis_url, changes=changes, program="chat.py")
    for command in (MIGRATE, CREATE):
        await chat.done(command)
    with closing(sqlite3.connect(chat.folder / "users.db")) as users, users:
        # One with the same password, made quicker than passwords are hashed.
        users.execute("CREATE TEMP TABLE other AS SELECT * FROM auth_user")
        users.execute("UPDATE other SET id = 2, username = 'bob'")
        users.execute("INSERT INTO auth_user SELECT * FROM other")
    async with chat.served("uvicorn app:application --port 8000"), Pages(browser) as others:
        page = await pages.open(chat.url)
        await log_in(page, "ann")
        await page.get_by_role("button", name="Ask").click()
        await expect(page.locator("#answer")).to_contain_text("5. Why?")
        await page.reload()
        second = await pages.open(chat.url)
        for tab in (page, second):
            await expect(tab.locator("#answer")).to_have_text(ANSWER.strip())
            await expect(tab.locator("#status")).to_have_text("finished")

        await page.locator("[name=question]").fill("And now?")
        await page.get_by_role("button", name="Ask").click()
        await expect(second.locator("#answer")).to_have_text(
            re.compile(r"^1\. And now\? 2\. And now\? 3")
        )
        await second.get_by_role("button", name="Stop").click()
        for tab in (page, second):
            await expect(tab.locator("#status")).to_have_text("cancelled")

        other = await others.open(chat.url)
        await log_in(other, "bob")
        login = {one["name"]: one["value"] for one in await other.context.cookies()}
        async with httpx.AsyncClient(cookies=login, timeout=patience()) as bob:
            read = await bob.get(f"{chat.url}/chats/1/answers")
        assert (200, False) == (read.status_code, "data:" in read.text)
        await expect(other.locator("#answer")).to_be_empty()
        assert [] == others.errors
