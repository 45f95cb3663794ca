"""Options of `streamer transcribe` that say how words are searched for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.errors import InvalidRequest

if TYPE_CHECKING:
    from streamer.session.messages import Decoding, Hotword

Beam = Annotated[
    int | None, typer.Option("--beam", help="Search with so many hypotheses, not greedily.", show_default=False)
]
LmScale = Annotated[
    float | None,
    typer.Option(help="Weight of the language model in a beam; 0 does without it.", show_default=False),
]
HotwordFile = Annotated[
    Path | None,
    typer.Option("--hotwords", help="Likely phrases, one a line, with ' :BOOST' after it or not.", show_default=False),
]
HotwordPhrases = Annotated[
    list[str] | None,
    typer.Option("--hotword", help="A likely phrase, as a line of --hotwords. Repeatable.", show_default=False),
]
NBest = Annotated[int | None, typer.Option(help="Best texts of each segment, in JSON.", show_default=False)]

_BOOSTED = re.compile(r"(.*\S)\s+:(\S*)")


def decoding_of(
    beam: int | None, lm_scale: float | None, hotwords: Path | None, phrases: Sequence[str], n_best: int | None
) -> Decoding:
    """Return the options of every stream; raises `InvalidRequest` for a bad one or a file that cannot be read."""
    from streamer.session.messages import Decoding
    from streamer.tasks.decoding import check_decoding

    given = {"beam": beam, "lm_scale": lm_scale, "n_best": n_best}
    decoding = Decoding(
        method="" if beam is None else "beam",
        hotwords=(*_read(hotwords), *_hotwords("--hotword", enumerate(phrases, 1))),
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    check_decoding(decoding)
    return decoding


def _read(path: Path | None) -> Iterable[Hotword]:
    if path is None:
        return ()
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {(error.strerror or 'failed').lower()}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"cannot read {path}: expected UTF-8") from None
    return _hotwords(
        f"{path} line", ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    )


def _hotwords(where: str, lines: Iterable[tuple[int, str]]) -> Iterator[Hotword]:
    from streamer.session.messages import Hotword

    for number, line in lines:
        boosted = _BOOSTED.fullmatch(line.strip())
        if boosted is None:
            yield Hotword(line.strip())
            continue
        try:
            yield Hotword(boosted[1], float(boosted[2]))
        except ValueError:
            raise InvalidRequest(f"{where} {number}: expected a number after ':', got {boosted[2]!r}") from None
