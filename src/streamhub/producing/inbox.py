"""What one producer has of its inbox: what it has received, and what of it was handled.

| a message is | in the store | here                                                               |
|--------------|--------------|--------------------------------------------------------------------|
| waiting      | yes          |                                                                    |
| received     | yes          | ``held``, and put back into a store that has lost it               |
| marked       | yes          | ``held`` and marked: it leaves the store with the next chunk, or   |
|              |              | alone where none has come for a while or somebody waits for it     |
| handled      | no           | its token is remembered: a store that falls back has it again, and |
|              |              | whoever sends it again sends it once more                          |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from ..stores.base import Append, Handle, InboxMessage, InboxPage, WriteOp

__all__ = ["HeldMessages"]

# How many messages are remembered that were handled.
_REMEMBERED = 1024
# Where a mark stands that waits for no chunk.
_ALONE = -1


class HeldMessages:
    """Decides only. ``wake`` is called when who waits for messages is to look around."""

    __slots__ = (
        "_fresh", "_handled", "_held", "_ids", "_marks", "_old_marks", "publishing", "wake",
    )  # fmt: skip

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake: Callable[[], None] = wake
        #: How many wait for room to publish: marks wait for these chunks.
        self.publishing: int = 0
        #: What is received and not handled, by its id, in order; the ids by their tokens.
        self._held: dict[str, InboxMessage] = {}
        self._ids: dict[str, str] = {}
        #: What of it nobody was given yet.
        self._fresh: deque[InboxMessage] = deque()
        #: The offset after which each was marked that is still to leave the store.
        self._marks: dict[str, int] = {}
        #: Those that were there at the last ``hurry_old``.
        self._old_marks: set[str] = set()
        #: Tokens, the newest last.
        self._handled: dict[str, None] = {}

    @property
    def held(self) -> Sequence[InboxMessage]:
        return [*self._held.values()]

    @property
    def marks(self) -> bool:
        """Whether anything is to leave the store."""
        return bool(self._marks)

    def has_marks(self, ids: Sequence[str]) -> bool:
        """Whether any of these is to leave the store."""
        return any(one in self._marks for one in ids)

    @property
    def has_work(self) -> bool:
        """Whether anything is to leave the store that waits for no chunk."""
        return _ALONE in self._marks.values()

    def take_in(self, page: InboxPage) -> bool:
        """Take in what the store has; whether it has lost something that is not handled."""
        for message in page.messages:
            token = _token(message.id)
            if message.id in self._held:
                continue
            if token in self._handled or token in self._ids:
                self._marks[message.id] = _ALONE
                continue
            self._held[message.id] = message
            self._ids[token] = message.id
            self._fresh.append(message)
        return any(one in self._held and one not in self._marks for one in page.missing)

    def next(self) -> InboxMessage | None:
        """The next message, once."""
        return self._fresh.popleft() if self._fresh else None

    def mark(self, message_id: str, offset: int) -> None:
        """It was handled, before any chunk after ``offset`` was published."""
        if message_id in self._held:
            self._marks.setdefault(message_id, offset)

    def hurry(self, last: int) -> list[str]:
        """No mark waits any more for a chunk after ``last``; all marks."""
        self._marks = {
            one: _ALONE if after >= last else after for one, after in self._marks.items()
        }
        return [*self._marks]

    def hurry_unpublished(self, last: int) -> None:
        """The same, unless somebody is about to publish one."""
        if not self.publishing:
            self.hurry(last)

    def hurry_old(self, last: int) -> None:
        """The same for those that were there when this was called last."""
        if not self.publishing:
            for one in self._old_marks:
                if self._marks.get(one, _ALONE) >= last:
                    self._marks[one] = _ALONE
            self._old_marks = {*self._marks}

    def hurry_stored(self, stored: int) -> None:
        """None waits any more for a chunk that is stored."""
        self._marks = {
            one: _ALONE if after < stored else after for one, after in self._marks.items()
        }

    def with_marks(self, appends: Sequence[WriteOp]) -> list[WriteOp]:
        """The appends, each together with the marks that were made before its last chunk."""
        ops: list[WriteOp] = []
        for append in appends:
            assert isinstance(append, Append)
            end = append.base + len(append.items)
            marked = [one for one, after in self._marks.items() if after < end]
            ops.append(Handle(append, marked) if marked else append)
        return ops

    def left(self, ops: Sequence[WriteOp], *, all_of_them: bool) -> list[str]:
        """The marks that are to leave alone, because none of ``ops`` takes them along."""
        taken = {one for op in ops if isinstance(op, Handle) for one in op.messages}
        return [
            one
            for one, after in self._marks.items()
            if one not in taken and (all_of_them or after == _ALONE)
        ]

    def handled(self, ids: Sequence[str]) -> None:
        """They have left the store."""
        for one in ids:
            self._marks.pop(one, None)
            if self._held.pop(one, None) is None:
                continue
            token = _token(one)
            self._ids.pop(token, None)
            self._handled[token] = None
            if len(self._handled) > _REMEMBERED:
                del self._handled[next(iter(self._handled))]


def _token(message_id: str) -> str:
    return message_id.partition("-")[2]
