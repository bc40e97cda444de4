"""``streamhub ls``, ``show``, ``cancel``, ``send`` and ``rm``."""

from __future__ import annotations

import json

import pytest

from streamhub import Hub, Status

from ..support.cli_process import cli

pytestmark = pytest.mark.slow

WAIT = 30.0
KEYS = {
    *("session_id", "status", "generation", "replaced", "epoch", "cursor", "chunks", "base"),
    *("bytes", "lease", "owner", "created", "updated", "ended", "resumes", "error", "cancelling"),
    *("metadata", "subscribers", "traceparent"),
}


async def test_ls_lists_running_sessions_first(redis_url: str) -> None:
    """Without a terminal, ls prints a header and a row per session between tabs, in order."""
    async with Hub.from_url(redis_url) as hub:
        running, _ = await hub.register("chat:running", owner="alice")
        await running.publish("héllo")
        await running.flush()
        for number in range(6):
            ended, _ = await hub.register(f"chat: with space {number}")
            await ended.fail("broken")
        listed = await cli("ls", url=redis_url)
        infos = [info async for info in hub.sessions()]
    header, first, *others = (line.split("\t") for line in listed.out.splitlines())
    assert (0, "") == (listed.code, listed.err)
    assert ["session", "status", "chunks", "bytes", "age", "owner"] == header
    assert ["chat:running", "active", "1", "6"] == first[:4]
    assert "alice" == first[5]
    assert {f"chat: with space {number}" for number in range(6)} == {row[0] for row in others}
    assert 6 * [["failed", "0", "0"]] == [row[1:4] for row in others]
    begun = {info.session_id: info.created or 0 for info in infos}
    newest_first = [begun[row[0]] for row in others]
    assert sorted(newest_first, reverse=True) == newest_first


async def test_ls_of_an_owner_as_json(redis_url: str) -> None:
    """--json prints an object per line; --owner keeps those of one owner."""
    async with Hub.from_url(redis_url) as hub:
        for session_id, owner in (("a", "alice"), ("b", "bob"), ("c", "alice"), ("d", None)):
            await hub.register(session_id, owner=owner)
        ended = await cli("ls", "--json", "--owner", "alice", url=redis_url)
        everything = await cli("ls", "--json", url=redis_url)
    infos = [json.loads(line) for line in ended.out.splitlines()]
    assert {"a", "c"} == {info["session_id"] for info in infos}
    assert [KEYS, KEYS] == [set(info) for info in infos]
    assert {"a", "b", "c", "d"} == {
        json.loads(line)["session_id"] for line in everything.out.splitlines()
    }


async def test_ls_of_some_that_stand_so(redis_url: str) -> None:
    """--status keeps those that stand so, --limit the first of the list, whatever form it has; how
    many there are is said."""
    async with Hub.from_url(redis_url) as hub:
        for number in range(5):
            await hub.register(f"running {number}", metadata={"number": number})
            ended, _ = await hub.register(f"ended {number}")
            await (ended.close() if number else ended.fail("broken"))
        newest = [f"running {number}" for number in (4, 3)]
        few = await cli("ls", "--limit", "2", url=redis_url)
        as_json = await cli("ls", "--limit", "2", "--json", url=redis_url)
        broken = await cli("ls", "--status", "failed", url=redis_url)
        either = await cli("ls", "--status", "failed, active", "--json", url=redis_url)
        wrong = await cli("ls", "--status", "active,asleep", url=redis_url)

    assert newest == [line.split("\t")[0] for line in few.out.splitlines()[1:]]
    assert "2 of 10 sessions\n" == few.err
    infos = [json.loads(line) for line in as_json.out.splitlines()]
    assert newest == [info["session_id"] for info in infos]
    assert [{"number": 4}, {"number": 3}] == [info["metadata"] for info in infos]
    assert ["ended 0"] == [line.split("\t")[0] for line in broken.out.splitlines()[1:]]
    assert {"ended 0", *(f"running {number}" for number in range(5))} == {
        json.loads(line)["session_id"] for line in either.out.splitlines()
    }
    assert 2 == wrong.code
    assert "active, finished, failed, cancelled, lost" in wrong.err
    assert "'active,asleep'" in wrong.err


async def test_ls_of_nothing(redis_url: str) -> None:
    """Where no sessions are, that is said, and it is no error."""
    ended = await cli("ls", url=redis_url)
    assert (0, "", "no sessions\n") == (ended.code, ended.out, ended.err)
    assert "" == (await cli("ls", "--json", url=redis_url)).out


async def test_ls_cannot_be_made_to_steer_the_terminal(redis_url: str) -> None:
    """Control characters that a session's owner or name holds are spelled out."""
    async with Hub.from_url(redis_url) as hub:
        await hub.register("chat:\u202e1", owner="al\x1b[2Jice\n")
        ended = await cli("ls", url=redis_url)
    assert r"chat:\u202e1" in ended.out
    assert r"al\x1b[2Jice\n" in ended.out


async def test_show(redis_url: str, session_id: str) -> None:
    """show prints how the session stands, with its metadata, or all of it as one JSON object."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id, owner="alice", metadata={"model": "é"})
        cursor = await stream.publish("hello")
        await stream.fail("out of luck")
        generation, epoch = stream.generation, cursor.term
    shown = await cli("show", session_id, url=redis_url)
    facts = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    assert 0 == shown.code
    assert session_id == facts["session"]
    assert ("failed", "out of luck") == (facts["status"], facts["error"])
    assert ("alice", '{"model": "é"}') == (facts["owner"], facts["metadata"])
    assert (str(cursor), "1", "5") == (facts["cursor"], facts["chunks"], facts["bytes"])

    info = json.loads((await cli("show", session_id, "--json", url=redis_url)).out)
    assert KEYS == set(info)
    times = ("created", "updated", "ended")
    assert set(times) <= set(facts)
    assert {
        "session_id": session_id,
        "status": "failed",
        "generation": generation,
        "replaced": None,
        "epoch": epoch,
        "cursor": str(cursor),
        "chunks": 1,
        "base": 0,
        "bytes": 5,
        "lease": None,
        "owner": "alice",
        "traceparent": None,
        "resumes": 0,
        "subscribers": None,
        "error": "out of luck",
        "cancelling": False,
        "metadata": {"model": "é"},
    } == {name: value for name, value in info.items() if name not in times}
    assert info["created"] <= info["updated"] == info["ended"]


async def test_show_of_an_active_session(redis_url: str, session_id: str) -> None:
    """show tells how long the lease of a live producer holds."""
    async with Hub.from_url(redis_url) as hub:
        await hub.register(session_id)
        info = json.loads((await cli("show", session_id, "--json", url=redis_url)).out)
    assert "active" == info["status"]
    assert 0 < info["lease"] <= 15


async def test_cancel_waits_for_the_end(redis_url: str, session_id: str) -> None:
    """cancel --wait returns once the producer has stopped, and says so."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        ended = await cli("cancel", session_id, "--wait", str(WAIT), url=redis_url)
        assert (0, f"'{session_id}' is cancelled\n", "") == (ended.code, ended.out, ended.err)
        assert Status.CANCELLED == (await stream.info()).status


async def test_cancel_of_a_producer_that_goes_on(redis_url: str, session_id: str) -> None:
    """A producer that has not stopped yet is exit code 8 with --wait, and 0 without."""

    def ignore() -> None:
        pass

    # Each is asked for the first time: a producer has three seconds to stop, as long as a command
    # may take to start.
    waited = f"{session_id}:waited"
    async with Hub.from_url(redis_url) as hub:
        for one in (session_id, waited):
            await hub.register(one, ignore)
        ended = await cli("cancel", session_id, url=redis_url)
        assert (0, f"'{session_id}' is asked to stop\n") == (ended.code, ended.out)
        ended = await cli("cancel", waited, "--wait", "0.1", "--json", url=redis_url)
        assert 8 == ended.code
        assert {"session_id": waited, "status": "active", "before": "active"} == json.loads(
            ended.out
        )


async def test_cancel_of_a_session_that_has_ended(redis_url: str, session_id: str) -> None:
    """Nothing changes on a session that has ended, and that is no error."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        await stream.close()
        ended = await cli("cancel", session_id, url=redis_url)
        assert (0, f"'{session_id}' had already ended: finished\n") == (ended.code, ended.out)
        assert Status.FINISHED == (await stream.info()).status


async def test_rm(redis_url: str, session_id: str) -> None:
    """rm removes the session; once it is gone, that is exit code 5."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        await stream.close()
        ended = await cli("rm", session_id, url=redis_url)
        assert (0, f"removed '{session_id}'\n", "") == (ended.code, ended.out, ended.err)
        assert await hub.get(session_id) is None
        stream, _ = await hub.register(session_id)
        await stream.close()
    ended = await cli("rm", session_id, "--json", url=redis_url)
    assert {"session_id": session_id, "removed": True} == json.loads(ended.out)


async def test_a_session_that_is_not_there(redis_url: str) -> None:
    """show, cancel and rm of an unknown session are exit code 5 and one clear line."""
    for command in ("show", "cancel", "rm"):
        ended = await cli(command, "nobody's", "--json", url=redis_url)
        assert (5, "") == (ended.code, ended.out)
        (line,) = ended.err.splitlines()
        assert 'there is no session "nobody\'s"' in line


async def test_send_reaches_the_producer(redis_url: str) -> None:
    """The message arrives with its kind, the id is printed, and what takes none says so."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register("chat:1")
        sent = await cli("send", "chat:1", "use Fahrenheit", "--event", "steer", url=redis_url)
        again = await cli("send", "chat:1", "go", "--key", "k", "--json", url=redis_url)
        async with stream.inbox() as inbox:
            messages = [await anext(inbox) for _ in range(2)]
        await stream.close()
        late = await cli("send", "chat:1", "late", url=redis_url)
        unknown = await cli("send", "chat:2", "late", url=redis_url)

    assert [("use Fahrenheit", "steer"), ("go", None)] == [(m.data, m.event) for m in messages]
    assert (0, f"{messages[0].id}\n") == (sent.code, sent.out)
    assert {"session_id": "chat:1", "id": messages[1].id} == json.loads(again.out)
    assert (9, 5) == (late.code, unknown.code)
    assert "has ended (finished)" in late.err
