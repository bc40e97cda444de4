"""Threads produce and read."""

from __future__ import annotations

import pytest

from streamhub import (
    ChunkTooLarge,
    HubConfig,
    InvalidChunk,
    NotProducer,
    ProducerFailed,
    Status,
)
from streamhub.sync import Hub
from streamhub.testing.waiting import patience

from .scene import joined, produce, reader, start


def test_readers_in_threads_get_all_in_order(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    """What one thread publishes, others read live and to the end."""
    texts = [f"{n} " for n in range(500)]
    stream, created = hub.register(session_id)
    readers = [start(lambda: joined(reader(elsewhere, session_id).subscribe())) for _ in range(3)]
    with stream:
        cursors = [stream.publish(text) for text in texts]

    assert created
    assert list(range(1, 501)) == [cursor.offset for cursor in cursors]
    assert ["".join(texts)] * 3 == [each.result(patience()) for each in readers]
    assert Status.FINISHED is stream.wait(patience())
    assert "".join(texts) == stream.text()


def test_many_threads_share_a_hub(hub: Hub) -> None:
    """Threads that use one hub at the same time do not get in each other's way."""

    def chat(number: int) -> str:
        with produce(hub, f"chat:{number}") as stream:
            for n in range(50):
                stream.publish(f"{number}.{n} ")
        return joined(reader(hub, f"chat:{number}").subscribe())

    chats = [start(lambda number=number: chat(number)) for number in range(12)]  # type: ignore[misc]

    for number, each in enumerate(chats):
        assert "".join(f"{number}.{n} " for n in range(50)) == each.result(patience())


def test_one_of_many_threads_produces(hub: Hub, session_id: str) -> None:
    """G1: one claim is granted; the others get a handle that reads, and cannot write."""
    answers = [start(lambda: hub.register(session_id)) for _ in range(8)]
    streams = [answer.result(patience()) for answer in answers]
    loser = next(stream for stream, created in streams if not created)

    assert [False] * 7 + [True] == sorted(created for _, created in streams)
    assert None is loser.generation
    with pytest.raises(NotProducer):
        loser.publish("a")
    with pytest.raises(NotProducer), loser:
        pass


def test_an_exception_fails_the_stream(hub: Hub, session_id: str) -> None:
    """It passes on to who wrote the block, and readers get what came before, then the error."""
    stream, _ = hub.register(session_id)
    with pytest.raises(ZeroDivisionError), stream:
        stream.publish("a")
        raise ZeroDivisionError("oh")
    subscription = reader(hub, session_id).subscribe()

    assert "a" == next(subscription).data
    with pytest.raises(ProducerFailed, match="ZeroDivisionError: oh"):
        next(subscription)
    assert Status.FAILED is subscription.status


def test_a_refused_chunk_is_reported_by_its_publish(url: str, session_id: str) -> None:
    """The stream goes on without a chunk that cannot be accepted."""
    with Hub.from_url(url, config=HubConfig(max_chunk_bytes=4)) as hub:
        stream = produce(hub, session_id, "a")
        with pytest.raises(ChunkTooLarge):
            stream.publish("12345")
        with pytest.raises(InvalidChunk):
            stream.publish(b"b")  # type: ignore[arg-type]
        stream.publish("b", event="x")
        stream.close()

        assert ["a", "b"] == [chunk.data for chunk in stream.subscribe()]


def test_asking_about_a_session(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    """Metadata, info, activity, the list of sessions, failing and removal work as in async."""
    stream, _ = hub.register(session_id, owner="me", metadata={"a": 1})
    stream.set_metadata({"b": 2})
    other = reader(elsewhere, session_id)

    assert {"b": 2} == other.metadata(dict[str, int])
    assert "me" == other.info().owner
    assert not other.done()
    assert {session_id} == elsewhere.active(iter([session_id, "nobody"]))
    assert [session_id] == [info.session_id for info in elsewhere.sessions(owner="me")]
    stream.fail("enough")
    assert other.done()
    assert "enough" == other.info().error
    assert elsewhere.remove(session_id)
    assert None is elsewhere.get(session_id)


def test_sessions_come_in_any_number(hub: Hub) -> None:
    """All are listed, also where they are fetched in several batches."""
    expected = {f"chat:{n}" for n in range(300)}
    for session_id in expected:
        hub.register(session_id)

    assert expected == {info.session_id for info in hub.sessions()}
