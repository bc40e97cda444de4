"""Waiting for the channels that hubs listen to: Redis has no event for them and is asked again."""

from __future__ import annotations

import redis.asyncio

__all__ = ["listening_to", "no_longer_listening"]


async def listening_to(client: redis.asyncio.Redis, channels: set[bytes]) -> None:
    """Wait until these are the channels that somebody listens to, and no others."""
    while channels != set(await client.pubsub_channels()):
        await client.ping()


async def no_longer_listening(client: redis.asyncio.Redis, channel: bytes) -> None:
    """Wait until nobody listens to it."""
    while channel in await client.pubsub_channels():
        await client.ping()
