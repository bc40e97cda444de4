"""agno's background runs on a hub: by its interface, and through AgentOS with a model server."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamhub import Hub, HubConfig, ProducerLost
from streamhub.demo.model_server import model_app, text_for
from streamhub.testing.waiting import within

from ..conftest import MakeHub, RunPython
from ..http.serving import served
from ..support.backends import BACKENDS, NewHub

pytest.importorskip("agno")
door = pytest.importorskip("streamhub.agno")

from agno.run.agent import RunContentEvent  # noqa: E402
from agno.run.base import RunStatus  # noqa: E402

pytestmark = pytest.mark.integrations


@pytest.fixture(params=["memory", "redis"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    return BACKENDS[request.param](request)


@pytest.fixture
def here(make_hub: MakeHub) -> Any:
    """The replica that executes."""
    return door.HubEventStream(make_hub())


@pytest.fixture
def there(make_hub: MakeHub) -> Any:
    """Another one."""
    return door.HubEventStream(make_hub())


def _said(sse: str) -> str:
    return str(json.loads(sse.split("data: ", 1)[1])["content"])


async def _say(stream: Any, *words: str, generation: int | None = None) -> list[int]:
    return [
        await stream.add_event("r", RunContentEvent(content=word), generation) for word in words
    ]


async def _tail(stream: Any, after: int | None = None) -> list[str]:
    return [_said(sse) async for _, sse in stream.tail("r", after)]


async def test_a_run_is_followed_elsewhere(here: Any, there: Any) -> None:
    """From before its first event to its end; and from each index on."""
    await there.register_run("r")
    await there.register_run("r", RunStatus.running)
    assert RunStatus.pending == await here.get_run_status("r")
    following = there.tail("r")
    coming = asyncio.create_task(anext(following))
    await here.set_run_status("r", RunStatus.running)
    assert RunStatus.running == await there.get_run_status("r")
    event = RunContentEvent(content="a")
    assert 0 == await here.add_event("r", event)
    assert 0 == event.event_index
    index, sse = await within(coming)
    assert (0, "a", 0) == (index, _said(sse), json.loads(sse.split("data: ")[1])["event_index"])
    assert [1, 2] == await _say(here, "b", "c")
    await here.complete_run("r", RunStatus.completed)

    assert ["b", "c"] == [_said(sse) async for _, sse in following]
    assert ["a", "b", "c"] == await within(_tail(there))
    assert [(1, "b"), (2, "c")] == [(n, _said(sse)) for n, sse in await there.replay("r", 0)]
    assert (2, 3) == (await there.get_last_index("r"), await there.get_event_count("r"))
    assert RunStatus.completed == await there.get_run_status("r")


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        (RunStatus.completed, RunStatus.completed),
        (RunStatus.error, RunStatus.error),
        (RunStatus.cancelled, RunStatus.cancelled),
        (RunStatus.paused, RunStatus.paused),
        (RunStatus.running, RunStatus.completed),
    ],
)
async def test_every_end_ends_the_tails(
    here: Any, there: Any, status: RunStatus, kept: RunStatus
) -> None:
    """After what was said; those that come later, too."""
    await _say(here, "a")
    following = asyncio.create_task(_tail(there))
    await here.complete_run("r", status)

    assert ["a"] == await within(following)
    assert ["a"] == await within(_tail(there))
    assert kept == await there.get_run_status("r")


async def test_an_unknown_run_is_none(here: Any) -> None:
    """Nothing of it is waited for."""
    assert await here.get_run_status("r") is None
    assert ([], -1, 0) == (
        await here.replay("r"),
        await here.get_last_index("r"),
        await here.get_event_count("r"),
    )
    assert [] == await within(_tail(here))
    await here.cleanup_run("r")
    with pytest.raises(TypeError, match=r"hub must be a streamhub\.Hub, not str"):
        door.HubEventStream("redis://")


async def test_a_paused_run_goes_on_elsewhere(here: Any, there: Any) -> None:
    """Under the next index; who follows from its reopening on gets what comes."""
    await _say(here, "a", "b")
    await here.complete_run("r", RunStatus.paused)
    assert await there.reopen_run("r")
    assert RunStatus.pending == await there.get_run_status("r")
    following = asyncio.create_task(_tail(here, 0))
    await there.set_run_status("r", RunStatus.running)
    assert not await here.reopen_run("r")
    assert [2] == await _say(there, "c")
    await there.complete_run("r", RunStatus.completed)

    assert ["b", "c"] == await within(following)
    assert ["a", "b", "c"] == await within(_tail(there))
    assert not await here.reopen_run("r")


async def test_a_floor_seeds_the_index(here: Any) -> None:
    """Where what was kept has expired; a live index is not set back by it."""
    assert await here.reopen_run("r", floor=41)
    assert [42] == await _say(here, "a")
    await here.complete_run("r", RunStatus.error)
    assert not await here.reopen_run("r", floor=3)
    assert await here.reopen_run("r", include_error=True, floor=3)
    assert [43] == await _say(here, "b")


async def test_a_retry_drops_events_and_keeps_the_index(here: Any, there: Any) -> None:
    """A client that has read the first attempt gets what the second says."""
    await _say(here, "a", "b")
    following = there.tail("r")
    assert ["a", "b"] == [_said((await within(anext(following)))[1]) for _ in range(2)]
    await here.reset_run_events("r")
    assert [2] == await _say(here, "c")
    await here.complete_run("r", RunStatus.completed)

    assert ["c"] == [_said(sse) async for _, sse in following]
    assert ["c"] == await within(_tail(there))
    assert 1 == await there.get_event_count("r")


async def test_an_overtaken_attempt_is_refused(here: Any, there: Any) -> None:
    """Its events, its reset and its end: the live attempt is untouched by them."""
    await here.begin_attempt("r", 1)
    await _say(here, "a", generation=1)
    following = here.tail("r")
    assert "a" == _said((await within(anext(following)))[1])
    await there.begin_attempt("r", 2)
    await there.begin_attempt("r", 1)
    (index,) = await _say(there, "b", generation=2)
    assert index > 1
    assert [-1] == await _say(here, "zombie", generation=1)
    await here.reset_run_events("r", 1)
    await here.complete_run("r", RunStatus.error, 1)
    await here.set_run_status("r", RunStatus.pending, 1)
    assert RunStatus.running == await here.get_run_status("r")
    await there.complete_run("r", RunStatus.completed, 2)

    assert ["b"] == [_said(sse) async for _, sse in following]
    assert RunStatus.completed == await here.get_run_status("r")


async def test_a_cancel_elsewhere_ends_the_run(here: Any, there: Any) -> None:
    """Whoever executes it: its next event is refused, and its tails are done."""
    await _say(here, "a")
    following = there.tail("r")
    assert "a" == _said((await within(anext(following)))[1])
    await there.complete_run("r", RunStatus.cancelled)

    assert [] == [_said(sse) async for _, sse in following]
    assert [-1] == await _say(here, "late")
    assert RunStatus.cancelled == await here.get_run_status("r")


async def test_what_is_cleaned_up_is_unknown(make_hub: MakeHub, here: Any) -> None:
    """No session of it is left."""
    await _say(here, "a")
    await here.complete_run("r", RunStatus.paused)
    await here.reopen_run("r")
    await _say(here, "b")
    await here.cleanup_run("r")

    assert await here.get_run_status("r") is None
    assert [] == [info.session_id async for info in make_hub().sessions()]


#: Arguments: where Redis answers.
EXECUTOR = """
import asyncio, sys
from agno.run.agent import RunContentEvent
from streamhub import Hub, HubConfig
from streamhub.agno import HubEventStream

async def main():
    stream = HubEventStream(Hub.from_url(sys.argv[1], config=HubConfig(lease=1.0)))
    print(await stream.add_event("r", RunContentEvent(content="a")))
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


async def test_a_killed_executor_is_told_and_another_goes_on(
    redis_url: str, run_python: RunPython
) -> None:
    """Its tails end with an error; the next attempt has its events after those."""
    process = await run_python(EXECUTOR, redis_url)
    assert "0" == await within(process.line())
    async with Hub.from_url(redis_url, config=HubConfig(lease=1.0)) as hub:
        stream = door.HubEventStream(hub)
        following = stream.tail("r")
        assert "a" == _said((await within(anext(following)))[1])
        await process.kill()
        with pytest.raises(ProducerLost):
            await within(anext(following))
        assert RunStatus.error == await stream.get_run_status("r")
        assert [1] == await _say(stream, "b")
        await stream.complete_run("r", RunStatus.completed)
        assert ["a", "b"] == await within(_tail(stream))


async def test_a_client_of_agent_os_resumes() -> None:
    """Its own routes, with the page's lines: cut after the first word, and resumed to the end."""
    from agno import os as agno_os
    from agno.agent import Agent
    from agno.db.in_memory import InMemoryDb
    from agno.models.openai import OpenAIChat

    page = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
    code = page.split("## agno")[1].split("```python\n")[1].split("```")[0]
    async with served(model_app(pace=20_000)) as model_url:
        model = OpenAIChat(id="a-few-texts", base_url=f"{model_url}/v1", api_key="none")
        agent = Agent(id="lamp", model=model, db=InMemoryDb(), telemetry=False)
        names: dict[str, Any] = {"agent": agent, "AgentOS": agno_os.AgentOS}
        exec(compile(code.replace("redis://localhost:6379/0", "memory://"), "page", "exec"), names)
        async with served(names["app"]) as url, httpx.AsyncClient(base_url=url) as client:
            asked = {"message": "lighthouses", "stream": "true", "background": "true"}
            seen, run_id, index = "", "", -1
            async with client.stream("POST", "/agents/lamp/runs", data=asked) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        event = json.loads(line.removeprefix("data: "))
                        run_id, index = event["run_id"], event["event_index"]
                        if event["event"] == "RunContent":
                            seen += event["content"]
                            break
            resumed = await client.post(
                f"/agents/lamp/runs/{run_id}/resume", data={"last_event_index": str(index)}
            )
        for data in re.findall(r"data: (.*)\n", resumed.text):
            event = json.loads(data)
            if event["event"] == "RunContent":
                seen += event["content"]
        assert text_for("lighthouses") == seen
        await names["hub"].aclose()
