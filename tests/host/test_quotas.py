"""The limits of callers: exact, and each caller's own."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import QuotaExceeded
from streamer.host.callers import ANONYMOUS, Caller
from streamer.host.quotas import AudioMeter, Quotas
from tests.clock import Clock


def quotas_at(now: float = 1000.0) -> tuple[Quotas, Clock]:
    clock = Clock(now)
    return Quotas(clock), clock


def test_streams_at_a_time() -> None:
    """The limit counts open streams, and one that ends makes room."""
    quotas, _ = quotas_at()
    caller = Caller("ada", max_streams=2)
    quotas.open_stream(caller)
    quotas.open_stream(caller)
    with pytest.raises(QuotaExceeded, match=r"^expected at most 2 open streams at a time, got one more$"):
        quotas.open_stream(caller)
    quotas.close_stream(caller)
    quotas.open_stream(caller)


@given(per_minute=st.integers(1, 1000), times=st.integers(1, 3), start=st.floats(0, 1e6))
@settings(max_examples=200, deadline=None)
def test_who_waits_as_long_as_told_comes_in(per_minute: int, times: int, start: float) -> None:
    """The retry hint is exact: a moment before it the caller is refused again, at it one stream begins, not two."""
    quotas, clock = quotas_at(start)
    caller = Caller("ada", max_new_streams_per_minute=per_minute)
    for _ in range(per_minute):
        quotas.open_stream(caller)
    for _ in range(times):
        with pytest.raises(
            QuotaExceeded, match=rf"^expected at most {per_minute} new streams per minute, wait "
        ) as told:
            quotas.open_stream(caller)
        assert told.value.retry_after_s == pytest.approx(60 / per_minute)
        clock.now += told.value.retry_after_s - 1e-3 * 60 / per_minute
        with pytest.raises(QuotaExceeded):
            quotas.open_stream(caller)
        clock.now += 1e-3 * 60 / per_minute
        quotas.open_stream(caller)


def test_the_rate_holds_in_the_long_run() -> None:
    """Someone who asks every second for an hour begins a minute's worth at once, and then as many as the rate says."""
    quotas, clock = quotas_at()
    caller = Caller("ada", max_requests_per_minute=6)
    begun = 0
    for _ in range(3600):
        with suppress(QuotaExceeded):
            quotas.count_request(caller)
            begun += 1
        clock.now += 1.0
    assert begun == 6 + 6 * 60 - 1


def test_a_refusal_costs_nothing() -> None:
    """Who is refused for too many streams at a time has spent none of their rate, and the other way round."""
    quotas, clock = quotas_at()
    caller = Caller("ada", max_streams=1, max_new_streams_per_minute=2)
    quotas.open_stream(caller)
    for _ in range(10):
        with pytest.raises(QuotaExceeded, match="at a time"):
            quotas.open_stream(caller)
    quotas.close_stream(caller)
    quotas.open_stream(caller)
    quotas.close_stream(caller)
    with pytest.raises(QuotaExceeded, match=r"per minute, wait 30\.0 s$"):
        quotas.open_stream(caller)
    clock.now += 30.0
    quotas.open_stream(caller)


def test_owed_audio_delays_new_streams() -> None:
    """Audio is never refused in the middle; a new stream waits until what was sent too much is paid off."""
    quotas, clock = quotas_at()
    caller = Caller("ada", audio_s_per_minute=120.0)
    quotas.open_stream(caller)
    quotas.count_audio(caller, 120.0)
    quotas.open_stream(caller)
    quotas.count_audio(caller, 60.0)
    with pytest.raises(QuotaExceeded, match=r"^expected at most 120 seconds of audio per minute, wait 30\.0 s$"):
        quotas.open_stream(caller)
    clock.now += 30.0
    quotas.open_stream(caller)


def test_every_second_of_a_stream_is_counted_once() -> None:
    """However often streams are looked at, their caller pays for what they have heard, and nobody else does."""
    quotas, _ = quotas_at()
    meter, caller = AudioMeter(quotas), Caller("ada", audio_s_per_minute=60.0)
    for heard_s in (0.0, 10.0, 10.0, 25.0):
        meter.count("first", caller, heard_s)
        meter.count("second", caller, heard_s)
        meter.count("other", Caller("bob", audio_s_per_minute=1e9), 1e6)
    meter.end("first", caller, 30.0)
    quotas.open_stream(caller)
    meter.end("second", caller, 31.0)
    with pytest.raises(QuotaExceeded, match=r"^expected at most 60 seconds of audio per minute, wait 1\.0 s$"):
        quotas.open_stream(caller)


def test_limits_change_while_the_account_goes_on() -> None:
    """A key that is reloaded with another limit keeps what it has open."""
    quotas, _ = quotas_at()
    quotas.open_stream(Caller("ada", max_streams=3))
    with pytest.raises(QuotaExceeded, match="expected at most 1 open streams"):
        quotas.open_stream(Caller("ada", max_streams=1))
    quotas.open_stream(Caller("ada", max_streams=2))


def test_names_and_addresses_have_accounts_of_their_own() -> None:
    """A key may be named like an address."""
    quotas, _ = quotas_at()
    for caller in (Caller("::1", max_streams=1), Caller("", max_streams=1, address="::1"), ANONYMOUS):
        quotas.open_stream(caller)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["open", "close", "request", "audio"]), st.booleans(), st.floats(0, 20)), max_size=60
)
LIMITS = st.tuples(st.none() | st.integers(1, 4), st.none() | st.integers(1, 9), st.none() | st.integers(1, 9))


class _User:
    """Does what it is told with one caller, and notes what came of it."""

    def __init__(self, quotas: Quotas, caller: Caller) -> None:
        self._quotas, self._caller = quotas, caller
        self._open = 0
        self.outcomes: list[str] = []

    def do(self, operation: str) -> None:
        try:
            self._try(operation)
        except QuotaExceeded as error:
            self.outcomes.append(str(error))
        else:
            self.outcomes.append(operation)

    def _try(self, operation: str) -> None:
        if operation == "open":
            self._quotas.open_stream(self._caller)
            self._open += 1
        elif operation == "close" and self._open:
            self._quotas.close_stream(self._caller)
            self._open -= 1
        elif operation == "request":
            self._quotas.count_request(self._caller)
        elif operation == "audio":
            self._quotas.count_audio(self._caller, 7.0)


@given(operations=OPERATIONS, limits=LIMITS, neighbours=LIMITS)
@settings(max_examples=300, deadline=None)
def test_no_limit_of_one_key_touches_another(operations, limits, neighbours) -> None:  # type: ignore[no-untyped-def]
    """Whatever a neighbour does, a caller is let in and refused exactly as if it were alone."""
    mine, other = (Caller(name, *bounds, 30.0) for name, bounds in (("mine", limits), ("other", neighbours)))
    (shared, clock), (alone, lone_clock) = quotas_at(), quotas_at()
    beside, lonely, neighbour = _User(shared, mine), _User(alone, mine), _User(shared, other)
    for operation, is_mine, pause in operations:
        clock.now = lone_clock.now = clock.now + pause
        for user in (beside, lonely) if is_mine else (neighbour,):
            user.do(operation)
    assert beside.outcomes == lonely.outcomes


def test_accounts_of_the_gone_are_forgotten() -> None:
    """A hundred thousand addresses that come once leave little behind; who still streams or owes is kept."""
    quotas, clock = quotas_at()
    stays, owes = Caller("stays", max_streams=1), Caller("owes", max_requests_per_minute=1)
    quotas.open_stream(stays)
    for index in range(100_000):
        passing = Caller("", max_streams=1, address=str(index))
        quotas.open_stream(passing)
        quotas.close_stream(passing)
        clock.now += 0.01
    quotas.count_request(owes)
    for index in range(2000):
        quotas.count_request(Caller("", address=str(index)))
    assert quotas.accounts < 1100
    with pytest.raises(QuotaExceeded):
        quotas.open_stream(stays)
    with pytest.raises(QuotaExceeded):
        quotas.count_request(owes)
