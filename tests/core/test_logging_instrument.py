"""Events as records of logging."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import pytest

from streamhub import Hub
from streamhub.instruments import Event, events
from streamhub.instruments.logging import LoggingInstrument
from streamhub.stores.base import Takeover
from streamhub.stores.memory import MemoryStore


async def test_the_log_says_who_claimed_a_session_and_whom_that_replaced(
    session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines at INFO for each claim that was granted, and how it ended; none for one that was
    refused, and never what was published, nor what the metadata hold."""
    caplog.set_level(logging.INFO, logger="streamhub")
    steps: Sequence[Takeover] = ("restart", "continue")
    generations = []
    async with Hub(MemoryStore(), instruments=[LoggingInstrument()]) as hub:
        for takeover in steps:
            stream, created = await hub.register(
                session_id, takeover=takeover, metadata={"prompt": "secret"}
            )
            assert created
            await hub.register(session_id)
            generations.append(stream.generation)
            await stream.publish("secret")
            await stream.fail("stopped")

    first, second = generations
    opened, *told, closed = [one for one in caplog.records if one.name != "asyncio"]
    assert ("streamhub.hub", "streamhub.hub") == (opened.name, closed.name)
    # All facts are such as JSON can hold.
    known = vars(logging.makeLogRecord({}))
    for one in caplog.records:
        json.dumps({name: value for name, value in vars(one).items() if name not in known})
    assert {("streamhub.producing", logging.INFO)} == {(one.name, one.levelno) for one in told}
    shown = f"session {session_id!r}: "
    assert [
        f"{shown}claimed by {first}",
        f"{shown}ended as failed",
        f"{shown}claimed by {second}",
        f"{shown}{second} has replaced {first} (continue after chunk 1)",
        f"{shown}ended as failed",
    ] == [one.getMessage().partition(", ")[0] for one in told]
    facts = [vars(one) for one in told]
    assert ["Claimed", "Ended", "Claimed", "TakenOver", "Ended"] == [one["event"] for one in facts]
    assert ("failed", "stopped", 1) == tuple(
        facts[1][name] for name in ("status", "reason", "chunks")
    )
    assert "secret" not in repr(facts)
    assert "secret" not in caplog.text


async def test_each_level_can_be_another_and_so_can_the_loggers(
    session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A claim at DEBUG, under a logger of the application's name."""
    caplog.set_level(logging.INFO)
    quiet = LoggingInstrument("shop", levels={events.Claimed: logging.DEBUG})
    async with Hub(instruments=[quiet]) as hub:
        stream, _ = await hub.register(session_id)
        await stream.close()

    assert ["shop.hub", "shop.producing", "shop.hub"] == [one.name for one in caplog.records]
    assert "Ended" == vars(caplog.records[1])["event"]
    with pytest.raises(ValueError, match="<class 'int'>, which is no event of streamhub"):
        LoggingInstrument(levels={int: 10})  # type: ignore[dict-item]


def test_every_event_has_its_line() -> None:
    """An event that is new is not forgotten in the log, and all that its line names is there."""
    log = LoggingInstrument()._logs

    assert {*Event.__args__} == {*log}
    for kind, (_, _, _, text) in log.items():
        text % dict.fromkeys(kind.__struct_fields__, 1)
