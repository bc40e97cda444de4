"""The examples of the README and of the pages in docs, run as they stand there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

import streamhub.sync
from streamhub import Hub, HubConfig, ProducerFenced, Status
from streamhub.instruments.prometheus import PrometheusInstrument
from streamhub.stores.redis.topology.url_options import (
    _OPTIONS,
    _SENTINEL_OPTIONS,
    _TLS_OPTIONS,
)
from streamhub.testing.waiting import bounded, patience, until, within

from ..http.serving import served

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "examples").glob("*/README.md")),
]
ANSWER = ["The ", "lamp ", "turns."]


class _Model:
    """What the examples leave to the reader: something that streams text."""

    def __init__(self) -> None:
        self.endless = False

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        for token in ANSWER:
            yield token
        while self.endless:
            yield "…"


def _run(page: str, without: str = "") -> dict[str, Any]:
    """The names that the page's Python defines, on a hub in memory; a line may be left out."""
    names: dict[str, Any] = {"model": _Model()}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("redis://localhost:6379/0", "memory://")
    assert without in code
    code = code.replace(without, "")
    exec(compile(code, page, "exec"), names)
    return names


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application of the page on HTTP."""
    names = _run("docs/http.md")
    async with served(names["app"]) as url, httpx.AsyncClient(base_url=url) as client:
        yield client
    await names["hub"].aclose()


async def test_the_readme_serves_an_answer_twice() -> None:
    """Its application begins an answer, and who reads it again has it from the start."""
    names = _run("README.md", without="await asyncio.sleep(0.25)")
    async with (
        served(names["app"], lifespan="on") as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        asked = await client.post("/chats/1", params={"question": "Why?"})
        read = [await client.get("/chats/1/answer") for _ in range(2)]

    assert 200 == asked.status_code
    for response in read:
        assert [f"{n}. Why? " for n in range(60)] == re.findall(r"data: (?!{)(.*)\n", response.text)
        assert "event: end" in response.text


def test_the_readme_says_what_was_measured() -> None:
    """Its ratios are those of the bench, as docs/speed.json has them."""
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text())
    times = re.search(r"publishing is (\d+) times as fast", readme)
    rows = json.loads((ROOT / "docs" / "speed.json").read_text())["rows"]

    def ratio(what: str, baseline: str) -> float:
        [found] = [
            one["ratio"] for one in rows if one["what"] == what and one["baseline"] == baseline
        ]
        return float(found)

    assert times is not None
    assert "in a thirtieth of the time, and 1,000 streams take a quarter of the proc" in readme
    published = ratio("publish on 1 stream, 6-byte chunks, flushed", "round trip")
    reached = ratio("publish to delivery, 1,000 subscribers of 1 stream, p50", "reader each")
    cpu = "1,000 streams with 1 subscriber each in one process, 10 chunks/s: CPU of it and of Redis"
    assert published == pytest.approx(int(times[1]), rel=0.1)
    assert reached == pytest.approx(1 / 30, rel=0.2)
    taken = ratio(f"{cpu} per 10,000 chunks", "round trip + reader each")
    assert taken == pytest.approx(1 / 4, rel=0.2)


def test_the_readme_counts_the_chunks_of_the_campaign() -> None:
    """As many as the table of the page on guarantees has, none of which was lost."""
    page = (ROOT / "docs" / "guarantees.md").read_text()
    table = page.partition("### In figures")[2].partition("\n### ")[0]
    rows = re.findall(r"\| (\d+) \| ([\d,]+) \| (\d+) \|", table)
    delivered = sum(int(chunks.replace(",", "")) for _, chunks, _ in rows)

    assert 6 == len(rows)
    assert {"0"} == {lost for _, _, lost in rows}
    assert f"{delivered // 1000},000 chunks delivered" in (ROOT / "README.md").read_text()


@pytest.fixture
async def producing() -> AsyncIterator[dict[str, Any]]:
    """What the Python of the page on producing defines."""
    names = _run("docs/producing.md")
    yield names
    await names["hub"].aclose()


async def test_the_page_on_producing_asks_and_tells_its_sources(producing: dict[str, Any]) -> None:
    """What ``ask`` produces is read; ``ask_with_sources`` sets the metadata, and leaves its sources
    out of the text."""
    await producing["ask"]("1", "Why?")
    await producing["ask_with_sources"]("2", "Why?")
    asked, long = [await producing["hub"].get(f"chat:{chat}") for chat in (1, 2)]

    assert ANSWER == [chunk.data async for chunk in asked.subscribe()]
    assert {"prompt": "Why?"} == await long.metadata()
    assert "".join(ANSWER) == await long.text()
    assert "sources" == [chunk.event async for chunk in long.subscribe()][-1]


async def test_the_page_on_producing_asks_in_a_thread(producing: dict[str, Any]) -> None:
    """A hub of ``streamhub.sync`` does the same."""
    with streamhub.sync.Hub() as threads:
        told = await asyncio.to_thread(producing["ask_in_a_thread"], threads, "1", "Why?")

    assert "You have asked: Why?" == told


async def test_the_page_on_agui_runs_an_agent() -> None:
    """Its application answers with a tool call and text."""
    names = _run("docs/ag-ui.md")
    body = {"threadId": "t", "runId": "r", "messages": [{"id": "1", "content": "Why?"}]}
    async with served(names["app"]) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/api/agent", json=body)
    await names["hub"].aclose()

    assert ANSWER == re.findall(r'"TEXT_MESSAGE_CONTENT".*"delta":"([^"]*)"', answer.text)
    assert "RUN_FINISHED" in answer.text


async def test_the_page_on_http_begins_and_follows(web: httpx.AsyncClient) -> None:
    """Its first two routes begin an answer and follow it to its end."""
    begun = await web.post("/answers/1", params={"prompt": "Why?"})
    followed = await web.get("/answers/1/events")

    assert {"begun": True} == begun.json()
    assert ANSWER == re.findall(r"data: (?!{)(.*)\n", followed.text)
    assert "event: end" in followed.text


async def test_the_page_on_http_keeps_users_apart(web: httpx.AsyncClient) -> None:
    """Its mounted application shows nobody a session that is not his."""
    await web.post("/answers/1", params={"prompt": "Why?"})
    listed = await web.get("/hub/sessions", headers={"x-user": "user:7"})
    asked = await web.get("/hub/sessions/answer:1", headers={"x-user": "user:7"})

    assert {"sessions": []} == listed.json()
    assert 404 == asked.status_code


async def test_the_page_on_http_serves_a_chat(web: httpx.AsyncClient) -> None:
    """Its chat routes stream what ``answer`` yields."""
    body = {"id": "r", "messages": []}
    routed = await web.post("/v2/chat", json=body, headers={"x-user": "alice"})
    assert (200, 422) == (routed.status_code, (await web.post("/v2/chat", json=body)).status_code)
    posted = await web.post("/api/chat", json={"id": "1", "messages": []})

    assert ANSWER == re.findall(r'"delta":"(.*?)"', posted.text)


async def test_the_page_on_reading_resumes_at_its_cursor() -> None:
    """``read`` goes on after the cursor that it yielded."""
    names = _run("docs/reading.md")
    await names["hub"].run("chat:1", ANSWER)
    read = [one async for one in names["read"]("1")]
    rest = [data async for _, data in names["read"]("1", read[0][0])]
    await names["hub"].aclose()

    assert (ANSWER, ANSWER[1:]) == ([data for _, data in read], rest)


async def test_the_page_on_reading_begins_near_the_end() -> None:
    """Its readers get the newest status, and the end of the text."""
    names = _run("docs/reading.md")
    stream, _ = await names["hub"].register("chat:1")
    async with stream:
        for n in range(30):
            await stream.publish(f"{n}", event="status")
            await stream.publish(f"{n} ")

    assert ["29"] == [data async for data in names["statuses"]("1")]
    assert [f"{n} " for n in range(10, 30)] == [data async for data in names["end_of_text"]("1")]
    await names["hub"].aclose()


@pytest.fixture
async def inbox() -> AsyncIterator[dict[str, Any]]:
    """What the Python of the page on inboxes defines."""
    names = _run("docs/inbox.md")
    names["deleted"] = []
    yield names
    await names["hub"].aclose()


async def test_anyone_stops_an_answer(inbox: dict[str, Any]) -> None:
    """``stop`` ends an answer that has no end of its own."""
    inbox["model"].endless = True
    stream = await inbox["hub"].run("chat:1", inbox["model"].stream("Why?"))
    await inbox["stop"]("1")

    assert Status.CANCELLED == (await stream.info()).status


@pytest.mark.parametrize(("answer", "deleted"), [("yes", ["report.txt"]), ("no", [])])
async def test_a_tool_call_waits_for_approval(
    inbox: dict[str, Any], answer: str, deleted: list[str]
) -> None:
    """The tool of the page is called if somebody agrees, once, however often he says so."""

    async def delete(name: str) -> None:
        inbox["deleted"].append(name)

    inbox["delete"] = delete
    await inbox["begin"]("1")
    stream = await inbox["hub"].get("tidy:1")
    asked = await within(anext(stream.subscribe()))
    for _ in range(2):
        await inbox["decide"]("1", answer)
    chunks = [chunk.data async for chunk in stream.subscribe()]

    assert ("ask", '{"delete": "report.txt"}') == (asked.event, asked.data)
    assert deleted == inbox["deleted"]
    assert ["It is gone." if deleted else "I have kept it."] == chunks[1:]


async def test_a_user_steers_an_agent(inbox: dict[str, Any]) -> None:
    """What is said interrupts the model of the page, which is asked again with it."""
    asked: list[str] = []

    async def answered(prompt: str) -> AsyncIterator[str]:
        asked.append(prompt)
        yield "Day 1"
        while len(asked) == 1:
            await asyncio.sleep(0)
            yield "…"

    inbox["model"].stream = answered
    stream = await inbox["hub"].run("trip:1", inbox["agent"])
    subscription = stream.subscribe()
    assert "Day 1" == (await within(anext(subscription))).data
    await inbox["steer"]("1", "No museums.")
    async with bounded(10):
        heard = [chunk.data async for chunk in subscription if chunk.event == "steer"]

    assert ['{"heard": "No museums."}'] == heard
    assert ["Plan a week in Rome.", "Plan a week in Rome.\nNo museums."] == asked
    assert Status.FINISHED == (await stream.info()).status


async def test_the_page_on_deploys_goes_on_with_what_was_lost() -> None:
    """Its application answers, and resumes a session whose producer was killed."""
    names = _run("docs/deploys.md")
    async with (
        served(names["app"], lifespan="on") as url,
        httpx.AsyncClient(base_url=url, timeout=patience()) as client,
    ):
        await client.post("/answers/1", params={"prompt": "Why?"})
        about = '{"prompt": "Why?"}'
        await names["hub"]._store.claim(
            "2", "killed", takeover="restart", lease=0.1, retention=60, metadata=about
        )
        followed = [await client.get(f"/answers/{name}") for name in (1, 2)]

    for response in followed:
        assert ANSWER == re.findall(r"data: (?!{)(.*)\n", response.text)
        assert "event: end" in response.text


async def test_the_agent_of_the_page_on_deploys_stops_at_a_good_place() -> None:
    """It is released by what it raises, while its hub drains."""
    names = _run("docs/deploys.md")
    names["model"].endless = True
    hub, elsewhere = names["hub"], Hub(names["hub"]._store)
    stream = await hub.run("agent", names["agent"])
    subscription = stream.subscribe()
    await anext(subscription)
    await hub.aclose(drain=patience())
    reader = await elsewhere.get("agent")

    assert reader is not None
    assert Status.LOST is await reader.wait()
    await elsewhere.aclose()


def _anchors(page: Path) -> set[str]:
    """What its headings are called in links, by a site as by a view of the repository."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page names a file that is there, and a heading of it."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text())
    places = [((page.parent / link) if link else page, anchor) for link, anchor in links]
    lost = [place for place, _ in places if not place.exists()]

    assert [] == lost
    assert [] == [one for one in places if one[1] and one[1] not in _anchors(one[0])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_installs_the_bare_name(page: Path) -> None:
    """The name streamhub on the package index is another project's."""
    assert [] == re.findall(r"pip install \"?streamhub(?!-llm)", page.read_text())


async def test_the_page_on_migration_takes_the_place_of_a_stream() -> None:
    """What its producer writes, its reader follows, and goes on with after an id."""
    page = _run("docs/migration.md")
    await page["produce"]("1", page["model"].stream("Why?"))
    followed = [one async for one in page["follow"]("1", None)]
    rest = [data async for _, data in page["follow"]("1", followed[0][0])]
    await page["hub"].aclose()

    assert ANSWER == [data for _, data in followed]
    assert ANSWER[1:] == rest


async def test_the_page_on_parts_makes_a_message() -> None:
    """Reasoning, a tool call, text and usage, as a page shows them."""
    page = _run("docs/parts.md")
    assert await page["so_far"]("1") is None
    await page["ask"]("1", "Weather?")
    stream = await page["hub"].get("chat:1")
    await stream.wait()
    message = await page["so_far"]("1")
    await page["hub"].aclose()

    kinds = [part["type"] for part in message.parts]
    assert ["step-start", "reasoning", "tool-look_outside", "text"] == kinds
    assert ("It is sunny.", "stop") == (message.text, message.metadata["finishReason"])


async def test_the_page_on_saving_saves_each_answer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker writes a row for each end, in a task and in a thread, and its producer is told."""
    monkeypatch.chdir(tmp_path)
    page = _run("docs/saving.md")
    hub = page["hub"]
    await page["ask"]("1", "Why?")
    working = asyncio.create_task(page["save_answers"]())

    def rows() -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect("answers.db")) as database, suppress(sqlite3.Error):
            return database.execute("SELECT chat, status, message FROM answers").fetchall()
        return []

    async def saved() -> bool:
        return bool(rows())

    await until(saved)
    working.cancel()
    await asyncio.wait([working])
    [(chat, status, message)] = rows()
    text = {"type": "text", "text": "".join(ANSWER), "state": "done"}
    assert ("chat:1", "finished") == (chat, status)
    assert [{"type": "step-start"}, text] == json.loads(message)["parts"]
    assert ["user:7"] == [end.owner for end in page["seen"]]
    assert [] == await page["try_again"]()
    await hub.aclose()

    with streamhub.sync.Hub() as threads:
        threads.run("chat:2", ANSWER)
        await asyncio.to_thread(page["save_in_a_thread"], threads, 1)
    assert ["chat:1", "chat:2"] == sorted(chat for chat, _, _ in rows())


async def test_the_page_on_seeing_tells_who_is_on_call(caplog: pytest.LogCaptureFixture) -> None:
    """Its instrument hears of a fence, and its log of an end."""
    caplog.set_level(logging.INFO, "streamhub")
    page = _run("docs/seeing.md")
    async with page["watched"] as watched:
        stream, _ = await watched.register("chat:1")
        await watched.remove("chat:1")
        await stream.publish("one")
        with pytest.raises(ProducerFenced):
            await stream.flush()
    async with page["logged"] as logged:
        await (await logged.run("chat:2", ANSWER)).wait()

    assert ["chat:1 is None's now"] == page["pages"]
    assert "session 'chat:2': ended as finished" in caplog.text


async def test_the_page_on_seeing_has_metrics() -> None:
    """Its hub is measured, and its application tells whoever has the token."""
    page = _run("docs/seeing.md")
    hub = page["measured"]
    await (await hub.run("chat:1", ANSWER)).wait()
    async with served(page["metrics"]) as url, httpx.AsyncClient(base_url=url) as client:
        token = {"authorization": "Bearer a long secret"}
        answers = [await client.get("/metrics", headers=headers) for headers in ({}, token)]
    await hub.aclose()

    assert [401, 200] == [answer.status_code for answer in answers]
    assert re.search(r"^streamhub_stored_chunks_total [1-9]", answers[1].text, re.MULTILINE)


@pytest.fixture
async def tenants() -> AsyncIterator[tuple[dict[str, Any], httpx.AsyncClient, httpx.AsyncClient]]:
    """The application of the page on tenants, on a hub in memory, as Ann and Bob reach it."""
    names = _run("docs/tenants.md")
    headers = [{"authorization": f"Bearer key-of-{name}"} for name in ("ann", "bob")]
    async with (
        served(names["app"]) as url,
        httpx.AsyncClient(base_url=url, headers=headers[0], timeout=patience()) as ann,
        httpx.AsyncClient(base_url=url, headers=headers[1], timeout=patience()) as bob,
    ):
        yield names, ann, bob
    await names["hub"].aclose()


async def test_the_page_on_tenants_keeps_two_users_apart(
    tenants: tuple[dict[str, Any], httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    """What Ann has begun looks to Bob as what was never there, on every route, and goes on."""
    _, ann, bob = tenants
    nobody = {"authorization": ""}
    assert {"begun": True} == (await ann.post("/answers/1", params={"prompt": "Why?"})).json()
    followed = await ann.get("/answers/1/events")
    chat = {"id": "c", "messages": []}
    assert 200 == (await ann.post("/api/chat", json=chat)).status_code
    session = "/hub/sessions/answer%3Aacme%3Aann%3A1"
    theirs = [
        await bob.get("/answers/1/events"),
        await bob.post("/api/chat", json=chat),
        await bob.get("/api/chat/c/stream"),
        await bob.get(session),
        await bob.post(f"{session}/cancel"),
        await bob.delete(session),
    ]
    listed = [(await one.get("/hub/sessions")).json()["sessions"] for one in (ann, bob)]
    refused = [
        await bob.get("/answers/1/events", headers=nobody),
        await bob.post("/api/chat", json=chat, headers=nobody),
        await bob.get(session, headers=nobody),
    ]

    assert ANSWER == re.findall(r"data: (?!{)(.*)\n", followed.text)
    assert [404, 404, 204, 404, 404, 404] == [one.status_code for one in theirs]
    assert (await bob.get("/hub/sessions/nobody")).content == theirs[3].content
    assert [2, 0] == [len(one) for one in listed]
    assert [401, 401, 404] == [one.status_code for one in refused]
    assert [] == (await bob.get("/hub/sessions", headers=nobody)).json()["sessions"]
    assert 200 == (await ann.get(session)).status_code


async def test_the_page_on_tenants_lets_no_name_reach_into_anothers(
    tenants: tuple[dict[str, Any], httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    """A user whose name begins another's cannot make up the rest of it."""
    names, ann, bob = tenants
    names["KEYS"]["key-of-bob"] = "acme"
    await ann.post("/answers/1", params={"prompt": "Why?"})
    stopped = await bob.post("/answers/ann:1/stop")
    followed = await bob.get("/answers/ann:1/events")

    assert (200, 404) == (stopped.status_code, followed.status_code)
    assert 200 == (await ann.get("/answers/1/events")).status_code


async def test_the_page_on_tenants_has_a_quota(
    tenants: tuple[dict[str, Any], httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    """A fourth answer at once is refused, and not to another user; who stops one may ask again."""
    names, ann, bob = tenants
    names["model"].endless = True
    for name in range(3):
        await ann.post(f"/answers/{name}", params={"prompt": "Why?"})
    fourth = await ann.post("/answers/3", params={"prompt": "Why?"})
    others = await bob.post("/answers/0", params={"prompt": "Why?"})
    await ann.post("/answers/0/stop")
    await (await names["hub"].get("answer:acme:ann:0")).wait()
    again = await ann.post("/answers/3", params={"prompt": "Why?"})

    assert [429, 200, 200] == [one.status_code for one in (fourth, others, again)]


def test_the_page_on_configuration_has_every_option_and_its_default() -> None:
    """Each field of HubConfig is in its table, with its true default and its unit."""
    page = (ROOT / "docs" / "reference" / "config.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (\w*) ?\| ", page, re.MULTILINE)
    said = {name: (default.strip("`"), unit) for name, default, unit in rows}
    units = {"bytes": "bytes", "messages": "messages"}
    true = {
        one.name: (
            "the machine's name"
            if one.name == "host"
            else json.dumps(one.default).title()
            if isinstance(one.default, bool)
            else json.dumps(one.default),
            units.get(one.name.rpartition("_")[2], "s" if isinstance(one.default, float) else ""),
        )
        for one in dataclasses.fields(HubConfig)
    }

    assert true == {name: said.get(name) for name in true}


def test_the_page_on_configuration_has_every_variable() -> None:
    """Each variable that the command line reads is on it."""
    page = (ROOT / "docs" / "reference" / "config.md").read_text()
    commands = (ROOT / "src" / "streamhub" / "cli").rglob("*.py")
    read = {name for one in commands for name in re.findall(r'envvar="(\w+)"', one.read_text())}

    assert set() == {name for name in read if f"`{name}`" not in page}


def test_the_page_on_configuration_has_every_option_of_a_url() -> None:
    """Each option that a store's URL takes, but for those that mean nothing."""
    page = (ROOT / "docs" / "reference" / "config.md").read_text()
    taken = {
        name
        for options in (_OPTIONS, _TLS_OPTIONS, _SENTINEL_OPTIONS)
        for name, option in options.items()
        if not option.ignored
    }

    assert set() == {name for name in taken if f"`{name}`" not in page}


async def test_the_page_on_the_browser_opens_it_to_another_origin() -> None:
    """Its middleware lets the pages that it names follow with the headers of ``follow``, and no
    others."""
    names = _run("docs/browser.md")
    asked = {
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization,last-event-id",
    }
    async with (
        served(names["app"]) as url,
        httpx.AsyncClient(base_url=url, headers=asked) as client,
    ):
        answers = [
            await client.options("/hub/sessions/1/stream", headers={"origin": origin})
            for origin in ("https://app.example.org", "https://another.example")
        ]
    await names["hub"].aclose()

    assert [200, 400] == [answer.status_code for answer in answers]
    assert ["https://app.example.org", None] == [
        answer.headers.get("access-control-allow-origin") for answer in answers
    ]


def test_the_page_on_production_names_metrics_that_there_are() -> None:
    """Whoever is on call finds them."""
    page = (ROOT / "docs" / "production.md").read_text()
    registry = CollectorRegistry()
    PrometheusInstrument(registry)
    there = {family.name for family in registry.collect()}
    named = {name.removesuffix("_total") for name in re.findall(r"`(streamhub_\w+)`", page)}

    assert named
    assert set() == named - there


async def test_the_page_on_production_has_an_application() -> None:
    """It answers whom it knows, saves the answer, goes on with a lost one, tells its metrics to
    who has the token, and ends when its server does."""
    names = _run("docs/production.md")
    ann, question = {"x-user": "ann"}, {"id": "1", "messages": []}
    async with (
        served(names["app"], lifespan="on") as url,
        httpx.AsyncClient(base_url=url, timeout=patience()) as client,
    ):
        answered = await client.post("/api/chat", json=question, headers=ann)
        await names["hub"]._store.claim(
            "chat:2", "killed", takeover="restart", lease=0.1, retention=60, owner="ann"
        )
        resumed = await client.get("/api/chat/2/stream", headers=ann)
        hidden = await client.post("/api/chat", json=question, headers={"x-user": "bob"})
        token = {"authorization": "Bearer a long secret"}
        told = [await client.get("/metrics", headers=headers) for headers in ({}, token)]

        async def are_saved() -> bool:
            return len(names["saved"]) == 2

        await until(are_saved)

    assert [ANSWER, ANSWER] == [
        re.findall(r'"delta":"(.*?)"', response.text) for response in (answered, resumed)
    ]
    assert 404 == hidden.status_code
    assert [401, 200] == [response.status_code for response in told]
    text = "".join(ANSWER)
    expected = [(f"chat:{n}", "ann", "finished", text) for n in (1, 2)]
    assert expected == sorted(names["saved"].values())
