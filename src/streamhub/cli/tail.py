"""``streamhub tail``: replay a session to standard output and follow it to its end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from ..chunks import Chunk, Cursor, Status
from ..errors import (
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
)
from ..formats.endings import ending_of
from ..formats.format import Ending
from ..formats.json_text import encode as encode_json
from ..formats.ndjson import NDJSON
from ..formats.text import SHOWN, TextFormat
from ..reading.only import named_types
from ..reading.subscription import Subscription
from .exits import Code, code_of, refuse
from .interrupts import Interrupted, unless_interrupted
from .output import Output
from .place import Place
from .terminal import note, redacted

__all__ = ["Asked", "Form", "shown_of", "tail", "types_of"]


class Form(StrEnum):
    """How chunks are written."""

    TEXT = "text"
    CURSORS = "cursors"
    JSON = "json"


@dataclass(frozen=True)
class Asked:
    """What of a session is written, and how."""

    after: str | None
    last: int | None
    events: Collection[str | None] | None
    shown: Collection[str]
    batch: bool
    wait: float | None
    form: Form


def types_of(option: str | None) -> Collection[str | None] | None:
    """The event types that ``--events`` names; refuses what names none."""
    try:
        return None if option is None else named_types(option)
    except ValueError as error:
        refuse(f"--events must be {error}, not {option!r}")


def shown_of(option: str | None) -> Collection[str]:
    """What ``--show`` names; refuses what text cannot show."""
    names = () if option is None else [name.strip() for name in option.split(",")]
    if any(name not in SHOWN for name in names):
        refuse(f"--show must be {' or '.join(SHOWN)}, or both between commas, not {option!r}")
    return names


async def tail(place: Place, session_id: str, asked: Asked) -> int:
    """Write the session's chunks until it ends, say how, and answer the exit code."""
    try:
        output = Output.stdout()
    except OSError as error:
        note(str(error), style="red")
        return Code.OTHER
    reader = _Reader(place, session_id, asked)
    async with output:
        outcome = await unless_interrupted(reader.read(output), output)
    return reader.conclude(outcome, output)


Outcome = Status | StreamHubError | Interrupted


class _Reader:
    def __init__(self, place: Place, session_id: str, asked: Asked) -> None:
        self._place = place
        self._session_id = session_id
        self._asked = asked
        self._text = TextFormat(asked.shown)
        self._subscription: Subscription | None = None
        self._chunks = 0

    async def read(self, output: Output) -> Status | StreamHubError:
        """Write every chunk that is asked for; how the stream ended."""
        outcome = await self._follow(output)
        if self._asked.form is Form.JSON:
            await output.write(self._end_line(outcome))
        await output.drain()
        return outcome

    def conclude(self, outcome: Outcome, output: Output) -> int:
        """Say how it ended and where to go on from; the exit code."""
        cursor = self._cursor(output)
        if isinstance(outcome, Interrupted):
            note(str(outcome), style="yellow")
            self._say_resume(cursor, output.partial)
            return Code.INTERRUPTED
        if isinstance(outcome, Status):
            style = "green" if outcome is Status.FINISHED else "yellow"
            note(f"{outcome} after {self._counted()}{_at(cursor)}", style=style)
            return code_of(outcome)
        match outcome:
            case ProducerFailed():
                text = f"failed after {self._counted()}{_at(cursor)}: {outcome.error}"
            case ProducerLost():
                text = f"lost after {self._counted()}: its producer gave no sign of life"
            case _:
                text = str(outcome)
        note(redacted(text, self._place.url), style="red")
        if cursor is not None and isinstance(outcome, ProducerLost | StoreUnavailable):
            self._say_resume(cursor, 0)
        return code_of(outcome)

    async def _follow(self, output: Output) -> Status | StreamHubError:
        asked = self._asked
        try:
            async with self._place.hub() as hub:
                stream = await hub.get(self._session_id, wait=asked.wait, after=asked.after)
                if stream is None:
                    return SessionNotFound(self._session_id)
                subscription = stream.subscribe(
                    after=asked.after,
                    last=asked.last,
                    events=asked.events,
                    batch_replay=asked.batch,
                )
                self._subscription = subscription
                async with subscription:
                    async for chunk in subscription:
                        self._chunks += 1
                        await output.write(self._written(chunk), chunk.cursor)
                return subscription.status
        except StreamHubError as error:
            return error

    def _written(self, chunk: Chunk) -> bytes:
        match self._asked.form:
            case Form.TEXT:
                return self._text.chunk(chunk)
            case Form.CURSORS:
                columns = [str(chunk.cursor).encode(), encode_json(chunk.data)]
                if chunk.event is not None:
                    columns.append(encode_json(chunk.event))
                return b"\t".join(columns) + b"\n"
            case Form.JSON:
                return NDJSON.chunk(chunk)

    def _end_line(self, outcome: Status | StreamHubError) -> bytes:
        subscription = self._subscription
        cursor = None if subscription is None else subscription.cursor
        status, error = (outcome.value, "") if isinstance(outcome, Status) else ending_of(outcome)
        return NDJSON.end(Ending(status, cursor, redacted(error, self._place.url) or None))

    def _cursor(self, output: Output) -> Cursor | None:
        """The end of what was written."""
        if output.cursor is not None:
            return output.cursor
        subscription = self._subscription
        return subscription.cursor if subscription is not None and not self._chunks else None

    def _counted(self) -> str:
        return "1 chunk" if self._chunks == 1 else f"{self._chunks:,} chunks"

    def _say_resume(self, cursor: Cursor | None, partial: int) -> None:
        given = self._asked.after if cursor is None else str(cursor)
        if given is None or given == "now":
            note("nothing was read yet: begin again with the same command")
            return
        note(f"resume with --after {given}")
        if partial:
            note(f"(the first {partial} bytes of the chunk after it are written already)")


def _at(cursor: Cursor | None) -> str:
    return "" if cursor is None else f", cursor {cursor}"
