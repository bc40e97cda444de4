"""The scripts of the page on HTTP, in Chromium, on its own application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from ..http.serving import served
from ..support.page_source import names_of

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = re.findall(r"```js\n(.*?)```", (DOCS / "http.md").read_text(), re.DOTALL)
ASK = "(prompt) => fetch(`/answers/1?prompt=${prompt}`, { method: 'POST' })"
AROUND = """() => {
  window.output = document.body.appendChild(document.createElement("p"))
  window.show = (text) => output.append(text)
  %s
  window.events = events
}"""


class Model:
    """What the page leaves to its reader."""

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        yield f"{prompt} "
        yield "The lamp turns."


async def test_its_event_sources_show_answers(page: Page) -> None:
    """The one of an answer shows it and closes; the one that stays open shows the next in its
    place."""
    names: dict[str, Any] = names_of("http.md")
    names["model"] = Model()
    async with served(names["app"], lifespan="on") as url:
        await page.goto(f"{url}/openapi.json")
        for prompt, script in (("Why?", SCRIPTS[0]), ("How?", SCRIPTS[1])):
            await page.evaluate(ASK, prompt)
            await page.evaluate(AROUND % script)
            shown = page.locator(f"p:text-is('{prompt} The lamp turns.')")
            await shown.wait_for()
            if prompt == "Why?":
                await page.wait_for_function("events.readyState === EventSource.CLOSED")
        await page.evaluate(ASK, "When?")
        await page.locator("p:text-is('When? The lamp turns.')").wait_for()
        await page.evaluate("events.close()")
