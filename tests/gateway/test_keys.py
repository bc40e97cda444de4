"""Whose a request to a gateway is."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from streamhub.gateway.errors import GatewayError
from streamhub.gateway.keys import Caller, Keys, session_of


def asked(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


def test_a_key_is_known_by_its_hash() -> None:
    """Two keys, and two projects of one, have nothing in common, and nothing shows the key."""
    keys = Keys(None, None)
    mine, yours, project = [
        keys.caller(asked(**headers))
        for headers in (
            {"authorization": "Bearer mine"},
            {"authorization": "Bearer yours"},
            {"authorization": "Bearer mine", "openai_project": "p"},
        )
    ]
    # Where some servers take it.
    named = ("api_key", "x_api_key", "x_litellm_api_key", "x_goog_api_key")
    elsewhere = [keys.caller(asked(**{name: key})) for name in named for key in ("mine", "yours")]

    assert 2 * len(named) == len({(one.key_hash, one.headers) for one in elsewhere})
    assert {2} == {
        len({a.key_hash, b.key_hash}) for a, b in zip(elsewhere[::2], elsewhere[1::2], strict=True)
    }
    assert 3 == len({session_of(one, "resp_1") for one in (mine, yours, project)})
    assert keys.caller(asked(authorization="Bearer mine", x_other="1")).key_hash == mine.key_hash
    assert "mine" not in repr(mine) + session_of(mine, "resp_1")
    assert keys.own is None


def test_the_clients_key_goes_upstream() -> None:
    """With all else that is the request's, and nothing that is the connection's."""
    request = asked(
        authorization="Bearer k", host="gateway", connection="close", cookie="a=b", openai_beta="x"
    )

    assert {("authorization", "Bearer k"), ("openai-beta", "x")} == {
        *Keys(None, None).caller(request).headers
    }


def test_a_gateway_with_keys_takes_no_other() -> None:
    """Its own stay with it: the upstream gets the upstream's."""
    keys = Keys(["one", "two"], "upstream's")
    callers = [keys.caller(asked(authorization=f"Bearer {key}")) for key in ("one", "two")]

    assert 2 == len({caller.key_hash for caller in callers})
    assert [Caller(one.key_hash, keys.own or ()) for one in callers] == callers
    assert (("authorization", "Bearer upstream's"),) == keys.own
    for wrong in ({}, {"authorization": "Bearer three"}, {"authorization": "one"}):
        with pytest.raises(GatewayError) as raised:
            keys.caller(asked(**wrong))
        assert (401, "invalid_api_key") == (raised.value.status, raised.value.code)


@pytest.mark.parametrize(
    ("given", "upstream_key"),
    [("", None), ([], None), (["a", " "], None), (None, "u"), ("a", "sk-…")],
)
def test_keys_that_let_anybody_in_are_refused(given: object, upstream_key: str | None) -> None:
    """Empty ones, an upstream's that everybody could use, and one that no header can hold."""
    with pytest.raises(ValueError, match="key"):
        Keys(given, upstream_key)  # type: ignore[arg-type]
