"""Ends as signed POSTs to somebody else's server, as Standard Webhooks have them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from standardwebhooks.webhooks import Webhook as Signer

from ..end import End
from ..ends.taken import TakenEnd
from ..errors import EndFenced, HubClosed, StoreUnavailable
from ..formats.info_json import end_json
from ..formats.json_text import encode
from ..hub import Hub

__all__ = ["WebhookTarget"]

logger: logging.Logger = logging.getLogger("streamhub")

# How many POSTs may be under way: one that is slow does not hold up the others.
_WORKERS = 4
_LEASE = 60.0
# An end is tried for about ten hours: after 5, 10, 20 … seconds, and then once an hour.
_ATTEMPTS = 20
_FIRST_RETRY = 5.0
_LONGEST_RETRY = 3600.0
_FEWEST_SECRET_BYTES = 24


class _Answer(NamedTuple):
    """What became of one POST; ``status`` is 0 where there was no answer."""

    status: int
    reason: str
    retry_after: float | None = None


class WebhookTarget:
    """A URL that gets each end of a feed as a signed POST, until it answers 2xx.

    The body is ``{"type": "session.<status>", "timestamp": …, "data": {…}}``. ``webhook-id`` is
    the ``key`` of the end, the same at each attempt. Any other answer is a failure, redirects too,
    which are not followed; ``Retry-After`` is heeded up to an hour. 410 ends the deliveries.

    :param secrets: ``whsec_`` and base64 of 24 bytes or more, each: all of them sign, so that a
        target may change over from one to the next.
    :param timeout: seconds that one POST may take.
    :raises ValueError: the URL or a secret is none; the message does not hold the secret.
    """

    def __init__(self, url: str, secrets: Sequence[str], *, timeout: float = 15.0) -> None:
        if not _is_url(url):
            raise ValueError("a webhook is the URL of a server: http://… or https://…")
        parts = urlsplit(url)
        if not secrets:
            raise ValueError("a webhook needs a secret, with which its target checks what it gets")
        self._url = url
        #: The path, and what stands before the host, may be secrets as well.
        self._shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._signers = [Signer(_secret_bytes(secret)) for secret in secrets]
        self._timeout = timeout
        self._gone = asyncio.Event()
        self._failing = 0

    def __repr__(self) -> str:
        return f"<WebhookTarget {self._shown}>"

    async def deliver(self, hub: Hub, feed: str) -> None:
        """Deliver the ends of ``feed`` until the hub is closed, or the target answers 410. Of a hub
        that closes, what is under way may still be answered.

        :raises: as ``Hub.ends``.
        """
        hub.ends(feed)
        async with httpx.AsyncClient(timeout=self._timeout) as client, asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(self._work(client, hub, feed)) for _ in range(_WORKERS)]
            gone = tasks.create_task(self._gone.wait())
            left: set[asyncio.Task[Any]] = {*working, gone}
            while left - {gone} and not gone.done():
                _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()

    async def _work(self, client: httpx.AsyncClient, hub: Hub, feed: str) -> None:
        while True:
            try:
                async with hub.ends(feed, lease=_LEASE, max_attempts=_ATTEMPTS) as ends:
                    async for end in ends:
                        await self._settle(end, await self._post(client, end))
            except HubClosed:
                return
            except (EndFenced, StoreUnavailable) as error:
                logger.warning("webhook %s: %s", self._shown, error)

    async def _post(self, client: httpx.AsyncClient, end: End) -> _Answer:
        now = datetime.now(UTC)
        body = encode(
            {
                "type": f"session.{end.status}",
                "timestamp": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "data": end_json(end),
            }
        )
        text = body.decode()
        signatures = [signer.sign(end.key, now, text) for signer in self._signers]
        headers = {
            "content-type": "application/json",
            "user-agent": "streamhub",
            "webhook-id": end.key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        try:
            # The answer's body is not read: it may be endless.
            async with (
                asyncio.timeout(self._timeout),
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                return _Answer(
                    response.status_code,
                    f"it answered {response.status_code}",
                    _seconds(response.headers.get("retry-after"), now),
                )
        except TimeoutError:
            return _Answer(0, f"it has not answered within {self._timeout:g} s")
        except (httpx.HTTPError, OSError) as error:
            return _Answer(0, f"it cannot be reached: {str(error) or type(error).__name__}")

    async def _settle(self, end: TakenEnd, answer: _Answer) -> None:
        if 200 <= answer.status < 300:
            if self._failing:
                logger.warning(
                    "webhook %s: it takes ends again, after %d failures",
                    self._shown, self._failing,
                )  # fmt: skip
                self._failing = 0
            await end.done()
            return
        self._failing += 1
        if answer.status == 410:
            if not self._gone.is_set():
                logger.error(
                    "webhook %s: it answered 410: nothing is sent there any more. What has ended "
                    "waits for another start", self._shown,
                )  # fmt: skip
            self._gone.set()
            await end.retry(0.0, reason=answer.reason)
            return
        if self._failing == 1:
            logger.warning("webhook %s: %s; ends are tried again", self._shown, answer.reason)
        after = answer.retry_after
        if after is None:
            after = min(_FIRST_RETRY * 2.0 ** (end.attempt - 1), _LONGEST_RETRY)
        await end.retry(after, reason=answer.reason)


def _is_url(url: str) -> bool:
    """Whether a POST can be sent there, as far as that is to be seen before the first one."""
    try:
        parsed = httpx.URL(url)
        return parsed.scheme in ("http", "https") and bool(parsed.host)
    except (httpx.InvalidURL, ValueError):
        return False


def _secret_bytes(secret: str) -> bytes:
    """:raises ValueError: it is none; the message says nothing of it."""
    with suppress(binascii.Error, ValueError):
        prefix, _, encoded = secret.strip().partition("_")
        padding = "=" * (-len(encoded) % 4)
        decoded = base64.b64decode(encoded + padding, validate=True)
        if prefix == "whsec" and len(decoded) >= _FEWEST_SECRET_BYTES:
            return decoded
    raise ValueError(
        f"a webhook secret is whsec_ and the base64 of {_FEWEST_SECRET_BYTES} bytes or more, as "
        "from: echo whsec_$(openssl rand -base64 32)"
    )


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """What a ``Retry-After`` says, in seconds from ``now``; at most an hour."""
    if retry_after is None:
        return None
    seconds: float | None = None
    if retry_after.strip().isdecimal():
        seconds = float(retry_after)
    else:
        with suppress(ValueError, TypeError):
            seconds = (parsedate_to_datetime(retry_after) - now).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_RETRY)
