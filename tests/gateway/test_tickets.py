"""Tickets are good once, and not for long."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Unauthenticated
from streamer.gateway.tickets import Tickets
from tests.clock import Clock

SECRET = b"0123456789abcdef0123456789abcdef"
NOT_VALID = r"^ticket is not valid$"


def tickets_at(now: float, secret: bytes = SECRET) -> tuple[Tickets, Clock]:
    clock = Clock(now)
    return Tickets(secret, 60, clock), clock


@given(st.text(alphabet="abcXYZ019._-", max_size=64), st.floats(1e9, 2e9))
def test_a_ticket_returns_its_name_once(name: str, now: float) -> None:
    """Any name comes back, the second time it does not."""
    tickets, _ = tickets_at(now)
    ticket = tickets.issue(name)
    assert tickets.redeem(ticket) == name
    with pytest.raises(Unauthenticated, match=r"^ticket was used before$"):
        tickets.redeem(ticket)


def test_a_ticket_fits_where_browsers_carry_it() -> None:
    """It holds only characters of tokens (RFC 9110, 5.6.2), so a subprotocol or a URL can hold it."""
    ticket = tickets_at(1e9)[0].issue("x" * 64)
    assert set(ticket) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert len(ticket) < 256


def test_a_ticket_expires() -> None:
    """It is good for its lifetime and no moment longer."""
    tickets, clock = tickets_at(1000.0)
    first, second = tickets.issue("ada"), tickets.issue("ada")
    clock.now = 1059.9
    assert tickets.redeem(first) == "ada"
    clock.now = 1060.0
    with pytest.raises(Unauthenticated, match=r"^ticket has expired$"):
        tickets.redeem(second)


def test_a_used_ticket_is_remembered_as_long_as_it_could_be_good() -> None:
    """However the lifetimes and periods of the memory fall, no ticket is good twice."""
    for start in range(1000, 1070, 3):
        for used_after in range(0, 60, 7):
            tickets, clock = tickets_at(float(start))
            ticket = tickets.issue("ada")
            clock.now = start + used_after
            tickets.redeem(ticket)
            for again in range(start + used_after, start + 60):
                clock.now = again
                tickets.redeem(tickets.issue("bob"))
                with pytest.raises(Unauthenticated, match="used before"):
                    tickets.redeem(ticket)


def test_used_tickets_are_forgotten() -> None:
    """Memory holds the tickets of two lifetimes, however many were used before."""
    tickets, clock = tickets_at(1000.0)
    for _ in range(1000):
        tickets.redeem(tickets.issue("ada"))
        clock.now += 1.0
    assert len(tickets._used) + len(tickets._used_before) <= 120


def test_processes_that_share_the_secret_take_each_others_tickets() -> None:
    """And those that do not, do not."""
    ticket = tickets_at(1000.0)[0].issue("ada")
    assert tickets_at(1001.0)[0].redeem(ticket) == "ada"
    with pytest.raises(Unauthenticated, match=NOT_VALID):
        tickets_at(1001.0, b"another secret of thirty-two bytes")[0].redeem(ticket)


def test_no_change_of_a_ticket_is_good() -> None:
    """A ticket with any character of its body or signature replaced is refused, and the true one is still good."""
    tickets, _ = tickets_at(1000.0)
    ticket = tickets.issue("ada")
    # The last character of each part holds bits that are not used.
    ends = {len(ticket) - 1, ticket.rindex(".") - 1}
    for place in sorted(set(range(3, len(ticket))) - ends):
        for other in set("aZ0-_.=") - {ticket[place]}:
            with pytest.raises(Unauthenticated, match=NOT_VALID):
                tickets.redeem(ticket[:place] + other + ticket[place + 1 :])
    assert tickets.redeem(ticket) == "ada"


@given(st.text() | st.text(alphabet="abc.-_=", max_size=40))
def test_no_text_is_a_ticket(text: str) -> None:
    """Junk after the prefix is refused like a forgery."""
    with pytest.raises(Unauthenticated, match=NOT_VALID):
        tickets_at(1000.0)[0].redeem("t1." + text)


def test_a_body_without_a_signature() -> None:
    """Who knows the form but not the secret gets nowhere."""
    body = base64.urlsafe_b64encode(b"9999999999:00:admin").rstrip(b"=").decode()
    for mac in ("", body, "A" * 43):
        with pytest.raises(Unauthenticated, match=NOT_VALID):
            tickets_at(1000.0)[0].redeem(f"t1.{body}.{mac}")
