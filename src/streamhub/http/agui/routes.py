"""The routes of runs, for Starlette."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.routing import BaseRoute, Route, WebSocketRoute

from ...producing.ending import OnEnd
from ..authorization import Authorize, UserOf
from ..chat.answering import Answer
from ..late_hub import HubOf
from .runs import Runs

__all__ = ["agui_routes"]


def agui_routes(
    hub: HubOf,
    agent: Answer,
    *,
    path: str = "/api/agent",
    user: UserOf | None = None,
    authorize: Authorize | None = None,
    origins: Collection[str] = (),
    session_id: Callable[[str], str] = "run:{}".format,
    error_text: Callable[[str, str], str] | None = None,
    on_end: OnEnd | None = None,
) -> list[BaseRoute]:
    """Routes for clients of AG-UI, and for TanStack AI: ``Starlette(routes=…)``, or FastAPI's
    ``app.router.routes.extend(…)``.

    ================================  ============================================================
    ``POST {path}``                   begins the run that its body asks for, and streams its events;
                                      with ``Last-Event-ID`` it goes on after that event
    ``GET {path}?runId=&offset=-1``   joins a run from its start, or after the event ``offset``
    ``POST {path}/{run}/stop``        stops the producer, wherever it runs
    WebSocket ``{path}``              all of that for TanStack AI's ``webSocket``
    ================================  ============================================================

    Events come as Server-Sent Events, each with its ``id``; with ``?format=ndjson``, or where that
    is what the request accepts, as lines of ``{"id": …, "chunk": …}``. A run goes on if its client
    leaves; the same input posted again under its id follows it, and never begins it twice.

    What a client that comes back had open, messages, thoughts, tool calls and steps, is opened
    again. Every end is told: ``RUN_FINISHED``, whose outcome is ``cancelled`` for a run that was
    stopped, or ``RUN_ERROR``, for a producer that has failed or is lost.

    :param agent: given the input, a ``RunAgentInput`` as the JSON object that was posted, and the
        request if it takes two; may be async. It returns what ``hub.run`` takes: a source of text
        and :mod:`streamhub.parts`, or an async function of the stream. It is called once for a
        run, by whoever has claimed the session.
    :param session_id: the session of a run's id. The rest is as for :func:`chat_routes`.

    ::

        async def agent(input):
            async for token in model.stream(input["messages"]):
                yield token

        app = Starlette(routes=agui_routes(hub, agent))
    """
    runs = Runs(
        hub,
        agent,
        user=user,
        authorize=authorize,
        origins=origins,
        session_id=session_id,
        error_text=error_text,
        on_end=on_end,
    )
    unknown = [one.name for one in runs.call.wants if one.default is one.empty]
    if unknown:
        raise TypeError(
            f"agent must take (input) or (input, request), and wants {', '.join(unknown)}, too"
        )
    return [
        Route(path, runs.run, methods=["POST"]),
        Route(path, runs.follow, methods=["GET"]),
        Route(f"{path}/{{run:path}}/stop", runs.stop, methods=["POST"]),
        WebSocketRoute(path, runs.connect),
    ]
