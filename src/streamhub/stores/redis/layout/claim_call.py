"""A claim as a call of its script, and what that answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...base import Claim, Granted, StoreTakeover
from .answers import given, taken
from .index import Entry, KnownFeeds, latest_ms
from .keys import IndexKeys, Keys
from .record import ms, read_terms
from .scripts import Call, Script

__all__ = ["ClaimCall"]


class ClaimCall(NamedTuple):
    """Claims the session of an entry for the generation that may set aside what was there before.

    :param host: what the record is to say of where the producer runs; ``""`` for nothing.
    """

    entry: Entry
    takeover: StoreTakeover
    metadata: str | None
    request: str | None
    same_owner: bool
    host: str

    def call(
        self, script: Script, prefix: str, known: KnownFeeds, index: IndexKeys | None = None
    ) -> Call:
        """The call, under the feeds that are known.

        :param index: the shard that has the entry, where its keys can be used together with those
            of the session: the script sees itself that it has the entry, and knows these feeds.
        """
        session_id, owner, lease, retention, generation = self.entry
        keys = Keys.of(prefix, session_id)
        aside: Sequence[str] = keys.of_stream(generation)
        return Call(
            script,
            (
                keys.meta, keys.chunks, keys.removed, keys.ends, *aside,
                *(() if index is None else (index.feeds, index.sessions)),
            ),
            generation,
            self.takeover,
            ms(lease),
            ms(retention),
            given(owner),
            given(self.metadata),
            keys.live,
            given(self.request),
            "1" if self.same_owner else "",
            known.text,
            known.unsaved_ms,
            session_id,
            latest_ms(lease, retention),
            self.host,
        )  # fmt: skip

    def granted(self, answer: Any, known: KnownFeeds) -> tuple[Granted, bool]:
        """What was granted, and whether something was set aside for it."""
        _, epoch, terms, replaced, owner, created, size, metadata, request = answer[:9]
        resumes, handovers, aside = answer[9:]
        whose = taken(owner)
        claim = Claim(
            session_id=self.entry.session_id,
            generation=self.entry.aside,
            terms=read_terms(int(epoch), terms.decode()),
            replaced=replaced.decode() or None,
            lease=self.entry.lease,
            retention=self.entry.kept,
            owner=whose,
            request=taken(request),
            created_ms=int(created),
            resumes=int(resumes),
            handovers=int(handovers),
            feeds=known.suiting(whose),
            unsaved=known.unsaved_ms / 1000,
        )
        return Granted(claim, int(size), taken(metadata)), aside == b"1"
