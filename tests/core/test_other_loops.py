"""A hub and its handles belong to one event loop of one process; elsewhere they say so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from streamhub import Hub, HubClosed, HubInOtherLoop, LiveStream, Subscription
from streamhub.testing.waiting import patience, within

from ..conftest import MakeHub, RunPython

#: Every call that a hub and its handles have.
CALLS: dict[str, Callable[[Hub, LiveStream, Subscription], Awaitable[object]]] = {
    "register": lambda hub, stream, subscription: hub.register("other"),
    "run": lambda hub, stream, subscription: hub.run("other", ["a"]),
    "get": lambda hub, stream, subscription: hub.get("other", wait=1),
    "active": lambda hub, stream, subscription: hub.active(["other"]),
    "remove": lambda hub, stream, subscription: hub.remove("other"),
    "sessions": lambda hub, stream, subscription: anext(hub.sessions()),
    "enter the hub": lambda hub, stream, subscription: hub.__aenter__(),
    "publish": lambda hub, stream, subscription: stream.publish("theirs"),
    "flush": lambda hub, stream, subscription: stream.flush(),
    "set_metadata": lambda hub, stream, subscription: stream.set_metadata(1),
    "close": lambda hub, stream, subscription: stream.close(),
    "fail": lambda hub, stream, subscription: stream.fail("why"),
    "enter the stream": lambda hub, stream, subscription: stream.__aenter__(),
    "subscribe": lambda hub, stream, subscription: anext(stream.subscribe()),
    "cancel": lambda hub, stream, subscription: stream.cancel(wait=1),
    "wait": lambda hub, stream, subscription: stream.wait(1),
    "done": lambda hub, stream, subscription: stream.done(),
    "info": lambda hub, stream, subscription: stream.info(),
    "text": lambda hub, stream, subscription: stream.text(),
    "iterate": lambda hub, stream, subscription: anext(subscription),
    "take": lambda hub, stream, subscription: subscription.take(),
}


async def _refused(
    hub: Hub, stream: LiveStream, subscription: Subscription
) -> dict[str, BaseException | None]:
    """What each call raises in the event loop that runs now; None for one that answers."""
    raised: dict[str, BaseException | None] = {}
    for name, call in CALLS.items():
        try:
            await asyncio.wait_for(call(hub, stream, subscription), patience())
        except Exception as error:
            raised[name] = error
        else:
            raised[name] = None
    return raised


async def _used(hub: Hub, session_id: str) -> tuple[LiveStream, Subscription]:
    """Handles on a session of which all is stored, and was read as it came."""
    stream, _ = await hub.register(session_id)
    subscription = stream.subscribe()
    for chunk in ("a", "b"):
        reading = asyncio.ensure_future(anext(subscription))
        await stream.publish(chunk)
        await stream.flush()
        assert chunk == (await reading).data
    return stream, subscription


async def test_every_handle_refuses_in_the_loop_of_another_thread(
    make_hub: MakeHub, session_id: str
) -> None:
    """The error names the thread and what there is for threads; the stream is none the worse."""
    hub = make_hub()
    stream, subscription = await _used(hub, session_id)

    raised = await asyncio.to_thread(lambda: asyncio.run(_refused(hub, stream, subscription)))

    assert dict.fromkeys(CALLS, HubInOtherLoop) == {name: type(one) for name, one in raised.items()}
    for error in raised.values():
        assert "'MainThread'" in str(error)
        assert "streamhub.sync" in str(error)
    await stream.publish("c")
    assert "c" == (await within(anext(subscription))).data
    await stream.close()
    assert "abc" == await stream.text()


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_every_handle_refuses_in_a_loop_after_its_own(
    store: str, session_id: str, request: pytest.FixtureRequest
) -> None:
    """As between two ``asyncio.run``, or two tests: at once, and not by waiting for ever."""
    url = "memory://" if store == "memory" else request.getfixturevalue("redis_url")
    hub = Hub.from_url(url)
    handles = asyncio.run(_used(hub, session_id))

    raised = asyncio.run(_refused(hub, *handles))

    assert dict.fromkeys(CALLS, HubInOtherLoop) == {name: type(one) for name, one in raised.items()}
    assert all("has ended" in str(error) for error in raised.values())
    asyncio.run(hub.aclose())


async def test_a_closed_hub_is_closed_for_its_own_loop(hub: Hub, session_id: str) -> None:
    """There it says that it is closed."""
    await hub.register(session_id)
    await hub.aclose()

    with pytest.raises(HubClosed):
        await hub.get(session_id)


_FORKED = """
import asyncio, os, sys, warnings
from tests.core.test_other_loops import CALLS, _refused, _used
from streamhub import Hub

warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads run
loop = asyncio.new_event_loop()
hub = Hub.from_url(sys.argv[1])
unused = Hub.from_url(sys.argv[1])
stream, subscription = loop.run_until_complete(_used(hub, "chat"))

async def call_by_hand():
    # Without an event loop of its own, as where the fork is within a coroutine.
    for use in (stream.publish("theirs"), hub.get("chat")):
        try:
            use.send(None)
        except BaseException as error:
            print(type(error).__name__)

if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0

    async def go_on():
        await stream.publish("c")
        print((await anext(subscription)).data)
        await stream.close()
        print(await stream.text())
        await hub.aclose()

    loop.run_until_complete(go_on())
    loop.close()
else:
    try:
        call_by_hand().send(None)
    except StopIteration:
        pass
    raised = asyncio.run(_refused(hub, stream, subscription))
    print(*{type(error).__name__ for error in raised.values()})
    print(len(raised) == len(CALLS), all("forked" in str(error) for error in raised.values()))
    print(asyncio.run(unused.get("nobody")))
    del subscription, stream, hub
    os._exit(0)
"""


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_every_handle_refuses_in_a_forked_child(
    store: str, run_python: RunPython, request: pytest.FixtureRequest
) -> None:
    """With what to do instead; no chunk of the child takes a cursor of its parent, whose stream
    goes on as if there was no child. A hub that was not used before the fork works in it."""
    url = "memory://" if store == "memory" else request.getfixturevalue("redis_url")

    process = await run_python(_FORKED, url)

    expected = [
        *("HubInOtherProcess", "HubInOtherProcess"),
        *("HubInOtherProcess", "True True", "None"),
        *("c", "abc"),
    ]
    assert expected == [await within(process.line()) for _ in expected]
    assert 0 == await within(process.wait())


def test_a_subscription_that_is_made_without_an_event_loop_says_so() -> None:
    """It is no coroutine, and may be called anywhere: what was done is told, and what to do."""
    hub = Hub()

    async def use() -> LiveStream:
        stream, _ = await hub.register("chat")
        with pytest.raises(HubInOtherLoop, match=r"no event loop is running.*'MainThread'"):
            await asyncio.to_thread(stream.subscribe)
        return stream

    stream = asyncio.run(use())
    with pytest.raises(HubInOtherLoop, match=r"no event loop is running.*one asyncio.run"):
        stream.subscribe()
