"""All that can be done with the feeds of a store, once."""

from __future__ import annotations

from streamhub import Hub, Status
from streamhub.stores.feeds import Due, Taken

__all__ = ["use_feeds"]


async def use_feeds(hub: Hub, session_id: str) -> None:
    """Have an end set aside, lost, tried, given up, listed, revived and done."""
    feeds = hub._store.feeds
    assert feeds is not None
    await feeds.open("save", unsaved=60.0)
    async with (await hub.register(session_id, owner="ada"))[0] as first:
        await first.publish("1")
    second, created = await hub.register(session_id, owner="ada")
    assert created
    assert second.generation is not None
    due = Due(session_id, second.generation)
    await feeds.due("save", 10, hold=0.001)
    assert not await feeds.settle(Due(session_id), "save", "nobody", "done")
    for outcome in ("dead", "again", "done"):
        taken = await feeds.take(due, "save", outcome, lease=5.0, lost_after=0.0)
        assert isinstance(taken, Taken)
        assert Status.FINISHED is taken.info.status
        assert taken.info.terms is not None
        assert ["1"] == [one.data for one in await feeds.read(due, taken.info.terms.place(0), 9)]
        assert await feeds.renew(due, "save", outcome, lease=5.0)
        assert await feeds.settle(due, "save", outcome, outcome, error="why")
        if outcome == "dead":
            assert [due] == [one.due async for one in feeds.dead("save")]
            assert await feeds.revive(due, "save")
    await feeds.take(Due("nobody"), "save", "one", lease=5.0, lost_after=0.0)
    await feeds.put_off("save", {due: None, Due("nobody"): None, Due(session_id): 1.0})
    assert "save" in [one.name for one in await feeds.known()]
    assert session_id in [info.session_id async for info in hub.sessions(owner="ada")]
    await second.close()
