"""The routes of Durable Streams, for Starlette."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from ...formats.durable_messages import SHAPES
from ..authorization import Authorize
from ..late_hub import HubOf
from .streams import DurableStreams

__all__ = ["durable_streams_routes"]


def durable_streams_routes(
    hub: HubOf,
    *,
    path: str = "/streams",
    authorize: Authorize | None = None,
    shape: str = "ui",
    public: bool = False,
    long_poll: float = 20.0,
    heartbeat: float = 15.0,
    error_text: Callable[[str, str], str] | None = None,
) -> list[BaseRoute]:
    """Every session as a read-only stream of the Durable Streams protocol, for its stock clients:
    ``Starlette(routes=…)``, or FastAPI's ``app.router.routes.extend(…)``.

    ====================================  =======================================================
    ``GET {path}/{session}?offset=``      what is stored after an offset; all without one
    ``GET …&live=long-poll``              the same, waiting for it
    ``GET …&live=sse``                    the same, and what comes
    ``HEAD {path}/{session}``             where it ends, and whether it is closed
    ====================================  =======================================================

    ``?format=`` says what its messages are:

    ``ui``
        JSON: the parts of a message, as ``useChat`` reads them; plain chunks are ``text-delta``.
    ``agui``
        JSON: the events of a run of AG-UI, as TanStack AI reads them.
    ``json``
        JSON: the chunks as they were published, as the values that they are, or as strings.
    ``text``
        Text, that of parts included.

    A stream is closed when its session is finished or cancelled. Where it has failed, ``ui`` and
    ``agui`` say so in their last message, and are closed; the others answer 424 at the end, as all
    do while the producer is lost and nobody goes on with it: clients give up then.

    ``?stream=``, which ``Content-Location`` and :func:`durable_stream_url` name, asks for one
    stream of the session. It is answered with 410 once the session has another, as an offset is
    wherever the log does not have (any more) what it stands for. Offsets are never glued.

    :param hub: or a function that finds it, given the request if it takes one.
    :param path: the session's id follows it, percent-encoded.
    :param authorize: asked before anything is told; what it refuses is answered with 404. **Without
        it everybody may read every session.**
    :param shape: what ``?format=`` is where it is not given.
    :param public: whether caches in between may keep answers, and hand them to others: only for
        streams that everybody may read.
    :param long_poll: how long a client waits for something at the most, in seconds.
    :param heartbeat: after so many seconds of silence a comment is sent.
    :param error_text: what a client is told of a failure. It is given ``failed``, ``lost``, … and
        the reason, which may be the text of an exception of the producer's. By default a client
        hears nothing of the reason.
    :raises ValueError: one of them is none of what is allowed.

    ::

        app = Starlette(routes=durable_streams_routes(hub, authorize=owned_by(hub, user)))
    """
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
    for name, seconds in (("long_poll", long_poll), ("heartbeat", heartbeat)):
        if not seconds > 0:
            raise ValueError(f"{name} must be a positive number of seconds, not {seconds!r}")
    streams = DurableStreams(
        hub,
        authorize=authorize,
        session_of=_session_of,
        shape=shape,
        public=public,
        long_poll=long_poll,
        heartbeat=heartbeat,
        error_text=error_text,
    )
    return [Route(f"{path}/{{session:path}}", streams.answer, methods=["GET"])]


def _session_of(request: Request) -> str:
    session: str = request.path_params["session"]
    return session
