"""``--key-prefix``: the sessions of an application that has keys of its own."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import redis.asyncio

from streamhub import Hub, HubConfig
from streamhub.testing.waiting import patience

from ..support.cli_process import cli, start_cli
from .test_doctor import MakeRedis

pytestmark = pytest.mark.slow

ACME = ("--key-prefix", "acme:")


async def test_every_command_finds_the_sessions_of_a_prefix(redis_url: str) -> None:
    """Before the command, after it, and by the variable; the one after it counts."""
    config = HubConfig(key_prefix="acme:")
    ran = await cli("run", "--quiet", *ACME, "chat:1", "echo", "hello", url=redis_url)
    assert 0 == ran.code, ran.err
    async with Hub.from_url(redis_url, config=config) as hub:
        await hub.register("chat:2")

        assert "no sessions" in (await cli("ls", url=redis_url)).err
        for listed in (
            await cli("ls", *ACME, url=redis_url),
            await cli(*ACME, "ls", url=redis_url),
            await cli("ls", url=redis_url, env={"STREAMHUB_KEY_PREFIX": "acme:"}),
            await cli("--key-prefix", "other:", "ls", *ACME, url=redis_url),
        ):
            names = [line.split("\t")[0] for line in listed.out.splitlines()]
            assert ["session", "chat:2", "chat:1"] == names, listed.err

        assert "hello\n" == (await cli("tail", "chat:1", *ACME, url=redis_url)).out
        shown = await cli("show", "--json", "chat:1", *ACME, url=redis_url)
        assert "finished" == json.loads(shown.out)["status"]
        assert 0 == (await cli("cancel", "chat:2", *ACME, url=redis_url)).code
        async with start_cli("ends", *ACME, url=redis_url) as ends:
            assert "chat:1" == json.loads(await ends.line())["session_id"]
        assert 0 == (await cli("rm", "chat:1", *ACME, url=redis_url)).code
        assert await hub.get("chat:1") is None

        async with (
            start_cli("serve", "--port", "0", *ACME, url=redis_url) as served,
            httpx.AsyncClient(base_url=await served.address(), timeout=patience()) as client,
        ):
            sessions = (await client.get("/sessions")).json()["sessions"]
            assert ["chat:2"] == [one["session_id"] for one in sessions]


async def test_doctor_examines_what_the_prefix_needs(make_redis: MakeRedis) -> None:
    """With the rights of a user that may reach nothing but that, and it leaves nothing behind."""
    server = make_redis()
    client: Any = redis.asyncio.Redis.from_url(server.url)
    async with client:
        rights = ("~acme:*", "&acme:*", "+@all")
        await client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rights)
        url = server.url.replace("redis://", "redis://app:pw@")
        fine = await cli("doctor", *ACME, url=url)
        other = await cli("doctor", "--key-prefix", "acme2:", url=url)
        assert 0 == await client.dbsize()

    assert (0, True) == (fine.code, "read live in" in fine.out), fine.out
    assert (1, True) == (other.code, "~acme2:*" in other.out), other.out


@pytest.mark.parametrize("prefix", ["a{b", "a\nb"])
async def test_a_prefix_that_cannot_be_is_refused(prefix: str) -> None:
    ended = await cli("ls", "--key-prefix", prefix, url="redis://127.0.0.1:1")
    assert 2 == ended.code
    assert "--key-prefix: key_prefix must" in ended.err
