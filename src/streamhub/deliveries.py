"""What a task queue's delivery of a task does with the task's session, so that the task produces
once, however often it is delivered, and its readers always hear of its end."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from .chunks import SessionInfo, Status
from .errors import SessionNotFound
from .hub import Hub
from .producing.ending import OnEnd
from .producing.production import OnCancel
from .stores.base import Takeover
from .stream import LiveStream

__all__ = ["Delivery", "FromArguments", "Told", "begin", "facts", "fail", "revoke"]

#: How a part of a claim is told: the name of an argument of the task, a template that has names of
#: arguments in braces, or a function of the task's arguments.
Told: TypeAlias = "str | Callable[..., Any]"

_ENDED = (Status.FINISHED, Status.CANCELLED)


class FromArguments:
    """Makes of the arguments of one call what the author of the task has told.

    :param option: whose value ``told`` is, for errors.
    :param skip: how many parameters of ``function`` the task queue fills in itself.
    :raises TypeError: ``told`` names an argument that the function has not, or is no name.
    """

    def __init__(
        self, function: Callable[..., Any], told: Told, *, option: str, skip: int = 0
    ) -> None:
        self._told = told
        self._parameters = list(inspect.signature(function).parameters.values())[skip:]
        if callable(told):
            return
        if not isinstance(told, str):
            raise TypeError(
                f"{option} must be the name of an argument, a template such as 'chat:{{chat}}', or "
                f"a function of the arguments, not {type(told).__name__}"
            )
        self._template = told if "{" in told else f"{{{told}}}"
        wanted = {
            name.partition(".")[0].partition("[")[0]
            for _, name, _, _ in string.Formatter().parse(self._template)
            if name is not None
        }
        known = [parameter.name for parameter in self._parameters]
        if unknown := sorted(wanted - {*known}):
            raise TypeError(
                f"{option}={told!r} names {', '.join(map(repr, unknown))}, which is no argument of "
                f"{function.__qualname__}({', '.join(known)})"
            )

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What was told, of these arguments: also where there are too many or too few of them, as
        long as those that are named are there.

        :raises LookupError: one of them is not; or whatever a function raises.
        """
        if callable(self._told):
            return self._told(*args, **kwargs)
        given = {
            parameter.name: parameter.default
            for parameter in self._parameters
            if parameter.default is not parameter.empty
        }
        names = [parameter.name for parameter in self._parameters]
        return self._template.format(**{**given, **dict(zip(names, args, strict=False)), **kwargs})


@dataclass(frozen=True)
class Delivery:
    """A task that was delivered, and what its session is claimed with.

    :param takeover: what a later delivery of the task, be it a retry, does with what an earlier
        one has said.
    """

    session_id: str
    task_id: str
    takeover: Takeover
    owner: str | None = None
    metadata: object = None
    on_end: OnEnd | None = None

    def __post_init__(self) -> None:
        if self.takeover not in get_args(Takeover):
            raise ValueError(f"takeover must be 'restart' or 'continue', not {self.takeover!r}")


async def begin(
    hub: Hub, delivery: Delivery, on_cancel: OnCancel | None = None
) -> LiveStream | SessionInfo:
    """Claim the session of the task, or say how it stands where this delivery is not to produce.

    The task is what the session is claimed for (``info().request``), by which its deliveries know
    each other's claims:

    ====================================================  =====================================
    the session is                                        this delivery
    ====================================================  =====================================
    unknown, or another's that has ended or is lost       begins
    another's that is produced                            does not produce
    this task's, finished or cancelled                    does not produce
    this task's, failed or lost                           continues or restarts, as ``takeover``
                                                          says
    this task's, and produced by another delivery         waits, and looks again
    ====================================================  =====================================
    """
    while True:
        reader, info = await _look(hub, delivery.session_id)
        takeover: Takeover = "restart"
        if reader is not None and info is not None and info.request == delivery.task_id:
            if info.status in _ENDED:
                return info
            if info.status is Status.ACTIVE:
                with suppress(SessionNotFound):
                    await reader.wait()
                continue
            takeover = delivery.takeover
        with suppress(SessionNotFound):
            stream, created = await _claim(hub, delivery, takeover, info, on_cancel)
            if created:
                return stream
            info = await stream.info()
            if info.status is Status.ACTIVE and info.request != delivery.task_id:
                return info


async def fail(hub: Hub, delivery: Delivery, error: BaseException | str) -> None:
    """The task has failed, and will not be delivered again: see to it that its session has ended.

    One that the task has not claimed is claimed and ended as failed, unless somebody else produces
    there. One whose producer was killed is ended so as soon as it is lost.
    """
    first: str | None = None
    while True:
        reader, info = await _look(hub, delivery.session_id)
        takeover: Takeover = "restart"
        if reader is not None and info is not None:
            if info.request == delivery.task_id:
                first = first or info.generation
                if info.generation != first or info.status in (*_ENDED, Status.FAILED):
                    return
                takeover = "continue"
            if info.status is Status.ACTIVE:
                if takeover == "restart":
                    return
                with suppress(SessionNotFound):
                    await reader.wait()
                continue
        with suppress(SessionNotFound):
            stream, created = await _claim(hub, delivery, takeover, info)
            if created:
                await stream.fail(error)
                return


async def revoke(hub: Hub, delivery: Delivery, reason: str) -> None:
    """The task was revoked: cancel what it produces, or tell those who wait for it."""
    reader, info = await _look(hub, delivery.session_id)
    if reader is None or info is None or info.request != delivery.task_id:
        await fail(hub, delivery, reason)
        return
    # What was killed before it noticed is lost once its lease has lapsed, and ends then.
    for _ in range(2):
        if await reader.cancel(wait=hub.config.lease + 1.0, reason=reason) is not Status.LOST:
            return


def facts(info: SessionInfo) -> dict[str, Any]:
    """What the result of a task says: no more than JSON holds, and nothing of what was streamed."""
    return {
        "session_id": info.session_id,
        "status": info.status.value,
        "cursor": str(info.last),
        "error": info.error,
    }


async def _look(hub: Hub, session_id: str) -> tuple[LiveStream | None, SessionInfo | None]:
    with suppress(SessionNotFound):
        if (reader := await hub.get(session_id)) is not None:
            return reader, await reader.info()
    return None, None


async def _claim(
    hub: Hub,
    delivery: Delivery,
    takeover: Takeover,
    seen: SessionInfo | None,
    on_cancel: OnCancel | None = None,
) -> tuple[LiveStream, bool]:
    """Claim the session as it was ``seen``: what another delivery has claimed since is looked at
    again.

    :raises SessionNotFound: it is gone since.
    """
    return await hub.register(
        delivery.session_id,
        on_cancel,
        on_end=delivery.on_end,
        takeover=takeover,
        owner=delivery.owner,
        metadata=delivery.metadata,
        request=delivery.task_id,
        replaces="" if seen is None else seen.generation,
    )
