"""Who waits for news is woken, in order, and forgotten when it has left."""

from __future__ import annotations

import asyncio

import pytest

from streamhub.signals import Signal


@pytest.mark.parametrize("count", [0, 1, 2, 40])
async def test_all_who_wait_are_woken_once_and_in_their_order(count: int) -> None:
    """Who waits again while others are woken hears the next news."""
    signal = Signal[str]()
    heard: list[tuple[int, str | None]] = []

    async def wait(number: int) -> None:
        heard.append((number, await signal.wait()))
        heard.append((number, await signal.wait()))

    tasks = [asyncio.create_task(wait(number)) for number in range(count)]
    await asyncio.sleep(0)
    assert bool(signal) == bool(count)
    for news in ("first", "second"):
        signal.fire(news)
        assert not signal
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert [(number, news) for news in ("first", "second") for number in range(count)] == heard


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_who_has_left_keeps_nobody_from_hearing(left: int) -> None:
    """Whichever of three was cancelled."""
    signal = Signal[str]()
    waiting = [signal.wait() for _ in range(3)]

    waiting[left].cancel()
    signal.fire("news")

    assert ["news", "news"] == [one.result() for one in waiting if not one.cancelled()]
