"""The phases of a producer: every input in every phase, and what two of them make together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import pytest

from streamhub import HubClosed, ProducerFenced, Status, StoreUnavailable, StreamClosed
from streamhub.chunks import Terms
from streamhub.producing.phase import Follow, LastWrite, Phase, ProducerState
from streamhub.stores.base import Claim

CLAIM = Claim("s", "g2", Terms.first(7), replaced="g1", lease=15.0, retention=60.0)
FAILURE = StoreUnavailable("store", "is full")

Input = Callable[[ProducerState], Follow]

INPUTS: dict[str, Input] = {
    "finish": lambda state: state.finish(Status.FAILED, "out of paper"),
    "release": ProducerState.release,
    "cancel": ProducerState.cancel,
    "lose": ProducerState.lose,
    "restored": ProducerState.restored,
    "let_go": ProducerState.let_go,
    "over": lambda state: state.over(Status.FINISHED),
    "over, cancelled": lambda state: state.over(Status.CANCELLED),
    "fence": lambda state: state.fence("g3"),
    "give_up": lambda state: state.give_up(FAILURE),
    "abandon": ProducerState.abandon,
}
#: What leads to each phase from the beginning.
WAYS = {
    Phase.OPEN: (),
    Phase.CANCELLING: ("cancel",),
    Phase.ENDING: ("finish",),
    Phase.RELEASING: ("release",),
    Phase.ENDED: ("over",),
    Phase.RELEASED: ("abandon",),
    Phase.FENCED: ("fence",),
    Phase.BROKEN: ("give_up",),
}
LIVE = (Phase.OPEN, Phase.CANCELLING, Phase.ENDING, Phase.RELEASING)
FINAL = tuple(phase for phase in Phase if phase not in LIVE)

NOTHING, STOP, WRITE, DONE = Follow.NOTHING, Follow.STOP, Follow.WRITE, Follow.DONE
#: What follows, and the phase it leads to. All that is not here changes nothing.
MOVES: dict[tuple[Phase, str], tuple[Phase, Follow]] = {
    (Phase.OPEN, "finish"): (Phase.ENDING, WRITE),
    (Phase.OPEN, "release"): (Phase.RELEASING, WRITE),
    (Phase.OPEN, "cancel"): (Phase.CANCELLING, STOP),
    (Phase.CANCELLING, "finish"): (Phase.ENDING, WRITE),
    (Phase.CANCELLING, "release"): (Phase.ENDING, WRITE),
    (Phase.ENDING, "cancel"): (Phase.ENDING, WRITE | STOP),
    (Phase.RELEASING, "cancel"): (Phase.ENDING, WRITE | STOP),
    (Phase.RELEASING, "let_go"): (Phase.RELEASED, DONE),
    **{(phase, "over"): (Phase.ENDED, DONE) for phase in LIVE},
    **{(phase, "over, cancelled"): (Phase.ENDED, DONE | STOP) for phase in LIVE},
    (Phase.CANCELLING, "over, cancelled"): (Phase.ENDED, DONE),
    **{(phase, "fence"): (Phase.FENCED, DONE) for phase in LIVE},
    **{(phase, "give_up"): (Phase.BROKEN, DONE) for phase in LIVE},
    **{(phase, "abandon"): (Phase.RELEASED, DONE) for phase in LIVE},
}


def at(*inputs: str) -> ProducerState:
    """One that was given these inputs."""
    state = ProducerState(CLAIM)
    for name in inputs:
        INPUTS[name](state)
    return state


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("restoring", [False, True], ids=["standing", "restoring"])
@pytest.mark.parametrize("phase", Phase)
def test_every_input_in_every_phase(phase: Phase, restoring: bool, name: str) -> None:
    """The phase goes where the table says, whether or not the claim is being put back; and that is
    changed by a loss, by what puts it back, and by the end of everything."""
    state = at(*WAYS[phase], *(["lose"] if restoring else []))
    restoring = restoring and phase in LIVE
    assert (phase, restoring) == (state.phase, state.restoring)

    follow = INPUTS[name](state)

    if name == "lose":
        lost = phase in LIVE and not restoring
        assert (WRITE if lost else NOTHING) == follow
        assert (phase, phase in LIVE) == (state.phase, state.restoring)
    elif name == "restored":
        assert NOTHING == follow
        assert (phase, False) == (state.phase, state.restoring)
    else:
        expected = MOVES.get((phase, name), (phase, NOTHING))
        assert expected == (state.phase, follow)
        assert (restoring and expected[0] in LIVE) == state.restoring


@pytest.mark.parametrize(("first", "second"), list(product(INPUTS, INPUTS)))
def test_two_inputs_after_each_other(first: str, second: str) -> None:
    """Of any two, the second finds what the first has left: the end comes once, who is to stop is
    told once, and where the end has come nothing follows."""
    state = ProducerState(CLAIM)
    follows = [INPUTS[first](state), INPUTS[second](state)]

    assert 1 >= sum(STOP in follow for follow in follows)
    assert sum(DONE in follow for follow in follows) == state.done
    if DONE in follows[0]:
        assert NOTHING == follows[1]
    assert state.done == (state.phase in FINAL)
    assert state.open == (state.phase in (Phase.OPEN, Phase.CANCELLING))
    assert (state.refusal() is None) == state.open


#: What each pair leads to, in whichever order the two come, and what is written last then.
PAIRS = {
    ("lose", "finish"): (Phase.ENDING, True, Status.FAILED, LastWrite.END),
    ("lose", "cancel"): (Phase.CANCELLING, True, Status.FINISHED, None),
    ("lose", "release"): (Phase.RELEASING, True, Status.FINISHED, LastWrite.RELEASE),
    ("finish", "cancel"): (Phase.ENDING, False, Status.CANCELLED, LastWrite.END),
    ("release", "cancel"): (Phase.ENDING, False, Status.CANCELLED, LastWrite.END),
    ("lose", "over"): (Phase.ENDED, False, Status.FINISHED, None),
    ("release", "fence"): (Phase.FENCED, False, Status.FINISHED, None),
    ("lose", "fence"): (Phase.FENCED, False, Status.FINISHED, None),
    ("cancel", "fence"): (Phase.FENCED, False, Status.FINISHED, None),
    ("cancel", "over"): (Phase.ENDED, False, Status.FINISHED, None),
    ("lose", "give_up"): (Phase.BROKEN, False, Status.FINISHED, None),
    ("release", "abandon"): (Phase.RELEASED, False, Status.FINISHED, None),
}


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_at_once_lead_to_the_same_in_either_order(pair: tuple[str, str]) -> None:
    """A loss and an end, a repair and a cancel, a release and a fence: chance decides which comes
    first."""
    reached = [
        (state.phase, state.restoring, state.outcome[0], state.last_write)
        for state in (at(*order) for order in permutations(pair))
    ]

    assert [PAIRS[pair]] * 2 == reached


@pytest.mark.parametrize("phase", LIVE)
def test_what_was_wanted_is_not_forgotten_while_a_claim_is_put_back(phase: Phase) -> None:
    """However the loss and the repair fall: what was wanted before stands afterwards."""
    state = at(*WAYS[phase], "lose", "restored")
    assert (phase, False) == (state.phase, state.restoring)
    assert at(*WAYS[phase]).last_write is state.last_write

    meanwhile = at("lose", *WAYS[phase], "restored")
    assert (phase, False) == (meanwhile.phase, meanwhile.restoring)


@pytest.mark.parametrize("ended", [("cancel", "finish"), ("finish", "cancel")])
def test_g9_a_cancel_that_was_noticed_decides_the_end(ended: tuple[str, str]) -> None:
    """The store may have lost that it was asked for, so the end says so, and no error."""
    assert (Status.CANCELLED, "") == at(*ended).outcome


@pytest.mark.parametrize("order", list(permutations(["release", "cancel"])))
def test_g9_a_release_does_not_leave_a_cancelled_stream_to_be_continued(
    order: tuple[str, str],
) -> None:
    """The hub closes while a cancel is noticed: it ends as cancelled. A release that was on its
    way already does not keep it from doing so."""
    state = at(*order, "let_go")
    assert (Phase.ENDING, LastWrite.END) == (state.phase, state.last_write)
    assert (Status.CANCELLED, "") == state.outcome


def test_the_end_that_the_store_has_is_the_one_that_is_told() -> None:
    """Somebody ended the stream as cancelled when it was lost, while it was to fail."""
    state = at("finish")
    assert STOP | DONE == state.over(Status.CANCELLED)
    assert (Status.CANCELLED, "") == state.outcome


@pytest.mark.parametrize(
    ("inputs", "refusal"),
    [
        (["finish"], StreamClosed),
        (["over"], StreamClosed),
        (["release"], HubClosed),
        (["abandon"], HubClosed),
        (["fence"], ProducerFenced),
        (["give_up"], StoreUnavailable),
    ],
)
def test_where_no_chunk_is_taken_in_the_refusal_says_why(
    inputs: list[str], refusal: type[Exception]
) -> None:
    """Each phase has its error, with its facts."""
    error = at(*inputs).refusal()
    assert type(error) is refusal
    if isinstance(error, StreamClosed):
        assert inputs == ["over"] or Status.FAILED is error.status
    if isinstance(error, ProducerFenced):
        assert ("g2", "g3") == (error.generation, error.current)


def test_only_an_end_that_was_asked_for_here_is_ones_own() -> None:
    """A session that was taken away has not been ended by its producer."""
    assert at("finish").asked_to_end
    assert at("finish", "over").asked_to_end
    for name in ("over", "release", "cancel", "fence", "abandon"):
        assert not at(name).asked_to_end


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ((), None),
        (("lose",), None),
        (("finish",), None),
        (("finish", "over"), None),
        (("cancel",), "cancelled"),
        (("cancel", "finish"), "cancelled"),
        (("cancel", "release"), "cancelled"),
        (("finish", "cancel"), "cancelled"),
        (("over, cancelled",), "cancelled"),
        (("release",), "handover"),
        (("release", "let_go"), "handover"),
        (("release", "lose"), "handover"),
        (("release", "cancel"), "cancelled"),
        (("release", "fence"), "fenced"),
        (("abandon",), "handover"),
        (("fence",), "fenced"),
        (("cancel", "fence"), "fenced"),
        (("give_up",), "fenced"),
        (("over",), "fenced"),
    ],
)
def test_why_a_producer_is_to_stop(inputs: tuple[str, ...], expected: str | None) -> None:
    """What was asked for last and counts; nothing where its user ends the stream."""
    assert expected == at(*inputs).stopping
