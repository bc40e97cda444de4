"""A claim as a call of its script, and what that answers."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...base import Claim, Granted, StoreTakeover
from .answers import given, taken
from .index import Entry, KnownFeeds, keys_of_entry, stays_ms
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
    replaces: str | None
    traceparent: str | None
    host: str

    def call(
        self, script: Script, prefix: str, known: KnownFeeds, index: IndexKeys | None = None
    ) -> Call:
        """The call, under the feeds that are known.

        :param index: the shard that is to have the entry, where its keys can be used together with
            those of the session: the script itself sees that it has, and that it knows these feeds.
        """
        entry = self.entry
        keys = Keys.of(prefix, entry.session_id)
        call = Call(
            script,
            (keys.meta, keys.chunks, keys.removed, keys.ends, *keys.of_stream(entry.aside)),
            entry.aside,
            self.takeover,
            ms(entry.lease),
            ms(entry.kept),
            given(entry.owner),
            given(self.metadata),
            keys.live,
            given(self.request),
            "1" if self.same_owner else "",
            known.text,
            known.unsaved_ms,
            self.host,
            given(self.replaces),
            given(self.traceparent),
        )
        if index is not None:
            feeds = self.feeds(known)
            call.keys += keys_of_entry(index, entry.owner, feeds)
            call.arguments += (entry.session_id, len(feeds), stays_ms(self.listed(known)))
        return call

    def feeds(self, known: KnownFeeds) -> tuple[str, ...]:
        """On whose schedules the session is put."""
        # Of a session that goes on with its owner it is not known whose it is.
        if self.takeover != "restart" and self.entry.owner is None:
            return tuple(known.kept_ms)
        return known.suiting(self.entry.owner)

    def listed(self, known: KnownFeeds) -> Entry:
        """The entry, which the index has for as long as one of the feeds keeps the end."""
        return self.entry._replace(kept=max(self.entry.kept, known.unsaved_ms / 1000))

    def granted(self, answer: Any, known: KnownFeeds) -> tuple[Granted, bool]:
        """What was granted, and whether something was set aside for it."""
        _, epoch, terms, replaced, owner, created, size, metadata, request = answer[:9]
        traceparent, resumes, handovers, aside = answer[9:]
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
            traceparent=taken(traceparent),
            created_ms=int(created),
            resumes=int(resumes),
            handovers=int(handovers),
            feeds=known.suiting(whose),
            unsaved=known.unsaved_ms / 1000,
        )
        return Granted(claim, int(size), taken(metadata)), aside == b"1"
