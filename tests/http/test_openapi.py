"""The description of the app, and the app against its description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from openapi_spec_validator import validate
from starlette.routing import Route
from starlette.testclient import TestClient

from streamhub import Hub, HubConfig
from streamhub.http import create_app

DESCRIPTION: dict[str, Any] = json.loads((files("streamhub.http") / "openapi.json").read_bytes())
TEXT = st.text(max_size=40)
#: What is nearly right finds more than what is nowhere near it.
VALUES = {
    "owner": TEXT,
    "status": st.sampled_from(["active", "finished", "x", ""]) | TEXT,
    "limit": st.sampled_from(["1", "1000", "1001", "0", "x"]) | TEXT,
    "after": st.sampled_from(["now", "0-0", "1-1", "x", f"{2**64}-0"]) | TEXT,
    "format": st.sampled_from(["sse", "ndjson", "text", "xml", "ui", "agui"]) | TEXT,
    "offset": st.sampled_from(["-1", "now", f"{1:016x}_{1:016x}_0", f"{1:016x}", ""]) | TEXT,
    "live": st.sampled_from(["long-poll", "sse", "x"]) | TEXT,
    "stream": st.sampled_from(["1", "x"]) | TEXT,
    "events": st.sampled_from(["message", "a,ui:tool-*", "", ","]) | TEXT,
    "last": st.sampled_from(["1", "1000001", "0", "x"]) | TEXT,
    "show": st.sampled_from(["reasoning,tools", "", "text"]) | TEXT,
    "batch": st.sampled_from(["true", "0", "", "x"]) | TEXT,
    "wait": st.sampled_from(["0", "0.001", "-1", "nan", "1e400", "x"]),
    "reason": TEXT,
}
SESSIONS = st.sampled_from(["a", "ended", "%FF", "%00", "%", "%2F", "x" * 600]) | TEXT.map(
    lambda text: quote(text, safe="")
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """In a loop of its own thread, because the requests are made up by plain functions."""
    # Whoever holds a cursor waits for a lease.
    hub = Hub(config=HubConfig(lease=0.05))
    app = create_app(hub, max_wait=0.01, heartbeat=0.05)
    with TestClient(app, raise_server_exceptions=True) as client:
        assert client.portal is not None

        async def begin() -> None:
            for session_id in ("ended", "kept"):
                stream, _ = await hub.register(session_id)
                await stream.publish("x\r\n")
                await stream.close()

        client.portal.call(begin)
        yield client
        client.portal.call(hub.aclose)


def test_the_description_is_valid() -> None:
    """OpenAPI 3.1."""
    validate(DESCRIPTION)


def test_every_route_is_described() -> None:
    """With its methods, and none that is not there."""
    routes = {
        (route.path, method.lower())
        for route in create_app(Hub()).routes
        if isinstance(route, Route) and route.path != "/openapi.json"
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        (path, method)
        for path, operations in DESCRIPTION["paths"].items()
        for method in operations
        if method != "parameters"
    }

    assert described == routes


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (path, method)
        for path, operations in DESCRIPTION["paths"].items()
        for method in operations
        if method != "parameters"
    ],
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_asked_the_answer_is_described(
    client: TestClient, path: str, method: str, data: st.DataObject
) -> None:
    """Its status and its media type; an error is a problem that says which, and none is a 500."""
    operation = DESCRIPTION["paths"][path][method]
    query = data.draw(st.fixed_dictionaries({}, optional=VALUES))
    cursor = data.draw(st.none() | st.sampled_from(["0-0", "1-1", "x", "now"]))
    session = data.draw(SESSIONS.filter(bool))
    answer = client.request(
        method,
        path.replace("{session}", session),
        params=query,
        headers={} if cursor is None else {"last-event-id": cursor},
    )
    described = operation["responses"].get(str(answer.status_code))

    assert described is not None, answer.status_code
    if answer.status_code >= 400:
        problem = answer.json()
        assert "application/problem+json" == answer.headers["content-type"]
        assert answer.status_code == problem["status"]
        assert {"type", "title", "status", "detail", "code"} == set(problem)
    elif "content" in described:
        assert answer.headers["content-type"].partition(";")[0] in described["content"]


def test_every_session_fits_its_description(client: TestClient) -> None:
    """No fact is missing from it, and none from the answer that it calls required."""
    schema = DESCRIPTION["components"]["schemas"]["Session"]
    found = client.get("/sessions/kept").json()

    assert set(schema["properties"]) == set(found)
    assert set(schema["required"]) <= set(found)
