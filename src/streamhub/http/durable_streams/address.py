"""Where a stream is found: the address of its session, and in its query which stream of it."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from ...formats.durable_messages import SHAPES
from ...stream import LiveStream

__all__ = ["durable_stream_url", "query_of"]


def durable_stream_url(stream: LiveStream, *, path: str = "/streams", shape: str = "ui") -> str:
    """The address of exactly this stream, for a client to follow: it says 410 once the session has
    another one. The address without a query is that of whatever stream the session has.

    :param path: where the routes stand, with the root that they are mounted at; or the whole URL.
    :param shape: as the stream is to be read: see :func:`durable_streams_routes`.
    :raises ValueError: there is no such shape.

    ::

        return Response(headers={"location": durable_stream_url(stream)}, status_code=201)
    """
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
    name = quote(stream.session_id, safe="")
    return f"{path}/{name}{query_of(stream.stream_id, shape)}"


def query_of(stream_id: str, shape: str) -> str:
    """What names a stream among those of its session, with its question mark."""
    return "?" + urlencode({"format": shape, "stream": stream_id})
