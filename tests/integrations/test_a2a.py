"""A2A tasks on several replicas, through the SDK's own server and client, on a hub."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from streamhub import Hub, HubConfig, ProducerLost, SessionNotFound, Status
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub, RunPython
from ..http.serving import served
from ..support.backends import BACKENDS, NewHub

pytest.importorskip("a2a")
door = pytest.importorskip("streamhub.a2a")

from a2a.client import ClientConfig, create_client  # noqa: E402
from a2a.server.agent_execution import AgentExecutor  # noqa: E402
from a2a.server.cluster import (  # noqa: E402
    ConcurrentTaskModificationError,
    StoredTask,
    TaskVersion,
    VersionedEvent,
    VersionedTaskStore,
)
from a2a.server.request_handlers import DefaultRequestHandlerV2  # noqa: E402
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes  # noqa: E402
from a2a.server.tasks import TaskUpdater  # noqa: E402
from a2a.types import a2a_pb2 as types  # noqa: E402

pytestmark = pytest.mark.integrations

WORKING = types.TaskState.TASK_STATE_WORKING
COMPLETED = types.TaskState.TASK_STATE_COMPLETED
CANCELED = types.TaskState.TASK_STATE_CANCELED
NEEDS_INPUT = types.TaskState.TASK_STATE_INPUT_REQUIRED


@pytest.fixture(params=["memory", "redis"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    return BACKENDS[request.param](request)


class Tasks(VersionedTaskStore):  # type: ignore[misc]
    """A database of tasks that all replicas share."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredTask] = {}

    async def save(
        self, task: Any, *, event: Any, prev: Any, prev_version: TaskVersion, context: Any
    ) -> TaskVersion:
        stored = self._stored.get(task.id)
        version = TaskVersion.MISSING if stored is None else stored.version
        if version != prev_version and task.status.state != CANCELED:
            raise ConcurrentTaskModificationError(task.id)
        copy = types.Task()
        copy.CopyFrom(task)
        new = TaskVersion(version._value + 1)
        self._stored[task.id] = StoredTask(copy, new)
        return new

    async def get(self, task_id: str, context: Any) -> StoredTask | None:
        return self._stored.get(task_id)

    async def list(self, params: Any, context: Any) -> Any:
        raise NotImplementedError

    async def delete(self, task_id: str, context: Any) -> None:
        self._stored.pop(task_id, None)


class Agent(AgentExecutor):  # type: ignore[misc]
    """Says what the test puts into ``words``; ``None`` completes, ``"?"`` asks for input."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[str | None] = asyncio.Queue()

    async def execute(self, context: Any, event_queue: Any) -> None:
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        if context.current_task is None:
            task = types.Task(id=context.task_id, context_id=context.context_id)
            task.status.state = types.TaskState.TASK_STATE_SUBMITTED
            await event_queue.enqueue_event(task)
        await updater.start_work()
        while (word := await self.words.get()) is not None:
            if word == "?":
                await updater.requires_input()
                return
            await updater.add_artifact([types.Part(text=word)])
        await updater.complete()

    async def cancel(self, context: Any, event_queue: Any) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def _card(url: str) -> Any:
    return types.AgentCard(
        name="lamp",
        description="talks",
        version="1",
        capabilities=types.AgentCapabilities(streaming=True),
        default_input_modes=["text"],
        default_output_modes=["text"],
        skills=[types.AgentSkill(id="t", name="talk", description="talks", tags=["t"])],
        supported_interfaces=[
            types.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")
        ],
    )


class Replicas:
    """Servers of one agent, each with a hub and a client of its own."""

    def __init__(self, stack: AsyncExitStack, make_hub: MakeHub) -> None:
        self._stack = stack
        self._make_hub = make_hub
        self._tasks = Tasks()
        self.agent = Agent()

    async def client(self) -> Any:
        """A client of one more."""
        stream = door.HubTaskEventStream(self._make_hub())
        card = _card("http://replica/")
        handler = DefaultRequestHandlerV2(self.agent, self._tasks, card, event_stream=stream)
        self._stack.push_async_callback(handler.aclose)
        app = Starlette(
            routes=[*create_jsonrpc_routes(handler, "/"), *create_agent_card_routes(card)]
        )
        url = await self._stack.enter_async_context(served(app))
        client = await create_client(_card(f"{url}/"), ClientConfig(streaming=True))
        return await self._stack.enter_async_context(client)


@pytest.fixture
async def replicas(make_hub: MakeHub) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield Replicas(stack, make_hub)


def _asked(task_id: str = "", context_id: str = "") -> Any:
    message = types.Message(
        message_id=uuid.uuid4().hex,
        role=types.Role.ROLE_USER,
        parts=[types.Part(text="Why?")],
        task_id=task_id,
        context_id=context_id,
    )
    return types.SendMessageRequest(message=message)


def _told(response: Any) -> str:
    """A response in a word: the text of an artifact, or the state of the task."""
    if response.HasField("artifact_update"):
        return str(response.artifact_update.artifact.parts[0].text)
    one = response.status_update if response.HasField("status_update") else response.task
    return str(types.TaskState.Name(one.status.state)).removeprefix("TASK_STATE_").lower()


async def _begin(replicas: Replicas, client: Any) -> tuple[str, AsyncIterator[Any]]:
    """Send a message, and wait for the agent to work on it: the task, and what follows."""
    responses = client.send_message(_asked())
    first = await within(anext(responses))
    assert "working" == _told(await within(anext(responses)))
    return first.task.id, responses


async def test_a_client_of_another_replica_follows(replicas: Replicas) -> None:
    """From the snapshot that its replica reads on, each event once, to the end of the task."""
    here, there = await replicas.client(), await replicas.client()
    task_id, responses = await _begin(replicas, here)
    replicas.agent.words.put_nowait("The ")
    assert "The " == _told(await within(anext(responses)))
    following = there.subscribe(types.SubscribeToTaskRequest(id=task_id))
    snapshot = await within(anext(following))
    assert ["The "] == [part.text for one in snapshot.task.artifacts for part in one.parts]
    replicas.agent.words.put_nowait("lamp")
    assert "lamp" == _told(await within(anext(following)))
    replicas.agent.words.put_nowait(None)

    assert ["completed"] == [_told(one) async for one in following]
    assert ["lamp", "completed"] == [_told(one) async for one in responses]


async def test_a_cancel_on_another_replica_reaches_who_follows(replicas: Replicas) -> None:
    """The replica that does not run the agent has no stream of the task's: its event goes to the
    one that has."""
    running, cancelling, reading = [await replicas.client() for _ in range(3)]
    task_id, _ = await _begin(replicas, running)
    following = reading.subscribe(types.SubscribeToTaskRequest(id=task_id))
    await within(anext(following))
    await within(cancelling.cancel_task(types.CancelTaskRequest(id=task_id)))

    assert ["canceled"] == [_told(one) async for one in following]


async def test_a_cancel_of_the_session_fails_the_task(
    replicas: Replicas, make_hub: MakeHub
) -> None:
    """With the agent's next event, after which nothing of it is heard."""
    client = await replicas.client()
    task_id, _ = await _begin(replicas, client)
    stream = await make_hub().get(f"a2a:{task_id}")
    assert stream is not None
    assert Status.CANCELLED == await stream.cancel(wait=20.0)
    ended = await stream.info()

    replicas.agent.words.put_nowait("so")

    async def failed() -> bool:
        task = await client.get_task(types.GetTaskRequest(id=task_id))
        return bool(task.status.state == types.TaskState.TASK_STATE_FAILED)

    await until(failed)
    replicas.agent.words.put_nowait("on")
    replicas.agent.words.put_nowait(None)
    assert ended == await stream.info()


async def test_a_task_that_waited_for_input_goes_on_elsewhere(
    replicas: Replicas, make_hub: MakeHub
) -> None:
    """Who subscribed to its events meanwhile waits, and gets what follows the answer."""
    here, there = await replicas.client(), await replicas.client()
    task_id, responses = await _begin(replicas, here)
    replicas.agent.words.put_nowait("?")
    assert ["input_required"] == [_told(one) async for one in responses]
    events = door.HubTaskEventStream(make_hub()).subscribe(task_id, after=TaskVersion(3))
    coming = asyncio.create_task(anext(events))
    replicas.agent.words.put_nowait("so")
    replicas.agent.words.put_nowait(None)
    task = await there.get_task(types.GetTaskRequest(id=task_id))
    asked = _asked(task_id, task.context_id)
    assert {"so", "completed"} <= {_told(one) async for one in there.send_message(asked)}

    got = [(await within(coming)).event, *[one.event async for one in events]]
    states = [one.status.state for one in got if isinstance(one, types.TaskStatusUpdateEvent)]
    assert [WORKING, COMPLETED] == states[-2:]


def _event(task_id: str, state: Any, version: int | str) -> Any:
    event = types.TaskStatusUpdateEvent(task_id=task_id, context_id="c")
    event.status.state = state
    event.metadata["number"] = 1.5
    return VersionedEvent(event=event, version=TaskVersion(version))


async def test_events_come_as_they_were_published(make_hub: MakeHub) -> None:
    """To whoever subscribes, also before the first; only what is newer; of any kind of version."""
    publishing, reading = (door.HubTaskEventStream(make_hub()) for _ in range(2))
    sent = [_event("t", WORKING, "a"), _event("t", WORKING, "b"), _event("t", COMPLETED, "c")]

    async def read(after: TaskVersion) -> list[Any]:
        return [event async for event in reading.subscribe("t", after=after)]

    waiting = asyncio.create_task(read(TaskVersion.MISSING))
    await asyncio.sleep(0)
    for event in sent:
        await publishing.publish("t", event)
    assert sent == await within(waiting)
    assert sent[1:] == await within(read(TaskVersion("a")))


async def test_all_kinds_of_events_travel(make_hub: MakeHub) -> None:
    """A task, a message, a status and an artifact are what they were."""
    stream = door.HubTaskEventStream(make_hub())
    task = types.Task(id="t", context_id="c")
    artifact = types.TaskArtifactUpdateEvent(task_id="t", context_id="c", append=True)
    artifact.artifact.parts.add(raw=b"\xff\x00")
    message = types.Message(message_id="m", parts=[types.Part(text="grüß\n")])
    sent = [
        VersionedEvent(event=event, version=TaskVersion(number))
        for number, event in enumerate((task, artifact, message), 1)
    ]
    for event in sent:
        await stream.publish("t", event)

    assert sent == [event async for event in stream.subscribe("t", after=TaskVersion.MISSING)]


async def test_what_is_destroyed_ends_for_its_readers(make_hub: MakeHub) -> None:
    """Its events stay for those who come later; what vanished is told."""
    hub = make_hub()
    stream = door.HubTaskEventStream(hub)
    await stream.publish("t", _event("t", WORKING, 1))
    async with aclosing(stream.subscribe("t", after=TaskVersion.MISSING)) as events:
        await within(anext(events))
        await stream.destroy("t")
        with pytest.raises(StopAsyncIteration):
            await within(anext(events))
    await stream.destroy("unknown")
    await stream.publish("u", _event("u", WORKING, 1))
    async with aclosing(stream.subscribe("u", after=TaskVersion.MISSING)) as events:
        await within(anext(events))
        await hub.remove("a2a:u")
        with pytest.raises(SessionNotFound):
            await within(anext(events))
    with pytest.raises(TypeError, match=r"hub must be a streamhub\.Hub, not str"):
        door.HubTaskEventStream("redis://")


#: Arguments: where Redis answers.
PUBLISHER = """
import asyncio, sys
from a2a.server.cluster import TaskVersion, VersionedEvent
from a2a.types import a2a_pb2 as types
from streamhub import Hub, HubConfig
from streamhub.a2a import HubTaskEventStream

async def main():
    stream = HubTaskEventStream(Hub.from_url(sys.argv[1], config=HubConfig(lease=1.0)))
    event = types.TaskStatusUpdateEvent(task_id="t", context_id="c")
    event.status.state = types.TaskState.TASK_STATE_WORKING
    await stream.publish("t", VersionedEvent(event=event, version=TaskVersion(1)))
    print("published")
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


async def test_a_killed_replica_is_told_and_another_goes_on(
    redis_url: str, run_python: RunPython
) -> None:
    """Its subscribers get what it had published and then ``ProducerLost``."""
    process = await run_python(PUBLISHER, redis_url)
    assert "published" == await within(process.line())
    async with Hub.from_url(redis_url, config=HubConfig(lease=1.0)) as hub:
        stream = door.HubTaskEventStream(hub)
        events = stream.subscribe("t", after=TaskVersion.MISSING)
        assert WORKING == (await within(anext(events))).event.status.state
        await process.kill()
        with pytest.raises(ProducerLost):
            await within(anext(events))
        await stream.publish("t", _event("t", COMPLETED, 2))
        after = [event async for event in stream.subscribe("t", after=TaskVersion.MISSING)]

        assert [WORKING, COMPLETED] == [one.event.status.state for one in after]


async def test_the_page_shows_how() -> None:
    """What docs/frameworks.md defines makes a handler."""
    page = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
    code = page.split("## A2A")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"executor": Agent(), "tasks": Tasks(), "card": _card("http://a/")}
    exec(compile(code.replace("redis://localhost:6379/0", "memory://"), "page", "exec"), names)

    assert isinstance(names["handler"], DefaultRequestHandlerV2)
    await names["handler"].aclose()
    await names["hub"].aclose()
