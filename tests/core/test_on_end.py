"""``on_end``: the application hears of the end in the process that has produced the stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from streamhub import End, Hub, HubConfig, ProducerFenced, Status, engine
from streamhub.hub import Source
from streamhub.stream import LiveStream
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)


class Saved:
    """An ``on_end`` that keeps what it is told."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self._told = asyncio.Event()

    async def __call__(self, end: End) -> None:
        await asyncio.sleep(0)
        self.ends.append(end)
        self._told.set()

    async def one(self) -> End:
        await within(self._told.wait())
        (end,) = self.ends
        return end


async def _finishes(stream: LiveStream) -> None:
    await stream.publish("a")
    await stream.publish('{"n":1}', event="usage")
    await stream.publish("é")


async def _fails(stream: LiveStream) -> None:
    await _finishes(stream)
    raise ValueError("it broke")


async def _waits(stream: LiveStream) -> None:
    await _finishes(stream)
    await stream.flush()
    await asyncio.Event().wait()


@pytest.mark.parametrize("form", ["run", "register"])
@pytest.mark.parametrize(
    ("source", "status", "reason"),
    [
        (_finishes, Status.FINISHED, None),
        (_fails, Status.FAILED, "ValueError: it broke"),
        (_waits, Status.CANCELLED, "enough"),
    ],
)
async def test_every_end_is_told_once_with_all_of_it(
    hub: Hub, session_id: str, form: str, source: Source, status: Status, reason: str | None
) -> None:
    """Finished, failed or cancelled: what was stored, whose it was, why and when it ended, and a
    key; after it is stored, so that who asks the hub then finds the same."""
    saved, found = Saved(), asyncio.get_running_loop().create_future()

    async def save(end: End) -> None:
        await saved(end)
        other = await hub.get(session_id)
        assert other is not None
        found.set_result(await other.info())

    before = time.time()
    if form == "run":
        stream = await hub.run(session_id, source, on_end=save, owner="me", metadata={"n": 1})
        producing = None
    else:
        stream, _ = await hub.register(session_id, on_end=save, owner="me", metadata={"n": 1})
        producing = asyncio.create_task(_in_block(stream, source))
    if status is Status.CANCELLED:
        await until(lambda: _has_text(stream, "aé"))
        await stream.cancel(wait=10, reason=reason)
    if producing is not None:
        await within(producing)

    end = await saved.one()
    info = await within(found)
    assert status is info.status
    assert (
        End(
            key=stream.generation or "",
            session_id=session_id,
            generation=info.generation,
            epoch=info.epoch,
            status=status,
            reason=reason,
            message=await stream.message(),
            text="aé",
            events=(("usage", '{"n":1}'),),
            owner="me",
            metadata={"n": 1},
            started=info.created,
            ended=end.ended,
            chunks=3,
            bytes=info.bytes,
        )
        == end
    )
    assert before - 5 < end.ended < time.time() + 5


async def _has_text(stream: LiveStream, text: str) -> bool:
    return text == await stream.text()


async def _in_block(stream: LiveStream, source: Source) -> None:
    assert callable(source)
    try:
        async with stream:
            await source(stream)
    except ValueError:
        pass


async def test_who_continues_is_told_all_and_who_was_released_nothing(
    make_hub: MakeHub, session_id: str
) -> None:
    """A hub that closes leaves its sessions to others: the end is told where it is reached, once,
    with the text of both."""
    first, second = Saved(), Saved()
    leaving, staying = make_hub(), make_hub()
    stream = await leaving.run(session_id, _waits, on_end=first)
    await until(lambda: _has_text(stream, "aé"))
    await within(leaving.aclose())

    await staying.run(session_id, _finishes, takeover="continue", on_end=second)

    end = await second.one()
    assert ("aéaé", 6, []) == (end.text, end.chunks, first.ends)


async def test_who_is_fenced_is_told_nothing(hub: Hub, session_id: str) -> None:
    """The session is not this producer's any more, and neither is its end."""
    saved = Saved()
    stream, _ = await hub.register(session_id, on_end=saved)
    await hub.remove(session_id)

    with pytest.raises(ProducerFenced):
        await stream.close()

    await within(hub.aclose())
    assert [] == saved.ends


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_one_that_raises_is_logged_and_changes_nothing(
    hub: Hub, session_id: str, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The end stays what it is, and the operator sees where it went wrong."""

    def plain(end: End) -> None:
        raise RuntimeError("no disk")

    async def later(end: End) -> None:
        plain(end)

    stream, _ = await hub.register(session_id, on_end=plain if kind == "plain" else later)
    await stream.publish("a")
    await stream.close()
    await within(hub.aclose())

    (record,) = caplog.records
    assert f"on_end of session {session_id!r} failed" == record.getMessage()
    assert record.exc_info is not None
    assert "no disk" == str(record.exc_info[1])


async def test_closing_waits_for_what_is_being_saved(hub: Hub, session_id: str) -> None:
    """An end that was told just before the hub closes is saved; ``close`` of the stream itself
    does not wait for that."""
    saved, go_on = Saved(), asyncio.Event()

    async def save(end: End) -> None:
        await go_on.wait()
        await saved(end)

    stream, _ = await hub.register(session_id, on_end=save)
    await within(stream.close())
    closing = asyncio.create_task(hub.aclose())
    await asyncio.sleep(0)
    go_on.set()

    await within(closing)
    assert Status.FINISHED is (await saved.one()).status


async def test_one_that_hangs_does_not_keep_the_hub(
    hub: Hub,
    session_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is cancelled after a few seconds, and the operator is told."""
    monkeypatch.setattr(engine, "_TELLING", 0.05)

    async def hang(_: End) -> None:
        await asyncio.Event().wait()

    stream, _ = await hub.register(session_id, on_end=hang)
    await within(stream.close())
    await within(hub.aclose())

    assert [
        f"on_end of session {session_id!r} was cut off: it took longer than the hub to close"
    ] == caplog.messages


@pytest.mark.parametrize("form", ["run", "register"])
async def test_what_is_no_function_is_refused_at_the_door(
    hub: Hub, session_id: str, form: str
) -> None:
    """Before anything is claimed, and with the source closed that is not needed then."""
    closed = asyncio.Event()

    class Answer:
        def __aiter__(self) -> AsyncIterator[str]:
            raise AssertionError("not needed")

        async def aclose(self) -> None:
            closed.set()

    calls: dict[str, Callable[[], object]] = {
        "run": lambda: hub.run(session_id, Answer(), on_end="save"),  # type: ignore[arg-type]
        "register": lambda: hub.register(session_id, on_end=7),  # type: ignore[arg-type]
    }
    with pytest.raises(TypeError, match=r"on_end must be a function of the end, not (str|int)"):
        await calls[form]()  # type: ignore[misc]

    assert (form == "run") is closed.is_set()
    assert await hub.get(session_id) is None


async def test_an_end_is_told_though_the_session_is_gone_by_then(
    make_hub: MakeHub, session_id: str
) -> None:
    """What its producer knows is enough: somebody may remove the session at once."""
    hub, elsewhere, saved = make_hub(HubConfig(lease=5)), make_hub(), Saved()
    stream, _ = await hub.register(session_id, on_end=saved, owner="me", metadata=[1])
    await stream.publish("a")
    look = hub._store.look

    async def removed_before(*args: object, **options: object) -> object:
        await elsewhere.remove(session_id)
        return await look(*args, **options)  # type: ignore[arg-type]

    hub._store.look = removed_before  # type: ignore[method-assign,assignment]
    await stream.fail("in vain")

    end = await saved.one()
    assert ("a", "me", [1], Status.FAILED, "in vain", 1, 1) == (
        end.text, end.owner, end.metadata, end.status, end.reason, end.chunks, end.bytes,
    )  # fmt: skip
