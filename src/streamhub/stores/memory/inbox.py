"""What waits for the producer of one session in memory."""

from __future__ import annotations

from collections.abc import Sequence

from ..base import InboxMessage, InboxPage

__all__ = ["MessageBox"]

# How many tokens of messages one session remembers at most.
_MOST_TOKENS = 512


class MessageBox:
    """What waits for the producer."""

    __slots__ = ("_ids", "_newest", "messages")

    def __init__(self) -> None:
        self.messages: dict[str, InboxMessage] = {}
        self._newest = 0
        #: The id of each message of late, by its token.
        self._ids: dict[str, str] = {}

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.messages.values())

    def id_of(self, token: str) -> str | None:
        return self._ids.get(token)

    def add(self, token: str, data: str, event: str | None) -> str:
        message = InboxMessage(f"{self._newest + 1}-{token}", data, event)
        self.put_back([message])
        return message.id

    def put_back(self, messages: Sequence[InboxMessage]) -> None:
        for message in messages:
            number, _, token = message.id.partition("-")
            self.messages.setdefault(message.id, message)
            self._newest = max(self._newest, int(number))
            self._ids[token] = message.id
            if len(self._ids) > _MOST_TOKENS:
                del self._ids[next(iter(self._ids))]

    def handle(self, ids: Sequence[str]) -> None:
        for one in ids:
            self.messages.pop(one, None)

    def page(self, held: Sequence[str]) -> InboxPage:
        known = set(held)
        found = [one for one in self.messages.values() if one.id not in known]
        found.sort(key=lambda one: int(one.id.partition("-")[0]))
        return InboxPage(found, [one for one in held if one not in self.messages])
