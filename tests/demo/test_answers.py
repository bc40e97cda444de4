"""What one does to an answer of the demo, over HTTP, and that it survives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamhub.demo.model_server import text_for
from streamhub.formats.sse import TOLD_OF_LOSS

from .running_demo import Demo, gone

pytestmark = pytest.mark.slow

QUESTION = "How does streamhub keep this answer alive?"
TEXT = text_for(QUESTION)


async def test_a_question_is_answered(demo: Demo) -> None:
    """The whole text arrives, under cursors 1, 2, 3 …, and then the end."""
    session = await demo.ask(QUESTION)
    read = await demo.read(session)

    assert TEXT == read.text
    assert [*range(1, len(read.cursors) + 1)] == read.offsets
    assert read.end is not None
    assert ("end", "finished") == (read.end[0], read.end[1]["status"])
    assert "finished" == (await demo.turn(session))["status"]


async def test_a_cut_connection_is_resumed_without_a_loss_or_a_double(demo: Demo) -> None:
    """The connection breaks off without an end; after Last-Event-ID comes exactly the rest, and
    the server tells how much of it was missed."""
    session = await demo.ask(QUESTION)
    reading = asyncio.create_task(demo.read(session, tab="cut"))
    await demo.becomes(session, lambda turn: turn["chunks"] > 30)
    assert {"cut": 1} == await demo.post("/tabs/cut/cut")
    before = await reading
    assert before.end is None
    at = before.offsets[-1]
    await demo.becomes(session, lambda turn: turn["chunks"] > at + 10)

    after = await demo.read(session, tab="cut", after=before.cursors[-1])
    resumed = (await demo.turn(session, tab="cut"))["resumed"]
    assert TEXT == before.text + after.text
    offsets = before.offsets + after.offsets
    assert [*range(1, len(offsets) + 1)] == offsets
    assert at == resumed["after"]
    assert resumed["stored"] > at + 10


async def test_another_tab_is_not_cut(demo: Demo) -> None:
    """Cutting one tab's connection leaves another's alone."""
    session = await demo.ask(QUESTION)
    reading = asyncio.create_task(demo.read(session, tab="mine"))
    await demo.becomes(session, lambda turn: turn["chunks"] > 30)

    assert {"cut": 0} == await demo.post("/tabs/other/cut")
    assert TEXT == (await reading).text


async def test_a_crashed_producer_is_continued_by_another(demo: Demo) -> None:
    """The answer goes on to its last word, at the next offset of a second term; a reader who was
    told that it is lost resumes, and one who comes afterwards sees no seam."""
    session = await demo.ask(QUESTION)
    early = await demo.read(session, until=20)
    await demo.becomes(session, lambda turn: turn["chunks"] > 40)
    first = (await demo.turn(session))["producers"][0]
    dead = await demo.post("/producer/crash")
    assert first["name"] == dead["name"]
    turn = await demo.turn(session)
    # Its lease runs on for a while, and says what is not so.
    assert turn["dead"] or turn["status"] != "active" or len(turn["producers"]) > 1

    rest = await demo.read_on(session, early.cursors[-1])
    assert TEXT == early.text + rest.text
    offsets = early.offsets + rest.offsets
    assert [*range(1, len(offsets) + 1)] == offsets
    assert 2 == len({cursor.partition("-")[0] for cursor in early.cursors + rest.cursors})
    late = await demo.read(session)
    assert (TEXT, offsets) == (late.text, late.offsets)

    # The id of an event that told of the loss begins with a cursor.
    await demo.read(session, tab="told", after=early.cursors[-1] + TOLD_OF_LOSS)
    turn = await demo.turn(session, tab="told")
    assert 20 == turn["resumed"]["after"]
    assert not turn["dead"]
    second = turn["producers"][1]
    assert 2 == len(turn["producers"])
    assert turn["generation"] == second["generation"] != first["generation"]
    assert 40 < second["after"] < len(offsets)
    if dead["how"] == "SIGKILL":
        assert second["pid"] != first["pid"] == dead["pid"]
        await gone(first["pid"])


async def test_an_answer_survives_one_crash_after_the_other(demo: Demo) -> None:
    """Also a producer that has continued may crash. Each is another, and the one before is gone."""
    session = await demo.ask(QUESTION)
    names = []
    for crashes in (1, 2):
        producers = await _writing(demo, session, crashes)
        dead = await demo.post("/producer/crash")
        names.append(dead["name"])
        assert producers[-1]["name"] == dead["name"]
        if dead["how"] == "SIGKILL":
            await gone(dead["pid"])

    await demo.becomes(session, lambda turn: turn["status"] == "finished")
    assert TEXT == (await demo.read(session)).text
    producers = (await demo.turn(session))["producers"]
    assert names == [one["name"] for one in producers[:-1]]
    assert 3 == len({one["name"] for one in producers})


async def test_stop_ends_it_for_everybody(demo: Demo) -> None:
    """The answer is cancelled, whoever follows is told, and no further chunk comes."""
    session = await demo.ask(QUESTION)
    following = asyncio.create_task(demo.read(session))
    await demo.becomes(session, lambda turn: turn["chunks"] > 10)
    assert {"status": "cancelled"} == await demo.post(f"/answers/{session}/stop")

    read = await following
    assert read.end is not None
    assert "cancelled" == read.end[1]["status"]
    assert read.text
    assert TEXT.startswith(read.text)
    assert len(read.text) < len(TEXT)
    assert len(read.cursors) == (await demo.turn(session))["chunks"]


async def test_a_chat_has_many_turns(demo: Demo) -> None:
    """Every question gets a session of its own, in the chat's order; two that are asked at once
    do not take the same one."""
    questions = ["Why does bread rise?", QUESTION, "Tell me about lighthouses."]
    first = await demo.ask(questions[0], "many")
    await asyncio.gather(*(demo.ask(question, "many") for question in questions[1:]))

    turns = (await demo.get("/chats/many?tab=look"))["turns"]
    assert ["demo:many:1", "demo:many:2", "demo:many:3"] == [turn["session"] for turn in turns]
    assert first == turns[0]["session"]
    assert set(questions) == {turn["question"] for turn in turns}
    for turn in turns:
        assert text_for(turn["question"]) == (await demo.read(turn["session"])).text


async def test_half_a_character_is_no_reason_to_refuse(demo: Demo) -> None:
    """As a browser sends it, if the question was cut in the middle of an emoji."""
    asked = await demo.client.post(
        "/chats/half/ask",
        content=rb'{"question": "bread \ud83d"}',
        headers={"content-type": "application/json"},
    )

    assert 201 == asked.status_code
    assert "bread ?" == (await demo.turn(asked.json()["session"]))["question"]


async def test_the_sessions_are_there_for_other_clients(demo: Demo) -> None:
    """Below /api is the library's own application, on the same sessions."""
    session = await demo.ask(QUESTION)
    response = await demo.client.get(f"/api/sessions/{session}/stream?format=text")

    assert TEXT == response.text


async def _writing(demo: Demo, session: str, number: int) -> list[dict[str, Any]]:
    """All producers so far, once the one of this number has written something."""

    def writes(turn: dict[str, Any]) -> bool:
        producers = turn["producers"]
        return len(producers) == number and bool(turn["chunks"] > producers[-1]["after"] + 10)

    producers: list[dict[str, Any]] = (await demo.becomes(session, writes))["producers"]
    return producers
