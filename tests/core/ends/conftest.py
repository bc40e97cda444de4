"""What the tests of feeds share: hubs whose leases are long, and sessions that have ended."""

from __future__ import annotations

from uuid import uuid4

import pytest

from streamhub import (
    Ends,
    Hub,
    HubConfig,
    TakenEnd,
)
from streamhub.ends import hold
from streamhub.testing.waiting import within

from ...conftest import MakeHub

CALM = HubConfig(lease=300.0, retention=300.0)


@pytest.fixture
def make_hub(make_hub: MakeHub) -> MakeHub:
    return lambda config=None, instruments=(): make_hub(config or CALM, instruments)


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not done comes again within moments."""
    monkeypatch.setattr(hold, "_FIRST_RETRY", 0.02)
    monkeypatch.setattr(hold, "_LONGEST_RETRY", 0.02)


async def ended(hub: Hub, *texts: str, session_id: str = "") -> str:
    """A session that has ended; its name."""
    session_id = session_id or f"chat:{uuid4().hex}"
    stream, created = await hub.register(session_id, owner="me", metadata={"n": 1})
    assert created
    async with stream:
        for text in texts:
            await stream.publish(text)
    return session_id


async def next_end(ends: Ends) -> TakenEnd:
    return await within(anext(ends))
