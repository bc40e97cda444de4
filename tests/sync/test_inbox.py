"""Threads send messages, and receive them."""

from __future__ import annotations

import pytest

from streamhub import NotProducer, StreamClosed
from streamhub.sync import Hub
from streamhub.testing.waiting import patience

from .scene import joined, produce, reader, start


def test_a_thread_answers_what_others_send(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    """Each message once, in order, until the stream ends; which is told to who sends later."""
    stream = produce(hub, session_id)

    def answer() -> list[str | None]:
        kinds = []
        with stream:
            for message in stream.inbox():
                kinds.append(message.event)
                message.done()
                stream.publish(f"{message.data} ")
                if message.event == "end":
                    break
        return kinds

    answering = start(answer)
    other = reader(elsewhere, session_id)
    first = other.send("a", key="a")
    assert first == other.send("a", key="a")
    other.send("b", "kind")
    other.send("c", "end")

    assert [None, "kind", "end"] == answering.result(patience())
    assert "a b c " == joined(other.subscribe())
    with pytest.raises(StreamClosed):
        other.send("d")
    with pytest.raises(NotProducer):
        other.inbox()


def test_another_thread_ends_the_iteration(hub: Hub, session_id: str) -> None:
    """By ``close``; the messages stay for who iterates next."""
    stream = produce(hub, session_id)
    inbox = stream.inbox()
    reading = start(lambda: [message.data for message in inbox])
    stream.send("a")
    with stream.inbox() as other:
        # Whichever of the two has it: the first one is closed without it, or with it.
        inbox.close()
        got = reading.result(patience())
        stream.send("b")
        got += [next(other).data for _ in range(2 - len(got))]

    assert ["a", "b"] == got
