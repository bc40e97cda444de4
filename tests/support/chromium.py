"""A real Chromium whose pages reach nothing but this machine, and what they report as errors."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

from streamhub.testing.waiting import patience

__all__ = ["Pages", "launched"]

#: Within which a page does what a test waits for, in seconds.
BOUND = 20.0

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # root, as in a container, gets none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """The browser; it ends with this process, however that ends."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_program(), args=_ARGUMENTS)
        async with browser:
            yield browser


class Pages:
    """Tabs of one browser profile of their own, which share cookies and storage."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._context: BrowserContext | None = None
        self._expected: list[str] = []
        self._errors: list[str] = []

    async def open(self, url: str | None = None) -> Page:
        """One more tab, on ``url`` if given."""
        assert self._context is not None, "not entered"
        page = await self._context.new_page()
        if url is not None:
            await page.goto(url)
        return page

    def expect_errors(self, *patterns: str) -> None:
        """Errors in which one of these regular expressions is found are part of the test."""
        self._expected += patterns

    @property
    def errors(self) -> list[str]:
        """What pages have reported so far and nobody expects: exceptions, and ``console.error``,
        where the browser also tells of requests that failed."""
        return [
            error
            for error in self._errors
            if not any(re.search(pattern, error) for pattern in self._expected)
        ]

    async def __aenter__(self) -> Self:
        self._context = await self._browser.new_context()
        self._context.set_default_timeout(patience(BOUND) * 1000)
        expect.set_options(timeout=patience(BOUND) * 1000)
        self._context.on("console", self._heard)
        self._context.on("weberror", lambda error: self._raised(error.error))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._context is not None:
            await self._context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        # The browser asks for that one by itself.
        by_itself = message.location["url"].endswith("/favicon.ico")
        if message.type == "error" and not by_itself:
            self._errors.append(f"{message.text} ({message.location['url']})")

    def _raised(self, error: Error) -> None:
        self._errors.append(error.stack or error.message)


def _program() -> str:
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else _NAMES:
        if path := shutil.which(name):
            return path
    raise RuntimeError("there is no Chromium to test with; `make test` installs one")
