"""What Django's two kinds of view are told where they are given the other's hub."""

from __future__ import annotations

from typing import Any

import pytest

from streamhub import Hub, sync

pytestmark = pytest.mark.integrations


@pytest.fixture(scope="module")
def factories() -> tuple[Any, Any]:
    """Of requests under WSGI and under ASGI."""
    conf = pytest.importorskip("django.conf")
    if not conf.settings.configured:
        conf.settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"])
    from django.test import AsyncRequestFactory, RequestFactory

    return RequestFactory(), AsyncRequestFactory()


async def test_an_async_hub_needs_an_async_server(factories: tuple[Any, Any]) -> None:
    """Each async view would have an event loop of its own under WSGI."""
    from streamhub.django import astream_response, stream_response

    async with Hub() as hub:
        with pytest.raises(TypeError, match="astream_response needs an ASGI server"):
            await astream_response(factories[0].get("/"), None)
        with pytest.raises(
            TypeError, match=r"takes a hub of streamhub.sync, not streamhub.hub.Hub"
        ):
            stream_response(factories[0].get("/"), hub, "1")  # type: ignore[arg-type]


def test_a_view_may_be_asked_for_the_head_alone(factories: tuple[Any, Any]) -> None:
    """Nothing is followed then; nor where Django drops a response before it has begun it."""
    from streamhub.django import stream_response

    with sync.Hub() as hub:
        hub.register("1")
        head = stream_response(factories[0].head("/"), hub, "1")
        missing = stream_response(factories[0].head("/"), hub, "2")
        assert (b"", 404, b"") == (head.content, missing.status_code, missing.content)
        assert 0 == hub.statistics().sessions_followed
        for factory in factories:
            dropped = stream_response(factory.get("/"), hub, "1")
            assert dropped.streaming
            dropped.close()
            assert 0 == hub.statistics().sessions_followed


def test_a_refusal_is_no_other_404(factories: tuple[Any, Any]) -> None:
    """Who may not read hears what he would hear of nothing; and again where a session begins
    anew."""
    from streamhub.django import cancel_response, stream_response

    with sync.Hub() as hub:
        stream, _ = hub.register("1")
        request = factories[0].get("/")
        answers = [
            stream_response(request, hub, "1", allow=lambda: False),
            stream_response(request, hub, "2"),
            cancel_response(request, hub, "1", allow=lambda: False),
        ]
        assert {404} == {answer.status_code for answer in answers}
        assert 1 == len({answer.content for answer in answers})

        stream.publish("a")
        allowed = [True, False]
        read = stream_response(request, hub, "1", allow=lambda: allowed.pop(0))
        pieces = iter(read)
        assert b"data: a" in next(pieces)
        hub.remove("1")
        again, _ = hub.register("1")
        again.publish("secret")
        again.close()
        rest = b"".join(pieces)
        read.close()

    assert b"event: error" in rest
    assert b"secret" not in rest
