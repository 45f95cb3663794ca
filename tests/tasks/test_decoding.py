"""The options of a search."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest

from streamer.errors import InvalidRequest
from streamer.tasks.decoding import (
    LONGEST_HOTWORD,
    MOST_HOTWORDS,
    Decoding,
    Hotword,
    check_decoding,
)

PHRASES = (Hotword("ada lovelace", 3.0), Hotword("turing"))


@pytest.mark.parametrize(
    ("decoding", "is_beam"),
    [
        (Decoding(), False),
        (Decoding(beam=8), False),
        (Decoding(lm_scale=0.0), False),
        (Decoding(method="greedy"), False),
        (Decoding(method="beam"), True),
        (Decoding(lm_scale=0.3), True),
        (Decoding(hotwords=PHRASES), True),
        (Decoding(n_best=2), True),
    ],
)
def test_a_beam_is_kept_where_something_needs_it(decoding: Decoding, is_beam: bool) -> None:
    """Without a method the options decide; the width of a beam alone asks for none."""
    check_decoding(decoding)
    assert decoding.is_beam is is_beam


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding("beam", 1, 5, (), 0, 1),
        Decoding("beam", 16, 0.0, PHRASES, 20.0, 16),
        Decoding(hotwords=tuple(Hotword(f"{n:064}") for n in range(MOST_HOTWORDS))),
    ],
)
def test_limits_are_allowed(decoding: Decoding) -> None:
    """Every bound belongs to its range."""
    check_decoding(decoding)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "viterbi"}, "method: expected greedy, beam or nothing, got 'viterbi'"),
        ({"beam": 0}, "beam: expected an integer from 1 to 16, got 0"),
        ({"beam": 17}, "beam: expected an integer from 1 to 16, got 17"),
        ({"beam": 4.0}, "beam: expected an integer from 1 to 16, got 4.0"),
        ({"beam": True}, "beam: expected an integer from 1 to 16, got True"),
        ({"lm_scale": -0.1}, "lm_scale: expected a number from 0 to 5, got -0.1"),
        ({"lm_scale": 5.1}, "lm_scale: expected a number from 0 to 5, got 5.1"),
        ({"lm_scale": math.nan}, "lm_scale: expected a number from 0 to 5, got nan"),
        ({"lm_scale": "1"}, "lm_scale: expected a number from 0 to 5, got '1'"),
        ({"hotword_boost": -1.0}, "hotword_boost: expected a number from 0 to 20, got -1.0"),
        ({"hotword_boost": math.inf}, "hotword_boost: expected a number from 0 to 20, got inf"),
        ({"n_best": 0}, "n_best: expected an integer from 1 to beam, 4, got 0"),
        ({"n_best": 5}, "n_best: expected an integer from 1 to beam, 4, got 5"),
        ({"hotwords": (Hotword("a"), Hotword(" "))}, "hotwords[1]: expected a phrase, got ' '"),
        ({"hotwords": (Hotword(""),)}, "hotwords[0]: expected a phrase, got ''"),
        ({"hotwords": (Hotword("x" * 65),)}, "hotwords[0]: expected at most 64 characters, got 65"),
        ({"hotwords": (Hotword("a", 20.5),)}, "hotwords[0] boost: expected a number from 0 to 20, got 20.5"),
        ({"hotwords": (Hotword("a"), Hotword("a", 2.0))}, "hotwords[1]: expected each phrase once, got 'a'"),
        ({"hotwords": (Hotword("a"),) * 501}, "hotwords: expected at most 500 phrases, got 501"),
        ({"method": "greedy", "hotwords": PHRASES}, "hotwords: expected method beam, got greedy"),
        ({"method": "greedy", "n_best": 2}, "n_best: expected method beam, got greedy"),
        ({"method": "greedy", "lm_scale": 0.5}, "lm_scale: expected method beam, got greedy"),
    ],
)
def test_refuses_what_no_search_can_do(changes: dict[str, Any], message: str) -> None:
    """Each refusal names the option, what was expected and what was there."""
    with pytest.raises(InvalidRequest) as refusal:
        check_decoding(Decoding(**changes))
    assert str(refusal.value) == f"decoding {message}"


def test_options_survive_json() -> None:
    """What a snapshot holds gives the options back, tuples and all."""
    decoding = Decoding("beam", 8, 0.5, PHRASES, 2.0, 3)
    assert Decoding.of(json.loads(json.dumps(asdict(decoding)))) == decoding


def test_the_longest_list_fits_a_message() -> None:
    """As many phrases as are allowed, each as long as allowed, are one WebSocket message."""
    from streamer.session.messages import Config
    from streamer.wire.json import MAX_TEXT_CHARACTERS, encode_client

    hotwords = tuple(Hotword(f"{n:0{LONGEST_HOTWORD}}", 10.25) for n in range(MOST_HOTWORDS))
    config = Config("pcm_s16le", 16000, 1, decoding=Decoding(hotwords=hotwords))
    assert len(encode_client(config)) < MAX_TEXT_CHARACTERS
