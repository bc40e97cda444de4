"""``streamhub gateway``: who may reach it, what it keeps to itself, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamhub.testing.waiting import bounded, patience, until, within

from ..support.cli_process import CliProcess, cli, start_cli
from ..support.openai_upstream import STALL, Gate, OpenAIUpstream, openai_upstream
from .chatting import PATH, chat, opened

pytestmark = pytest.mark.slow

SECRET, INNER = "sk-gateway-secret", "sk-upstream-secret"


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


async def address(process: CliProcess) -> str:
    """Where it serves, as it says on its standard error."""
    assert process._process.stderr is not None
    async with bounded(60):
        said = (await process._process.stderr.readline()).decode()
    assert SECRET not in said
    assert INNER not in said
    return said.split(" on ")[-1].split("/v1,")[0].strip()


async def closes(client: httpx.AsyncClient) -> bool:
    """Whether it takes no new connection any more."""
    try:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=patience(30)) as another:
            await another.get("/health")
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--upstream", "http://me:pass@a/v1"), "no password"),
        (("--upstream", "http://a", "--upstream-key", "k"), "upstream_key without api_key"),
    ],
)
async def test_what_it_does_not_start_with(arguments: tuple[str, ...], said: str) -> None:
    """Is told in the words of the option."""
    ended = await cli("gateway", "--port", "0", *arguments, url="redis://127.0.0.1:1")

    assert 2 == ended.code
    assert said in ended.err
    assert "pass@" not in ended.err


async def test_keys_and_the_end(upstream: OpenAIUpstream, redis_url: str) -> None:
    """Clients send its key, and another one goes upstream. SIGTERM waits for what is under way; a
    second one does not, and breaks off, so that nobody takes it for an end. No key is shown. The
    metrics have a token of their own."""
    drains = ("--detach", "--drain", "300")
    arguments = ("gateway", "--port", "0", "--upstream", upstream.base_url, *drains)
    keys = {"STREAMHUB_GATEWAY_KEY": f"{SECRET} other", "STREAMHUB_UPSTREAM_KEY": INNER}
    keys["STREAMHUB_METRICS_TOKEN"] = "for-metrics"
    gate = Gate()
    upstream.answers("one", gate, " two")
    upstream.answers("one", STALL)
    async with (
        start_cli(*arguments, url=redis_url, env=keys) as process,
        httpx.AsyncClient(timeout=patience(30), verify=False) as client,
    ):
        client.base_url = await address(process)
        health = await client.get("/health")
        measured = [
            await client.get("/metrics", headers={"authorization": f"Bearer {one}"})
            for one in ("for-metrics", SECRET)
        ]
        refused = await client.post(PATH, json=chat(), headers={"authorization": f"Bearer {INNER}"})
        client.headers["authorization"] = f"Bearer {SECRET}"
        async with opened(client, chat(), key="a") as ends, opened(client, chat()) as stalls:
            await ends.take(2)
            await stalls.take(2)
            process.signal(signal.SIGTERM)
            await until(partial(closes, client))
            gate.open()
            whole = await ends.rest()
            process.signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                await stalls.rest()
        assert 0 == await process.code()
        said = await process.error_output()

    assert (200, 401) == (health.status_code, refused.status_code)
    assert {f"Bearer {INNER}"} == {asked.authorization for asked in upstream.asked}
    assert "[DONE]" == whole[-1].data
    assert await asyncio.to_thread(upstream.asked[1].hung_up.wait, patience())
    assert [200, 401] == [one.status_code for one in measured]
    assert "streamhub_active_sessions 0.0" in measured[0].text
    assert [] == [one for one in (SECRET, INNER, "for-metrics", "Traceback") if one in said]


async def test_without_a_key_pages_of_other_sites_are_kept_out(
    upstream: OpenAIUpstream, redis_url: str
) -> None:
    """Where it listens on this machine: a browser sends their requests, too."""
    arguments = ("gateway", "--port", "0", "--upstream", upstream.base_url)
    async with (
        start_cli(*arguments, url=redis_url) as process,
        httpx.AsyncClient(timeout=patience(30), verify=False) as client,
    ):
        client.base_url = await address(process)
        client.headers["authorization"] = "Bearer k"
        theirs = [
            await client.post(PATH, json=chat(), headers=headers)
            for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"})
        ]
        ours = await client.post(PATH, json=chat())
        measured = [
            (await client.get("/metrics", headers={"host": host})).status_code
            for host in ("localhost", "evil.example")
        ]
        process.signal(signal.SIGTERM)
        assert 0 == await process.code()

    assert ["forbidden"] * 2 == [json.loads(one.text)["error"]["code"] for one in theirs]
    assert (200, 1) == (ours.status_code, upstream.count())
    assert [200, 403] == measured


async def test_a_socket_that_is_refused_is_no_error(
    upstream: OpenAIUpstream, redis_url: str
) -> None:
    """Of the gateway: whoever has no key could fill its log."""
    arguments = ("gateway", "--port", "0", "--upstream", upstream.base_url)
    async with start_cli(
        *arguments, url=redis_url, env={"STREAMHUB_GATEWAY_KEY": SECRET}
    ) as process:
        url = await address(process)
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws{url[4:]}/v1/responses")
        process.signal(signal.SIGTERM)
        assert 0 == await process.code()
        said = await process.error_output()

    assert 401 == caught.value.response.status_code
    assert "" == said


async def test_a_request_over_a_socket_may_be_as_large_as_over_http(
    upstream: OpenAIUpstream, redis_url: str
) -> None:
    """Which is more than servers of WebSockets take by themselves, where the gateway is told so;
    what is larger is told."""
    arguments = ("gateway", "--port", "0", "--upstream", upstream.base_url, "--max-body", "20")
    headers = {"authorization": "Bearer k"}
    upstream.says = ("Fine.",)
    last = []
    async with start_cli(*arguments, url=redis_url) as process:
        url = await address(process)
        async with connect(
            f"ws{url[4:]}/v1/responses", additional_headers=headers, max_size=None
        ) as socket:
            for size in (18_000_000, 22_000_000):
                asked = {"type": "response.create", "model": "m", "input": "x" * size}
                await socket.send(json.dumps(asked))
                event = {"type": ""}
                while event["type"] not in ("response.completed", "error"):
                    event = json.loads(await within(socket.recv()))
                last.append((event["type"], event.get("status")))
        process.signal(signal.SIGTERM)
        assert 0 == await process.code()

    assert [("response.completed", None), ("error", 413)] == last


async def test_a_deploy_loses_no_answer_of_a_socket(
    upstream: OpenAIUpstream, redis_url: str
) -> None:
    """The server closes the connection at once, and the answer goes on while it drains."""
    arguments = ("gateway", "--port", "0", "--upstream", upstream.base_url, "--drain", "300")
    headers = {"authorization": "Bearer k"}
    gate = Gate()
    upstream.answers("one ", gate, "two")
    async with start_cli(*arguments, url=redis_url) as process:
        url = await address(process)
        async with connect(f"ws{url[4:]}/v1/responses", additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "response.create", "model": "m", "input": "hi"}))
            response_id = json.loads(await within(socket.recv()))["response"]["id"]
            await within(gate.wait_reached())
            process.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                while await within(socket.recv()):
                    pass
        gate.open()
        assert 0 == await process.code()
    async with (
        start_cli(*arguments, url=redis_url) as process,
        httpx.AsyncClient(timeout=patience(30), headers=headers) as client,
    ):
        answer = (await client.get(f"{await address(process)}/v1/responses/{response_id}")).json()

    assert caught.value.rcvd is not None
    assert 1012 == caught.value.rcvd.code
    assert ("completed", "one two") == (answer["status"], answer["output"][0]["content"][0]["text"])
