"""What each caller uses, against its limits: streams that are open, streams that begin, requests and audio."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from streamer.errors import QuotaExceeded
from streamer.host.callers import Caller

# From so many accounts on, those that are as good as new are forgotten now and then.
_SWEEP = 1024


class TokenBucket:
    """Holds a minute's worth of tokens, refilled evenly: bursts pass, and the rate holds in the long run."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._since = 0.0
        self._per_minute = 0.0

    def spent(self, now: float) -> float:
        """Return how much is used up at `now` (seconds); more than a minute's worth if something is owed."""
        return max(0.0, self._spent - max(0.0, now - self._since) * self._per_minute / 60)

    def wait_s(self, amount: float, per_minute: float, now: float) -> float:
        """Return in how many seconds `amount` is there; 0 if it is there now."""
        missing = self.spent(now) + amount - per_minute
        # A billionth is rounding, and would send away who waited exactly as long as we said.
        return 0.0 if missing <= 1e-9 * per_minute else missing * 60 / per_minute

    def spend(self, amount: float, per_minute: float, now: float) -> None:
        """Take `amount`, even if that is more than is there."""
        self._spent = self.spent(now) + amount
        self._since, self._per_minute = now, per_minute


class _Account:
    """The use of one caller."""

    def __init__(self) -> None:
        self.open_streams = 0
        self.new_streams = TokenBucket()
        self.requests = TokenBucket()
        self.audio_s = TokenBucket()

    def is_as_new(self, now: float) -> bool:
        return not (self.open_streams or self.new_streams.spent(now) or self.requests.spent(now)) and (
            not self.audio_s.spent(now)
        )


class Quotas:
    """Keeps an account per caller (`Caller.account`). `clock` gives seconds. Not for several threads at once.

    Limits come with each caller, so that they may change while its account goes on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._sweep_at = _SWEEP

    def open_stream(self, caller: Caller) -> None:
        """Count one more open stream of `caller`; raises `QuotaExceeded` and then counts nothing."""
        now, account = self._clock(), self._account(caller)
        if caller.max_streams is not None and account.open_streams >= caller.max_streams:
            raise QuotaExceeded(f"expected at most {caller.max_streams} open streams at a time, got one more")
        _check(account.audio_s, 0, caller.audio_s_per_minute, "seconds of audio", now)
        _check(account.new_streams, 1, caller.max_new_streams_per_minute, "new streams", now)
        _spend(account.new_streams, 1, caller.max_new_streams_per_minute, now)
        account.open_streams += 1

    def close_stream(self, caller: Caller) -> None:
        """Count one less open stream of `caller`."""
        self._account(caller).open_streams -= 1

    def count_request(self, caller: Caller) -> None:
        """Count a request of `caller`; raises `QuotaExceeded` and then counts nothing."""
        now, account = self._clock(), self._account(caller)
        _check(account.requests, 1, caller.max_requests_per_minute, "requests", now)
        _spend(account.requests, 1, caller.max_requests_per_minute, now)

    def count_audio(self, caller: Caller, seconds: float) -> None:
        """Count audio that came. Never raises: streams go on, but no new one begins until what is owed is paid."""
        _spend(self._account(caller).audio_s, seconds, caller.audio_s_per_minute, self._clock())

    @property
    def accounts(self) -> int:
        """How many accounts are kept."""
        return len(self._accounts)

    def _account(self, caller: Caller) -> _Account:
        if caller.account not in self._accounts and len(self._accounts) >= self._sweep_at:
            now = self._clock()
            self._accounts = {key: kept for key, kept in self._accounts.items() if not kept.is_as_new(now)}
            self._sweep_at = max(_SWEEP, 2 * len(self._accounts))
        return self._accounts.setdefault(caller.account, _Account())


class AudioMeter:
    """Counts the audio of open streams on the accounts of their callers, each second once."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._counted_s: dict[Hashable, float] = {}

    def count(self, stream: Hashable, caller: Caller, heard_s: float) -> float:
        """Count what `stream` has heard since it was counted last, and return it; `heard_s` is all it has heard."""
        new_s = heard_s - self._counted_s.get(stream, 0.0)
        if new_s <= 0:
            return 0.0
        self._quotas.count_audio(caller, new_s)
        self._counted_s[stream] = heard_s
        return new_s

    def end(self, stream: Hashable, caller: Caller, heard_s: float) -> float:
        """Count what an ended stream has heard, and forget it; returns like `count`."""
        new_s = self.count(stream, caller, heard_s)
        self._counted_s.pop(stream, None)
        return new_s


def _check(bucket: TokenBucket, amount: float, per_minute: float | None, unit: str, now: float) -> None:
    wait_s = bucket.wait_s(amount, per_minute, now) if per_minute is not None else 0.0
    if wait_s:
        raise QuotaExceeded(f"expected at most {per_minute:g} {unit} per minute, wait {wait_s:.1f} s", wait_s)


def _spend(bucket: TokenBucket, amount: float, per_minute: float | None, now: float) -> None:
    if per_minute is not None:
        bucket.spend(amount, per_minute, now)
