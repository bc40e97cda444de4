"""The routes of LangGraph's runs, for Starlette."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.routing import Route

from ...producing.ending import OnEnd
from ..authorization import Authorize, UserOf
from ..late_hub import HubOf
from .threads import Threads

__all__ = ["langgraph_routes"]


def langgraph_routes(
    hub: HubOf,
    graph: Any,
    *,
    path: str = "",
    user: UserOf | None = None,
    authorize: Authorize | None = None,
    origins: Collection[str] = (),
    session_id: Callable[[str], str] = "thread:{}".format,
    takeover_wait: float = 5.0,
    show_errors: bool = False,
    on_end: OnEnd | None = None,
) -> list[Route]:
    """Routes for the clients of LangGraph's server (``langgraph_sdk``, ``useStream``), for
    ``Starlette(routes=…)`` or FastAPI's ``app.router.routes.extend(…)``.

    =======================================  ======================================================
    ``POST {path}/threads``                  names a thread; nothing is stored of it
    ``GET {path}/threads/{t}``               how it stands
    ``GET {path}/threads/{t}/state[/{c}]``   what its checkpointer has, ``POST …/history`` all of it
    ``POST {path}/threads/{t}/runs/stream``  begins a run and streams it
    ``POST {path}/threads/{t}/runs``         begins a run
    ``POST {path}/runs/stream``              the same as the first, in a thread that is made for it
    ``GET {path}/threads/{t}/runs``          the newest runs that are stored
    ``GET …/runs/{r}``                       how a run stands
    ``GET …/runs/{r}/stream``                follows it, from ``Last-Event-ID`` on; from the start
                                             without one, and with ``-1``
    ``POST …/runs/{r}/cancel``               stops it, wherever it runs: 202; ``?wait=1``: 204, as
                                             soon as it has ended
    =======================================  ======================================================

    A run goes on if its client leaves, unless it was begun with ``on_disconnect="cancel"``. Its
    end is always told: ``end``, with the status ``success`` or ``interrupted`` (cancelled), or
    ``error``, where the graph has raised or whoever ran it is gone. A response that closes without
    either was cut off, and the clients come again by themselves.

    In one thread one run goes on at a time. With ``multitask_strategy="reject"``, as by default,
    another one is answered with 409; with ``"interrupt"`` it takes the place of the first, which is
    cancelled. What else a body asks for and this does not do is answered with 422 and why.

    :param hub: or a function that finds it, given the request if it takes one.
    :param graph: a compiled graph; or several, by the ids of their assistants. What is to be
        resumed after an interrupt needs a checkpointer.
    :param user: who sends a request: the owner of the thread, as the graph's checkpointer and the
        stored runs have it; and ``langgraph_auth_user_id`` among the graph's ``configurable``.
        Threads of others, and of nobody, look like ones that are not there, unless ``authorize``
        says otherwise.
    :param authorize: asked before anything is done or told, with the session of the thread.
        Without it and ``user`` everybody may read and stop all runs.
    :param origins: as for :func:`chat_routes`.
    :param session_id: the session of a thread's id; that of a run is ``run:{thread}:{run}``.
    :param takeover_wait: how many seconds to wait for a run that is interrupted.
    :param show_errors: whether clients are told why a run has failed: what the graph has raised.
    :param on_end: as for ``Hub.register``: told of the end of each run.
    :raises TypeError: ``graph`` is none.

    ::

        app = Starlette(routes=langgraph_routes(hub, graph))
    """
    threads = Threads(
        hub,
        graph if isinstance(graph, Mapping) else {None: graph},
        user=user,
        authorize=authorize,
        origins=origins,
        session_id=session_id,
        takeover_wait=takeover_wait,
        show_errors=show_errors,
        on_end=on_end,
    )
    thread = f"{path}/threads/{{thread:path}}"
    run = f"{thread}/runs/{{run}}"
    return [
        Route(f"{path}/runs/stream", threads.stream, methods=["POST"]),
        Route(f"{path}/threads", threads.create, methods=["POST"]),
        Route(f"{thread}/runs/stream", threads.stream, methods=["POST"]),
        Route(f"{run}/stream", threads.follow, methods=["GET"]),
        Route(f"{run}/cancel", threads.cancel, methods=["POST"]),
        Route(run, threads.run, methods=["GET"]),
        Route(f"{thread}/runs", threads.begin, methods=["POST"]),
        Route(f"{thread}/runs", threads.runs, methods=["GET"]),
        Route(f"{thread}/state", threads.state, methods=["GET"]),
        Route(f"{thread}/state/{{checkpoint}}", threads.state, methods=["GET"]),
        Route(f"{thread}/history", threads.history, methods=["POST"]),
        Route(thread, threads.thread, methods=["GET"]),
    ]
