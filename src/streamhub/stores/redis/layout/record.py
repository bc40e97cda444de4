"""The record of a session: the fields of its meta hash, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

from .... import metadata_json
from ....chunks import SessionInfo, Status, Terms
from ....errors import SessionCorrupted
from ...feeds import suits

__all__ = [
    "FIELDS",
    "OUTCOMES",
    "holds_too_long",
    "metadata_of",
    "ms",
    "outcome_status",
    "read_record",
    "read_terms",
    "suiting",
    "text_of",
    "time_ms",
    "written_terms",
]

#: The fields of a record that a look reads; the metadata follows on request.
FIELDS = (
    "gen", "status", "claim", "epoch", "last", "lease", "outcome", "error",
    "cancel", "owner", "created", "bytes", "terms", "replaced", "granted", "request",
    "resumes", "handovers", "feeds", "ended", "left", "host", "followers",
    "traceparent",
)  # fmt: skip


OUTCOMES = {
    b"finished": Status.FINISHED,
    b"failed": Status.FAILED,
    b"cancelled": Status.CANCELLED,
    # By the taking of its end alone: its producer cannot go on, and another may continue it.
    b"lost": Status.LOST,
}


# Scripts calculate with doubles, which are exact up to 2**53.
_LONGEST_NUMBER = 15
_FOLLOWERS = re.compile(rb"[0-9A-Za-z]+ (\d{1,9}) (\d{1,15}) (\d{1,15})")
# The year 5138: calendars end soon after.
_LATEST_MS = 10**14


def holds_too_long(fields: Sequence[bytes | None], now_ms: int) -> bool:
    """Whether the lease ends later than it was granted for: the clock went back since."""
    lease, granted = fields[5], fields[14]
    try:
        return bool(lease and granted) and _number(lease) - now_ms > _number(granted)
    except ValueError:
        return False


def read_record(
    session_id: str, fields: Sequence[bytes | None], now_ms: int
) -> SessionInfo | SessionCorrupted | None:
    """What the fields of a meta hash say."""
    gen, status, _, epoch, last_offset, lease, outcome, error = fields[:8]
    cancel, owner, created, size, terms, replaced, granted, request = fields[8:16]
    resumes, handovers, feeds, ended, left, host, followers, traceparent = fields[16:24]
    if gen is None and status is None:
        return None
    try:
        standing, remaining = Status.ACTIVE, None
        if status == b"done":
            standing = OUTCOMES[outcome or b"finished"]
        else:
            # No lease holds for longer than it was granted for, whatever the clock has done since.
            left_ms = min(_number(lease or b"0") - now_ms, _number(granted))
            remaining = max(0.0, left_ms / 1000)
            standing = Status.ACTIVE if remaining > 0 else Status.LOST
        whose = None if owner is None else text_of(owner)
        log = read_terms(_number(epoch), text_of(terms))
        return SessionInfo(
            session_id=session_id,
            status=standing,
            generation=text_of(gen),
            terms=log,
            last=log.cursor(_number(last_offset)),
            replaced=text_of(replaced) or None,
            bytes=_number(size or b"0"),
            lease=remaining,
            lease_mark=None if lease is None else _number(lease),
            owner=whose,
            request=None if request is None else text_of(request),
            traceparent=None if traceparent is None else text_of(traceparent),
            created=_time(created) if created else None,
            resumes=_number(resumes or b"0"),
            handovers=_number(handovers or b"0"),
            updated=_updated(lease, granted, ended, left),
            ended=_time(ended) if ended and status == b"done" else None,
            host=text_of(host) if host else None,
            feeds=suiting(text_of(feeds), whose) if feeds else (),
            subscribers=None if followers is None else _subscribers(followers, now_ms),
            error=text_of(error) if error else None,
            cancelling=status != b"done" and cancel == b"1",
            metadata=metadata_of(fields),
        )
    except (ValueError, KeyError) as problem:
        return SessionCorrupted(session_id, f"unreadable record: {problem!r:.200}")


def _updated(
    lease: bytes | None, granted: bytes | None, ended: bytes | None, left: bytes | None
) -> float | None:
    """When the record was last touched but for chunks, by which the lease is renewed now and then.

    :raises ValueError: the times are not what scripts write.
    """
    if lease is None:
        return _time(ended) if ended else None
    if lease == b"0":
        return _time(left) if left else None
    return (_number(lease) - _number(granted)) / 1000


def _subscribers(followers: bytes, now_ms: int) -> int:
    """How many follow the session in all hubs that have said so lately, each ``<hub> <how many>
    <when, in ms> <for how many ms>``. What is not readable is nobody."""
    return sum(
        int(count)
        for count, said, lasts in _FOLLOWERS.findall(followers)
        if abs(now_ms - int(said)) < int(lasts)
    )


def suiting(feeds: str, owner: str | None) -> tuple[str, ...]:
    """The feeds, as scripts write their names, that look after sessions of this owner."""
    names = map(unquote, feeds.split())
    return tuple(sorted(name for name in names if suits(name, owner)))


def time_ms(time: Sequence[bytes]) -> int:
    """What TIME answers, in ms."""
    return int(time[0]) * 1000 + int(time[1]) // 1000


def outcome_status(session_id: str, outcome: bytes) -> Status:
    """:raises SessionCorrupted: it is no outcome that streamhub writes."""
    if outcome not in OUTCOMES:
        raise SessionCorrupted(session_id, f"unknown outcome {outcome!r}")
    return OUTCOMES[outcome]


@lru_cache(maxsize=64)
def ms(seconds: float) -> int:
    """A duration as scripts have it."""
    return max(1, round(seconds * 1000))


def _number(value: bytes | None) -> int:
    """:raises ValueError: it is no number that a script would have written."""
    if value is None or not value.isdigit() or len(value) > _LONGEST_NUMBER:
        raise ValueError(f"{value!r:.40} is not a number")
    return int(value)


def _time(value: bytes) -> float:
    """:raises ValueError: no clock would show it."""
    if (written := _number(value)) > _LATEST_MS:
        raise ValueError(f"{value!r} is not a time")
    return written / 1000


def text_of(value: bytes | None) -> str:
    """:raises ValueError: it is not UTF-8."""
    return (value or b"").decode()


def metadata_of(fields: Sequence[bytes | None]) -> Any:
    """The metadata, where it was asked for and is there.

    :raises ValueError: it is no JSON.
    """
    return metadata_json.decode(fields[-1]) if len(fields) > len(FIELDS) and fields[-1] else None


def read_terms(epoch: int, text: str) -> Terms:
    """The terms of a log, each written ``<term>-<base>``.

    :raises ValueError: they are not what scripts write.
    """
    spans = []
    for span in text.split(" "):
        term, _, base = span.partition("-")
        spans.append((_number(term.encode()), _number(base.encode())))
    if spans[0][1] != 0 or any(one >= two for one, two in pairwise(spans)):
        raise ValueError(f"{text[:80]!r} are not the terms of a log")
    return Terms(epoch, tuple(spans))


def written_terms(terms: Terms) -> str:
    """The terms of a log as scripts have them."""
    return " ".join([f"{term}-{base}" for term, base in terms.spans])
