"""What a user must be allowed to do, and what of it the server refuses."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import NoPermissionError, ResponseError

from ..connections.pipeline import Pipeline
from ..layout.keys import IndexKeys, Keys, meta_pattern
from ..layout.scripts import Command

__all__ = ["needed", "refused"]

# Long enough to be removed by hand before it expires, should that be needed.
_SHORT_MS = 1000


def needed(keys: Keys, prefix: str, *, sharded: bool) -> list[Command]:
    """Every command that streamhub sends, or that its scripts call, on a session's own keys
    and on those of the index.

    In a form that changes nothing where the session is not there.
    """
    meta, chunks, removed, ends, live, cancel, inbox = keys
    index = IndexKeys.of(prefix, 0)
    verbs = ("SSUBSCRIBE", "SUNSUBSCRIBE") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE")
    return [
        ("PING",),
        ("TIME",),
        ("SCRIPT", "LOAD", "return 1"),
        ("EVAL", "return 1", 1, meta),
        ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 1, meta),
        ("HMGET", meta, "gen"),
        ("HGET", meta, "gen"),
        ("HSTRLEN", meta, "gen"),
        ("HDEL", meta, "gen"),
        ("HKEYS", meta),
        ("EXISTS", meta),
        ("PEXPIRE", meta, _SHORT_MS),
        ("PTTL", meta),
        ("PERSIST", meta),
        ("XADD", chunks, "NOMKSTREAM", "1-1", "d", ""),
        ("XLEN", chunks),
        ("XINFO", "STREAM", chunks),
        ("XRANGE", chunks, "-", "+", "COUNT", 1),
        ("XREVRANGE", chunks, "+", "-", "COUNT", 1),
        ("HEXISTS", removed, "gen"),
        ("HGETALL", removed),
        ("HLEN", removed),
        ("HVALS", removed),
        ("UNLINK", removed),
        ("SETRANGE", live, 0, ""),
        *(("PUBLISH", channel, "") for channel in (live, cancel, inbox)),
        *(("SPUBLISH", channel, "") for channel in (live, cancel, inbox) if sharded),
        *((verb, channel) for verb in verbs for channel in (live, cancel, inbox)),
        ("SCAN", 0, "MATCH", meta_pattern(prefix)),
        ("RENAME", ends, ends),
        ("ZADD", index.sessions, "XX", 0, ""),
        ("ZCOUNT", index.sessions, 0, 0),
        ("ZRANGE", index.sessions, 0, 0),
        ("ZRANGEBYSCORE", index.sessions, 0, 0),
        ("ZREM", index.sessions, ""),
        ("ZREMRANGEBYSCORE", index.sessions, 0, 0),
        ("ZSCAN", index.sessions, 0),
        ("ZSCORE", index.sessions, ""),
        ("ZUNIONSTORE", index.sessions, 1, index.sessions),
        ("HGETALL", index.feeds),
        ("PUBLISH", index.news, ""),
        *((verb, index.news) for verb in verbs),
        ("HSET", meta, "gen", ""),
    ]


async def refused(
    pipeline: Pipeline, user: str | None, commands: Sequence[Command]
) -> dict[str, str]:
    """Which of the commands the server refuses to this user, and its words.

    It is asked for its opinion where it has one to give; else the commands are tried, but for
    those that would turn the connection into one that listens. A session that is followed from end
    to end tells of these.
    """
    if user is not None:
        opinions = await pipeline.ask([("ACL", "DRYRUN", user, *command) for command in commands])
        if not any(isinstance(opinion, Exception) for opinion in opinions):
            return {
                str(command[0]): _text(opinion)
                for command, opinion in zip(commands, opinions, strict=True)
                if opinion != b"OK"
            }
    tried = [one for one in commands if "SUBSCRIBE" not in str(one[0]) and one[0] != "HSET"]
    answers = await pipeline.ask(tried)
    found = {
        str(command[0]): str(answer)
        for command, answer in zip(tried, answers, strict=True)
        if _is_refusal(answer) and not (command[0] == "SPUBLISH" and "unknown" in str(answer))
    }
    if not found.keys() & {"PEXPIRE", "UNLINK"}:
        # The only one that leaves something behind; it goes at once, or by itself.
        (write,) = (one for one in commands if one[0] == "HSET")
        key = write[1]
        answer, *_ = await pipeline.ask([write, ("PEXPIRE", key, _SHORT_MS), ("UNLINK", key)])
        if _is_refusal(answer):
            found["HSET"] = str(answer)
    return found


def _is_refusal(answer: object) -> bool:
    return isinstance(answer, NoPermissionError) or (
        isinstance(answer, ResponseError)
        and any(sign in str(answer) for sign in ("NOPERM", "unknown command"))
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
