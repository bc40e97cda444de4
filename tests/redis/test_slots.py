"""Where a cluster puts the keys and channels of a session, by the word of a real node."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from streamhub.stores.redis.layout.keys import Keys, keys_of_append, session_of

from ..support.redis_cluster import RedisCluster
from .test_layout import ODD_IDS

pytestmark = pytest.mark.slow

PREFIX = "streamhub:"
#: Braces above all.
ids = st.text(st.sampled_from("{}{}{}ab: é"), min_size=1, max_size=12)


def slots(cluster: RedisCluster, session_id: str) -> set[int]:
    """Where a real node puts the keys and channels of a session."""
    node = cluster.primaries[0]
    return {cluster.ask(node, "CLUSTER", "KEYSLOT", one) for one in Keys.of(PREFIX, session_id)}


@pytest.mark.parametrize("session_id", [*ODD_IDS, "}}", "}{a}", "}:meta", "{}{}"])
def test_an_odd_session_is_on_one_slot(redis_cluster: RedisCluster, session_id: str) -> None:
    """Braces, glob signs, other scripts, 512 bytes: all its keys and channels are together."""
    assert 1 == len(slots(redis_cluster, session_id))


@settings(max_examples=50, deadline=None)
@given(session_id=ids)
def test_any_session_is_on_one_slot(redis_cluster: RedisCluster, session_id: str) -> None:
    """However many braces its id has, and wherever they are."""
    assert 1 == len(slots(redis_cluster, session_id))


@given(one=ids, other=ids)
def test_no_two_sessions_share_a_key(one: str, other: str) -> None:
    """The name of a key tells its session, and is no other's."""
    assert one == session_of(PREFIX, Keys.of(PREFIX, one).meta)
    assert (one == other) == bool({*Keys.of(PREFIX, one)} & {*Keys.of(PREFIX, other)})


@given(ids)
def test_an_append_names_the_keys_that_all_else_names(session_id: str) -> None:
    """It has a way of its own to them, for there are so many."""
    keys = Keys.of(PREFIX, session_id)
    assert (keys.meta, keys.chunks, keys.live) == keys_of_append(PREFIX, session_id)


def test_odd_sessions_are_spread_over_the_slots(redis_cluster: RedisCluster) -> None:
    """Those whose id begins with a closing brace are not all in one place."""
    assert 20 == len({slot for n in range(20) for slot in slots(redis_cluster, f"}}{n}")})
