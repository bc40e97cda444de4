"""An example of several programs, each of which runs as its README says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from streamhub.formats.sse import Event
from streamhub.testing.waiting import until

from ..http.serving import Followed
from .following import REDIS, Example, Running

__all__ = ["Services", "numbers"]


class Services(Example):
    """A copy of an example, and its client.

    :param changes: text of any of its programs, and what stands there instead.
    :param variables: of the environment of all that runs.
    """

    def __init__(
        self, name: str, directory: Path, *, changes: Mapping[str, str], **variables: str
    ) -> None:
        super().__init__(name, directory, redis_url=variables.get("STREAMHUB_URL", REDIS))
        self._variables = variables
        for text, other in changes.items():
            (program,) = [one for one in self.folder.glob("*.py") if text in one.read_text()]
            source = program.read_text()
            assert 1 == source.count(text), f"{text!r} is not in {program.name} once"
            program.write_text(source.replace(text, other))

    async def run(self, command: str, **variables: str) -> Running:
        return await super().run(command, **{**self._variables, **variables})

    async def curl(self, command: str) -> str:
        """What a command of the README prints that ends by itself."""
        async with await self.run(command) as running:
            code, said = await running.ended()
        assert 0 == code, running.said
        return said

    @contextlib.asynccontextmanager
    async def followed(self, path: str, *, after: str = "") -> AsyncIterator[Followed]:
        """A response, read as an EventSource would."""
        headers = {"last-event-id": after} if after else {}
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=None) as client,
            client.stream("GET", path, headers=headers) as response,
        ):
            assert 200 == response.status_code
            yield Followed(response)

    async def read_on(self, path: str, told: list[Event]) -> None:
        """Read as an EventSource would that was told so much: it comes again until it is told the
        end."""

        async def has_ended() -> bool:
            if not told or told[-1].event != "end":
                after = [one.id for one in told if one.id][-1:]
                async with self.followed(path, after="".join(after)) as response:
                    told.extend(await response.rest())
            return told[-1].event == "end"

        await until(has_ended)


def numbers(events: list[Event]) -> list[int]:
    """Of the words that a scripted model says, which it numbers."""
    return [int(one.data.partition(".")[0]) for one in events if one.event == "message"]
