"""Who is let in, who is not, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from streamer.config import AccessSection
from streamer.errors import InvalidRequest, PermissionDenied, QuotaExceeded, StreamerError, Unauthenticated
from streamer.gateway.access import Access
from streamer.gateway.keys import digest
from streamer.host.callers import ANONYMOUS, Caller
from streamer.host.quotas import Quotas
from tests.clock import Clock
from tests.gateway.keyring import ADA, BOB, OLD, ROOT, access_settings, bearer, request

UNKNOWN = "unknown API key"


def refusal(access: Access, *shown: Any) -> tuple[type[StreamerError], str]:
    with pytest.raises(StreamerError) as caught:
        access.caller(*shown)
    return type(caught.value), str(caught.value)


def test_without_keys_everybody_is_let_in() -> None:
    """Whatever is shown, nobody is known."""
    access = Access()
    assert access.is_open
    for credential in (None, ADA, "t1.a.b"):
        assert access.caller(credential, "192.0.2.7") == ANONYMOUS


def test_addresses_are_held_apart_when_they_have_a_limit() -> None:
    """Without keys, a limit per address makes every address a caller of its own."""
    access = Access(AccessSection(max_streams_per_address=3))
    assert access.caller(None, "192.0.2.7") == Caller("", max_streams=3, address="192.0.2.7")


def test_a_key_is_its_caller() -> None:
    """Name, limits and rights come with the key."""
    access = Access(access_settings())
    assert access.caller(ADA) == Caller("ada")
    assert access.caller(BOB) == Caller("bob", max_streams=1, max_requests_per_minute=2)
    assert access.caller(ROOT) == Caller("root", is_admin=True)


@pytest.mark.parametrize(
    ("credential", "message"),
    [
        (None, "expected an API key, got none"),
        ("streamer_nobody", UNKNOWN),
        (ADA[:-1], UNKNOWN),
        (digest(ADA), UNKNOWN),
        ("ada", UNKNOWN),
        ("t1.a.b", "ticket is not valid"),
        (OLD, "API key has expired"),
    ],
)
def test_refusals_do_not_tell_what_exists(credential: str | None, message: str) -> None:
    """Names, digests and all but whole keys are answered alike; only who holds a key learns that it has expired."""
    assert refusal(Access(access_settings()), credential) == (Unauthenticated, message)


def test_who_is_sent_away_is_counted() -> None:
    """A wrong key, a page of another site and a request too many: each once; who comes in is not told of."""
    told: list[StreamerError] = []
    access = Access(access_settings(), quotas=Quotas(Clock(0.0)), on_refused=told.append)
    access.caller(ADA)
    assert told == []
    for shown in (None, "streamer_nobody"):
        refusal(access, shown)
    with pytest.raises(PermissionDenied):
        access.of_websocket(request({**bearer(ADA), "origin": "https://elsewhere.example"}))
    for _ in range(2):
        access.of_request(request(bearer(BOB)))
    with pytest.raises(QuotaExceeded):
        access.of_request(request(bearer(BOB)))
    assert [type(error) for error in told] == [Unauthenticated, Unauthenticated, PermissionDenied, QuotaExceeded]


def test_a_key_expires_at_its_time() -> None:
    """Times without an offset are in UTC; the key is good until then."""
    clock = Clock(981158399.0)
    access = Access(access_settings(), clock)
    assert access.caller(OLD) == Caller("old")
    clock.now += 1
    assert refusal(access, OLD) == (Unauthenticated, "API key has expired")


def test_a_ticket_stands_for_its_key_once_and_without_its_rights() -> None:
    """The page that shows it is the caller that bought it, but gives no commands."""
    access = Access(access_settings())
    ticket = access.ticket_for(request(bearer(ROOT)))
    assert access.of_websocket(request(subprotocols=("streamer.v1", f"streamer.ticket.{ticket}"))) == Caller("root")
    assert refusal(access, ticket) == (Unauthenticated, "ticket was used before")


@pytest.mark.parametrize("show", [bearer, lambda ticket: {}], ids=["header", "query"])
def test_a_ticket_buys_no_ticket(show: Any) -> None:
    """Whoever finds one in a log cannot stay for longer."""
    access = Access(access_settings())
    ticket = access.ticket_for(request(bearer(ADA)))
    with pytest.raises(Unauthenticated, match=r"^expected an API key, got a ticket$"):
        access.ticket_for(request(show(ticket), "" if show is bearer else f"ticket={ticket}"))


def test_a_ticket_dies_with_its_key(tmp_path: Path) -> None:
    """A key that is gone after a reload, or has expired, takes its tickets along."""
    file = tmp_path / "keys.toml"
    file.write_text(f"[[keys]]\nname = 'eve'\nhash = '{digest('eve')}'\nexpires = 2001-02-03T00:00:00Z\n")
    clock = Clock(981158370.0)
    access = Access(access_settings(keys_file=file), clock)
    first, second = (access.ticket_for(request(bearer("eve"))) for _ in range(2))
    clock.now += 30
    assert refusal(access, first) == (Unauthenticated, "API key has expired")
    file.write_text("")
    access.reload()
    assert refusal(access, second) == (Unauthenticated, "ticket is not valid")


def test_keys_are_added_and_taken_away_by_a_reload(tmp_path: Path) -> None:
    """The file of keys is read again; one that is broken or empty changes nothing."""
    file = tmp_path / "keys.toml"
    file.write_text(f"[[keys]]\nname = 'eve'\nhash = '{digest('eve')}'\n")
    access = Access(AccessSection(keys_file=file))
    assert access.caller("eve") == Caller("eve")
    for text, message in (
        ("[[keys]", "is not TOML"),
        ("", "expected at least one key, got none"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidRequest, match=message):
            access.reload()
        assert access.caller("eve") == Caller("eve")
    file.write_text(f"[[keys]]\nname = 'mallory'\nhash = '{digest('mallory')}'\n")
    access.reload()
    assert refusal(access, "eve") == (Unauthenticated, UNKNOWN)
    assert access.key_names == ["mallory"]


def test_an_empty_keys_file_does_not_open_the_server(tmp_path: Path) -> None:
    """Whoever names a file wants keys."""
    (tmp_path / "keys.toml").write_text("")
    with pytest.raises(InvalidRequest, match=r"keys\.toml: expected at least one key, got none$"):
        Access(AccessSection(keys_file=tmp_path / "keys.toml"))


def test_metrics_for_admins_need_one() -> None:
    """A setting that would let nobody read the metrics is refused at start."""
    message = r"^setting access\.metrics: expected a key with admin = true, got none$"
    with pytest.raises(InvalidRequest, match=message):
        Access(AccessSection(metrics="admin_key"))
    assert Access(access_settings(metrics="admin_key")).has_admin


def test_requests_are_counted_per_key() -> None:
    """One key's rate is its own; a request that is refused for its key costs nobody anything."""
    clock = Clock()
    access = Access(access_settings(), quotas=Quotas(clock))
    for _ in range(2):
        access.of_request(request(bearer(BOB)))
        with pytest.raises(Unauthenticated):
            access.of_request(request(bearer("wrong")))
    with pytest.raises(QuotaExceeded, match=r"^expected at most 2 requests per minute, wait 30\.0 s$") as caught:
        access.of_request(request(bearer(BOB)))
    assert caught.value.retry_after_s == 30.0
    for _ in range(100):
        access.of_request(request(bearer(ADA)))
    clock.now += 30.0
    access.of_request(request(bearer(BOB)))


@pytest.mark.parametrize(
    ("origin", "origins", "allowed"),
    [
        (None, (), True),
        ("https://here.example:8443", (), True),
        ("http://HERE.example:8443", (), True),
        ("https://here.example", (), False),
        ("https://there.example", (), False),
        ("https://here.example:8443.there.example", (), False),
        ("null", (), False),
        ("", (), False),
        ("https://there.example", ("https://there.example",), True),
        ("http://there.example", ("https://there.example",), False),
        ("https://there.example", ("*",), True),
        ("null", ("null",), True),
    ],
)
@pytest.mark.parametrize("keys", ["keys", "open"])
def test_pages_of_other_sites(origin: str | None, origins: tuple[str, ...], allowed: bool, keys: str) -> None:
    """A browser names the site behind a request; by default only this host's own pages may, with keys and without."""
    access = Access(access_settings(origins=origins) if keys == "keys" else AccessSection(origins=origins))
    headers = {**bearer(ADA), "host": "here.example:8443", **({} if origin is None else {"origin": origin})}
    for ask in (access.of_request, access.of_websocket):
        if allowed:
            assert ask(request(headers)).name == ("ada" if keys == "keys" else "")
        else:
            with pytest.raises(PermissionDenied, match=rf"^pages of {origin!r} may not use this server$"):
                ask(request(headers))


HEADER = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)


@given(
    authorization=HEADER | HEADER.map("Bearer {}".format),
    origin=HEADER | HEADER.map("http://{}".format),
    query=HEADER.map("ticket={}".format) | st.text(alphabet="%0189abcdefT&=;.", max_size=40).map("ticket=t1.{}".format),
    subprotocols=st.lists(HEADER | HEADER.map("streamer.ticket.{}".format) | st.just("token"), max_size=3),
    host=HEADER,
)
@example("Bearer k", "http://[::1", "", [], "here.example")
@example("Bearer k", "http://here.example", "ticket=t1.%ff.%ff", [], "here.example")
def test_no_header_is_a_bug(authorization: str, origin: str, query: str, subprotocols: list[str], host: str) -> None:
    """Whatever headers hold, the answer is a refusal that is meant."""
    access = Access(access_settings(origins=("*",) if len(host) % 2 else ()))
    for headers in ({"authorization": authorization, "origin": origin, "host": host}, {"host": host}):
        asked = request(headers, query, tuple(subprotocols))
        for ask in (access.of_websocket, access.of_request, access.of_operator, access.ticket_for):
            with pytest.raises(StreamerError):
                ask(asked)


def test_a_request_without_host_has_no_pages() -> None:
    """Neither an opaque nor an empty origin is the same as no host."""
    for origin in ("null", "", "http://"):
        for headers in ({"origin": origin}, {"origin": origin, "host": ""}):
            with pytest.raises(PermissionDenied):
                Access().of_request(request(headers))


def test_commands_need_an_admin_unless_everybody_is_let_in() -> None:
    """A key without the right is known, and may not."""
    access = Access(access_settings())
    assert access.of_operator(request(bearer(ROOT))).name == "root"
    with pytest.raises(PermissionDenied, match=r"^expected a key with admin rights$"):
        access.of_operator(request(bearer(ADA)))
    with pytest.raises(Unauthenticated):
        access.of_operator(request())
    assert Access().of_operator(request()) == ANONYMOUS


def test_the_log_of_refusals_holds_no_credential() -> None:
    """Operators see from where and why, which is what they block by; no part of what was shown."""
    access = Access(access_settings())
    with structlog.testing.capture_logs() as events:
        for credential in ("streamer_guess", "t1.guess.guess", OLD):
            refusal(access, credential, "192.0.2.7")
        access.caller(ADA, "192.0.2.7")
    reasons = [event.pop("reason") for event in events]
    assert events == [{"event": "access refused", "log_level": "info", "address": "192.0.2.7"}] * 3
    assert reasons == [UNKNOWN, "ticket is not valid", "API key has expired"]
