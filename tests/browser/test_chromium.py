"""The browser and the servers that tests bring: what they promise to the tests."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from ..conftest import Serve
from ..support.chromium import Pages
from ..support.http_server import Port

pytestmark = pytest.mark.slow

APP = """
import os, sys
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

async def page(request):
    return HTMLResponse(sys.argv[1])

async def pid(request):
    return PlainTextResponse(str(os.getpid()))

app = Starlette(routes=[Route("/", page), Route("/pid", pid)])
"""


async def test_a_page_of_a_server_process_is_shown(serve: Serve, page: Page) -> None:
    """The application of the source, its arguments, a real browser."""
    server = await serve(APP, "<p>Hello</p>")
    await page.goto(server.url)

    assert "Hello" == await page.locator("p").text_content()


async def test_errors_of_a_page_are_noticed(serve: Serve, pages: Pages) -> None:
    """What a script throws or logs as an error, and a request that fails; those that are expected
    are left out."""
    pages.expect_errors("expected")
    throwing = "<script>console.error('logged'); console.error('expected'); throw 'thrown'</script>"
    server = await serve(APP, f"<img src=/missing>{throwing}")
    page = await pages.open(server.url)
    await page.wait_for_load_state("networkidle")

    found = " ".join(pages.errors)
    assert [True, True, True, False] == [
        word in found for word in ("logged", "thrown", "404", "expected")
    ]
    pages.expect_errors("logged", "thrown", "404")


async def test_pages_reach_nothing_but_this_machine(pages: Pages, serve: Serve) -> None:
    """No name is looked up, and no other address is connected to."""
    pages.expect_errors("ERR_NAME_NOT_RESOLVED")
    page = await pages.open((await serve(APP, "")).url)

    for host in ("example.com", "192.0.2.1", "localhost.example"):
        assert "refused" == await page.evaluate(
            "host => fetch(`http://${host}/`).catch(() => 'refused')", host
        )


async def test_a_port_outlives_its_server(serve: Serve, port: Port, page: Page) -> None:
    """While no process serves it a request waits, and the next process answers it."""
    first = await serve(APP, "", port=port)
    await page.goto(port.url)
    asking = "() => fetch('/pid').then(answer => answer.text())"
    assert str(first.pid) == await page.evaluate(asking)
    await first.kill()
    # Its connections break: a request on one of them is made again on a new one.
    await page.evaluate("() => { window.pid = fetch('/pid').then(answer => answer.text()) }")
    second = await serve(APP, "", port=port)

    assert str(second.pid) == await page.evaluate("() => window.pid")
