"""What a client asks of a run: the body that LangGraph's SDKs post."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import msgspec
from starlette.requests import Request

from ...wording import short
from ..json_bodies import json_object, raw_body
from ..problems import BadRequest, Problem

__all__ = [
    "MODES",
    "Asked",
    "asked_of",
    "checkpoint_of",
    "modes_of",
    "object_of",
    "unsupported",
]

Strategy = Literal["reject", "interrupt"]

#: As the SDKs name them, and what the graph is asked for. ``messages`` tells each message as it
#: grows, ``messages-tuple`` the pieces.
MODES = {
    "values": "values",
    "updates": "updates",
    "messages": "messages",
    "messages-tuple": "messages",
    "custom": "custom",
    "tasks": "tasks",
    "checkpoints": "checkpoints",
    "debug": "debug",
}
_DURABILITIES = ("sync", "async", "exit")
# Of a run, which each listing reads.
_MOST_METADATA = 64 * 1024
# Values of these mean that nothing is asked for.
_NOTHING: tuple[Any, ...] = (None, False, 0, "", [], {})
#: What LangGraph's server does, and this does not.
_NOT_TAKEN = {
    "webhook": "use on_end of langgraph_routes, or a feed of ends",
    "after_seconds": "runs begin at once",
    "feedback_keys": "no feedback is collected",
    "strict_resume": "an answer to an interrupt that does not wait is ignored",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    assistant_id: str
    input: Any
    #: Instead of an input, as JSON: ``resume``, ``update``, ``goto``.
    command: dict[str, Any] | None
    #: In the words of ``MODES``.
    modes: tuple[str, ...]
    subgraphs: bool
    #: Where in the thread to begin: ``checkpoint_id``, ``checkpoint_ns``, ``checkpoint_map``.
    checkpoint: dict[str, Any]
    config: dict[str, Any]
    metadata: dict[str, Any]
    #: Of ``astream``, by name.
    options: dict[str, Any] = field(default_factory=dict)
    strategy: Strategy
    cancel_on_disconnect: bool
    #: Whether a thread that is made for this run alone stays.
    keep_thread: bool


async def asked_of(request: Request) -> Asked:
    """:raises BadRequest: it cannot be served as it is, and why."""
    body = json_object(await raw_body(request))
    for name, instead in _NOT_TAKEN.items():
        if body.get(name) not in _NOTHING:
            unsupported(name, body[name], f"nothing: {instead}")
    command = _command(body)
    given = body.get("input")
    if command is not None and given is not None:
        unsupported("input", given, "nothing where there is a command")
    return Asked(
        assistant_id=_text(body, "assistant_id"),
        input=given,
        command=command,
        modes=modes_of(body.get("stream_mode") or "values"),
        subgraphs=_flag(body, "stream_subgraphs"),
        checkpoint=_checkpoint(body),
        config=_config(body),
        metadata=_metadata(body),
        options=_options(body),
        strategy=_strategy(body.get("multitask_strategy")),
        cancel_on_disconnect=_choice(body, "on_disconnect", "continue", "cancel") == "cancel",
        keep_thread=_choice(body, "on_completion", "delete", "keep") == "keep",
    )


def modes_of(stated: Any) -> tuple[str, ...]:
    """Of one mode, or several.

    :raises BadRequest: one is not served.
    """
    modes = stated if isinstance(stated, list | tuple) else [stated]
    for mode in modes:
        if not isinstance(mode, str) or mode not in MODES:
            unsupported("stream_mode", mode, f"one or several of {', '.join(MODES)}")
    if {"messages", "messages-tuple"} <= {*modes}:
        unsupported("stream_mode", modes, "one of messages and messages-tuple")
    return tuple(dict.fromkeys(modes))


def unsupported(name: str, value: object, allowed: str) -> NoReturn:
    """:raises BadRequest: always."""
    detail = f"{name} may be {allowed}, not {short(value)}"
    raise BadRequest(Problem(422, "unsupported", detail))


def _command(body: dict[str, Any]) -> dict[str, Any] | None:
    command = object_of(body, "command")
    goto = command.get("goto")
    for place in goto if isinstance(goto, list) else [goto]:
        named = isinstance(place, dict) and isinstance(place.get("node"), str)
        if not (place is None or isinstance(place, str) or named):
            unsupported("goto", place, "a node, or an object with node and input")
    return command or None


def _strategy(stated: Any) -> Strategy:
    match stated:
        case None | "reject":
            return "reject"
        case "interrupt":
            return "interrupt"
    unsupported("multitask_strategy", stated, "reject or interrupt")


def _options(body: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in ("interrupt_before", "interrupt_after"):
        nodes = body.get(name)
        if nodes == "*" or (isinstance(nodes, list) and all(isinstance(one, str) for one in nodes)):
            options[name] = nodes
        elif nodes is not None:
            unsupported(name, nodes, "a list of nodes, or *")
    if body.get("context") is not None:
        options["context"] = object_of(body, "context")
    durability = body.get("durability")
    if durability is None and isinstance(body.get("checkpoint_during"), bool):
        durability = "async" if body["checkpoint_during"] else "exit"
    if durability is not None:
        if durability not in _DURABILITIES:
            unsupported("durability", durability, f"one of {', '.join(_DURABILITIES)}")
        options["durability"] = durability
    return options


def checkpoint_of(stated: dict[str, Any]) -> dict[str, Any]:
    """What there is in it that names a checkpoint of a thread.

    :raises BadRequest: no checkpoint can be named so.
    """
    for name in ("checkpoint_id", "checkpoint_ns"):
        if not isinstance(stated.get(name), str | None):
            unsupported(name, stated[name], "some text")
    within = object_of(stated, "checkpoint_map")
    if not all(isinstance(one, str) for one in within.values()):
        unsupported("checkpoint_map", within, "an object of ids")
    names = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
    return {name: stated[name] for name in names if stated.get(name) is not None}


def _checkpoint(body: dict[str, Any]) -> dict[str, Any]:
    stated = object_of(body, "checkpoint")
    if body.get("checkpoint_id") is not None:
        stated = {**stated, "checkpoint_id": _text(body, "checkpoint_id")}
    return checkpoint_of(stated)


def _config(body: dict[str, Any]) -> dict[str, Any]:
    stated = object_of(body, "config")
    checkpoint_of(object_of(stated, "configurable"))
    object_of(stated, "metadata")
    tags, limit = stated.get("tags"), stated.get("recursion_limit")
    if tags is not None and not (
        isinstance(tags, list) and all(isinstance(one, str) for one in tags)
    ):
        unsupported("tags", tags, "a list of texts")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        unsupported("recursion_limit", limit, "a whole number from 1 on")
    return {name: value for name, value in stated.items() if value is not None}


def _metadata(body: dict[str, Any]) -> dict[str, Any]:
    stated = object_of(body, "metadata")
    if len(msgspec.json.encode(stated)) > _MOST_METADATA:
        unsupported("metadata", stated, f"at most {_MOST_METADATA:,} bytes of JSON")
    return stated


def _choice(body: dict[str, Any], name: str, *allowed: str) -> str:
    """The first of them, where none is named."""
    value = body.get(name)
    if value is None:
        return allowed[0]
    if not isinstance(value, str) or value not in allowed:
        unsupported(name, value, " or ".join(allowed))
    return value


def object_of(body: dict[str, Any], name: str) -> dict[str, Any]:
    """:raises BadRequest: it is none."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        unsupported(name, value, "a JSON object")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        unsupported(name, value, "some text")
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        unsupported(name, value, "true or false")
    return bool(value)
