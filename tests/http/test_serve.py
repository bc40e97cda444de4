"""``streamhub serve``: who may reach it, and how it ends."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import pytest

from streamhub import Hub, Status
from streamhub.http.server import guarded, is_loopback, listen
from streamhub.testing.waiting import patience

from ..support.cli_process import cli, start_cli
from .conftest import Open
from .serving import follow, path_of, raw_request, stored

TOKEN = "a-long-secret-tökén"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "192.0.2.1", "::ffff:192.0.2.1"])
def test_without_a_token_nobody_else_may_reach_it(host: str) -> None:
    """Refused before anything is bound, with the host and what to do."""
    with pytest.raises(ValueError, match=r"host .* can be reached by other machines.*give a token"):
        listen(host, 0, public=False)


@pytest.mark.parametrize("host", ["a..b", "x" * 70, ""])
def test_what_is_no_address_is_refused(host: str) -> None:
    """In the words of the option."""
    with pytest.raises(ValueError, match="host must be an address or a name, not "):
        listen(host, 0, public=True)


def test_a_name_is_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its addresses count."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ValueError, match=r"box \(127\.0\.0\.1, 192\.0\.2\.7\) can be reached"):
        listen("box", 0, public=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_may_reach_it(host: str) -> None:
    """By any of its own addresses; what it is sent waits for no acknowledgement."""
    with listen(host, 0, public=False) as listening:
        assert is_loopback(listening.getsockname()[0])
        with (
            socket.create_connection(listening.getsockname()[:2]),
            listening.accept()[0] as accepted,
        ):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer x", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_the_token_opens_it(
    hub: Hub, open_client: Open, authorization: str | None, status: int
) -> None:
    """Of any letters; a load balancer may ask for its health without."""
    client = await open_client(guarded(hub, token=TOKEN))
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    answer = await client.get("/sessions", headers=headers)

    assert status == answer.status_code
    if status == 401:
        assert "Bearer" == answer.headers["www-authenticate"]
        assert "unauthorized" == answer.json()["code"]
        assert TOKEN not in answer.text
    assert 200 == (await client.get("/health")).status_code


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8080", None, 200),
        ("127.0.0.1", None, 200),
        ("[::1]:8080", None, 200),
        ("LOCALHOST", None, 200),
        ("evil.example", None, 403),
        ("localhost.evil.example", None, 403),
        ("192.0.2.1", None, 403),
        ("", None, 403),
        ("localhost:x@[", None, 403),
        ("localhost:8080", "http://localhost:8080", 200),
        ("localhost:8080", "http://localhost:9090", 403),
        ("localhost:8080", "https://evil.example", 403),
        ("localhost:8080", "null", 403),
        ("localhost:8080", "https://good.example", 200),
        ("evil.example", "http://evil.example", 403),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_without_a_token_other_sites_are_kept_out(
    hub: Hub, open_client: Open, host: str, origin: str | None, status: int
) -> None:
    """A browser on this machine sends their requests, too, under names that they make up."""
    client = await open_client(guarded(hub, token=None, origins=["https://good.example"]))
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    answer = await client.get("/sessions", headers=headers)

    assert status == answer.status_code
    assert (origin == "https://good.example") == ("access-control-allow-origin" in answer.headers)


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ("--token", ""), ("--token", " ")])
async def test_it_does_not_start_open_to_all(arguments: tuple[str, ...]) -> None:
    """An empty token is none, as an unset variable makes it."""
    ended = await cli(
        "serve", "--host", "0.0.0.0", "--port", "0", *arguments, url="redis://127.0.0.1:1"
    )

    assert 2 == ended.code
    assert "token" in ended.err


@pytest.mark.slow
async def test_a_port_that_is_taken() -> None:
    """Says which."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await cli("serve", "--port", str(port), url="redis://127.0.0.1:1")

    assert ended.code not in (0, 2)
    assert f"127.0.0.1, port {port}" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_a_stop_sends_clients_elsewhere(
    hub: Hub, redis_url: str, session_id: str, tmp_path: Path
) -> None:
    """SIGTERM ends open responses without an end of the session, also with a client that does not
    read, and the process ends as it should; the client goes on at another."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a", *["x" * 1_000_000] * 12)
    async with (
        start_cli("serve", "--port", "0", url=redis_url) as one,
        start_cli("serve", "--port", "0", "--drain", "300", url=redis_url) as two,
        httpx.AsyncClient(timeout=patience()) as client,
    ):
        first, second = await one.address(), await two.address()
        _, deaf = await raw_request(first, path_of(session_id))
        async with follow(client, f"{first}{path_of(session_id)}") as response:
            seen = await response.take(13)
            one.signal(signal.SIGTERM)
            assert [] == await response.rest()
        assert 0 == await one.code()
        deaf.transport.abort()
        async with follow(client, f"{second}{path_of(session_id)}", after=seen[-1].id) as response:
            await stream.publish("b")
            await stream.close()
            assert ["b", "end"] == [
                event.data if event.event == "message" else event.event
                for event in await response.rest()
            ]
        two.signal(signal.SIGTERM)
        assert 0 == await two.code()
    assert Status.FINISHED is (await stream.info()).status


@pytest.mark.slow
@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_what_is_broken_off_on_purpose_is_not_complained_of(
    hub: Hub, redis_url: str, session_id: str
) -> None:
    """Text of a failed stream is, which says to its reader that it is not complete."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    await stream.fail("bad luck")
    async with (
        start_cli("serve", "--port", "0", url=redis_url) as process,
        httpx.AsyncClient(timeout=patience()) as client,
    ):
        url = await process.address()
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{url}{path_of(session_id)}?format=text")
        process.signal(signal.SIGTERM)
        said = await process.error_output()

    assert "" == said


@pytest.mark.slow
async def test_a_redis_that_is_down_at_the_start() -> None:
    """It serves all the same, and says so; health does, too."""
    async with (
        start_cli("serve", "--port", "0", url="redis://:secret@127.0.0.1:1") as process,
        httpx.AsyncClient(timeout=patience()) as client,
    ):
        url = await process.address()
        answer = await client.get(f"{url}/health")
        process.signal(signal.SIGTERM)
        code = await process.code()

    assert (503, 0) == (answer.status_code, code)
