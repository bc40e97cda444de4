"""A stream that a feed has ended as lost: its producer, its readers, and who continues it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamhub import Hub, HubConfig, ProducerLost, Status, StoreUnavailable, StreamClosed
from streamhub.stores.base import Renew, WriteResult
from streamhub.stores.feeds import Due, Later, Taken
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import unhurried, within

from ..conftest import MakeHub

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
CONFIG = HubConfig(lease=unhurried(0.2))


class NeverRenews(WrappedStore):
    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        raise StoreUnavailable("store", "is out of reach for renewals")


async def end_as_lost(hub: Hub, session_id: str) -> None:
    feeds = hub._store.feeds
    assert feeds is not None
    while isinstance(
        taken := await feeds.take(Due(session_id), "save", "me", lease=60.0, lost_after=0.0), Later
    ):
        pass
    assert isinstance(taken, Taken)
    assert Status.LOST is taken.info.status


async def test_everybody_hears_that_it_is_over(make_hub: MakeHub, session_id: str) -> None:
    """Whoever reads gets ProducerLost at once, now and later; the producer that was only stalled
    gets StreamClosed from whatever it does, and what it has not stored is not passed over; another
    goes on in the same log."""
    hub, plain = make_hub(CONFIG), make_hub(CONFIG)
    async with Hub(NeverRenews(plain._store), config=CONFIG) as stalled:
        stream, created = await stalled.register(session_id)
        assert created
        await stream.publish("a")
        await stream.flush()
        reader = await hub.get(session_id)
        assert reader is not None
        subscription = reader.subscribe()
        assert "a" == (await within(anext(subscription))).data
        await end_as_lost(hub, session_id)
        for one in (subscription, reader.subscribe(after="now")):
            with pytest.raises(ProducerLost):
                await within(anext(one))
        assert Status.LOST is await within(reader.wait())
        with pytest.raises(StreamClosed, match=r"ended \(lost\).*takeover='continue'") as closed:
            await stream.publish("b")
            await within(stream.flush())
        assert Status.LOST is closed.value.status
        with pytest.raises(StreamClosed):
            await within(stream.close())

        again, created = await hub.register(session_id, takeover="continue")
        assert created
        await again.publish("c")
        await again.close()
        assert "ac" == await reader.text()


async def test_an_end_that_comes_too_late_is_no_success(make_hub: MakeHub, session_id: str) -> None:
    """close() of a stalled producer says so: others were told that the answer is lost."""
    hub, plain = make_hub(CONFIG), make_hub(CONFIG)
    async with Hub(NeverRenews(plain._store), config=CONFIG) as stalled:
        stream, _ = await stalled.register(session_id)
        await end_as_lost(hub, session_id)
        with pytest.raises(StreamClosed):
            await within(stream.close())


async def test_a_user_may_still_cancel_it(make_hub: MakeHub, session_id: str) -> None:
    """As any lost session, so that nobody continues it for him."""
    hub = make_hub(CONFIG)
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await stream.flush()
    await hub.aclose()
    other = make_hub(CONFIG)
    await end_as_lost(other, session_id)
    reader = await other.get(session_id)
    assert reader is not None
    assert Status.CANCELLED is await within(reader.cancel(reason="enough"))
    info = await reader.info()
    assert (Status.CANCELLED, "enough") == (info.status, info.error)
    assert ["a"] == [chunk.data async for chunk in reader.subscribe()]
