"""One request, as the upstream has seen it."""

from __future__ import annotations

import json
import threading
from asyncio import StreamReader
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Asked", "read_request"]


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    #: Whether it may be answered by a stream.
    streams: bool = True
    #: How many tokens have been produced for it.
    tokens: int = 0
    #: Set when the client has hung up before all was said.
    hung_up: threading.Event = field(default_factory=threading.Event)
    #: Set when it was answered to the end, or broken off.
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


async def read_request(reader: StreamReader, ahead: bytes) -> Asked:
    """
    :param ahead: what of it has been read already.
    :raises asyncio.IncompleteReadError: the client has hung up.
    """
    head = ahead + await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    if "chunked" in headers.get("transfer-encoding", ""):
        raw = await _chunked(reader)
    else:
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
    parted = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parted.query).items()}
    return Asked(method, parted.path, query, headers, raw)


async def _chunked(reader: StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)  # no client of the tests sends trailers
    return body
