"""The page's modules that need no page, run in the browser."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.session.messages import Alternative
from streamer.transcripts.formats import Format, render
from streamer.transcripts.transcript import Segment, Transcript, Word
from tests.page.browser import Visit, visiting
from tests.page.serving import Site

LETTERS = "abc éß&<>-字😀"


@pytest.fixture(scope="module")
def page(mute: Any, site: Site) -> Iterator[Visit]:
    with visiting(mute, site.url()) as page:
        yield page


def random_segment(rng: random.Random, start: int) -> Segment:
    """Words at samples of 16 kHz, so that many times lie between two milliseconds."""
    words, at = [], start
    for _ in range(rng.randrange(0, 40)):
        at += rng.choice((0, 800, 20_000, rng.randrange(5000)))
        end = at + rng.randrange(1, 9000)
        text = "".join(rng.choice(LETTERS.replace(" ", "")) for _ in range(rng.randrange(1, 12)))
        words.append(Word(text, at / 16_000, end / 16_000, rng.random()))
        at = end
    text = " ".join(word.word for word in words)
    # Some models say no times.
    kept = tuple(words) if rng.random() < 0.8 else ()
    alternatives = (Alternative(text, 0.5), Alternative("other", rng.random())) if rng.random() < 0.3 else ()
    return Segment(start / 16_000, (at + 3) / 16_000, text, rng.random(), rng.random() < 0.5, kept, alternatives)


def random_transcript(seed: int) -> Transcript:
    rng = random.Random(seed)
    segments = tuple(random_segment(rng, rng.randrange(60_000_000)) for _ in range(rng.randrange(5)))
    return Transcript("a file.wav", rng.randrange(1 << 24) / 16_000, "asr@1", segments)


def as_page(transcript: Transcript) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        names = value.__dataclass_fields__
        return {name: _plain(getattr(value, name)) for name in names}

    def _plain(value: Any) -> Any:
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return plain(transcript)


def test_formats_are_those_of_the_command_line(page: Visit) -> None:
    """Text, SubRip, WebVTT and JSON of 60 random transcripts equal what `streamer transcribe` writes."""
    transcripts = [random_transcript(seed) for seed in range(60)]
    written = page.call(
        """async (transcripts) => {
          const { FORMATS } = await import("/page/formats.js");
          const names = Object.keys(FORMATS);
          return transcripts.map((one) => Object.fromEntries(names.map((name) => [name, FORMATS[name].render(one)])));
        }""",
        [as_page(transcript) for transcript in transcripts],
    )
    for transcript, files in zip(transcripts, written, strict=True):
        assert files["txt"] == render(transcript, Format.TEXT)
        assert files["srt"] == render(transcript, Format.SRT)
        assert files["vtt"] == render(transcript, Format.VTT)
        assert json.loads(files["json"]) == json.loads(render(transcript, Format.JSON))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_wav_files_are_read(subtype: str, container: str, page: Visit) -> None:
    """Every common kind of sample, mono and with two channels averaged, also over the edge of a piece."""
    rng = np.random.default_rng(1)
    # More than one piece, and fewer samples than one.
    for channels, count in ((1, 65_600 if subtype == "PCM_16" else 600), (2, 500)):
        file = io.BytesIO()
        soundfile.write(file, rng.uniform(-1, 1, (count, channels)), 22_050, subtype, format=container)
        samples = page.call(
            """async (text) => {
              const { openWav } = await import("/page/wav.js");
              const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
              const wav = await openWav(new File([bytes], "a.wav"));
              const found = [wav.rate, wav.samples];
              for await (const piece of wav.pieces()) found.push(...piece);
              return found;
            }""",
            base64.b64encode(file.getvalue()).decode(),
        )
        file.seek(0)
        floats = soundfile.read(file, dtype="float32", always_2d=True)[0]
        mean = floats[:, 0] if channels == 1 else floats[:, 0] / np.float32(2) + floats[:, 1] / np.float32(2)
        # Halves go up.
        expected = np.clip(np.floor(mean.astype(np.float64) * 32768 + 0.5), -32768, 32767)
        assert samples[:2] == [22_050, count]
        assert np.array_equal(samples[2:], expected)


@pytest.mark.parametrize("damage", ["no data", "cut off", "too long"])
def test_damaged_wav_files(damage: str, page: Visit) -> None:
    """What a recorder left that was cut off is read as far as it goes; a file without sound is no such file."""
    file = io.BytesIO()
    soundfile.write(file, np.arange(1000, dtype=np.int16), 16_000, "PCM_16", format="WAV")
    content = bytearray(file.getvalue())
    if damage == "no data":
        content = content[:40]
    elif damage == "cut off":
        content = content[:-1001]
    else:
        content[40:44] = (0).to_bytes(4, "little")
    samples = page.call(
        """async (bytes) => {
          const { openWav } = await import("/page/wav.js");
          return (await openWav(new File([new Uint8Array(bytes)], "a.wav")))?.samples ?? null;
        }""",
        list(content),
    )
    assert samples == {"no data": None, "cut off": 499, "too long": 1000}[damage]


def test_the_tape_keeps_what_may_be_wanted_again(page: Visit) -> None:
    """Reads give what was appended wherever frames end; old frames go, and the file has them all the same."""
    found = page.call(
        """async () => {
          const { Tape } = await import("/page/tape.js");
          const tape = new Tape(1000, 5000);
          const sound = Int16Array.from({ length: 23000 }, (_, i) => i);
          for (let at = 0; at < sound.length; at += 70) tape.append(sound.slice(at, at + 70));
          const starts = [tape.start];
          const wrong = [];
          for (let from = tape.start; from <= tape.end; from += 13) {
            for (const most of [1, 50, 70, 71, 500]) {
              const read = tape.read(from, most);
              const wanted = Math.min(most, tape.end - from);
              const right = read.length === wanted && read.every((value, i) => value === from + i);
              if (!right) wrong.push([from, most, read.length]);
            }
          }
          tape.forgetBefore(20001);
          starts.push(tape.start);
          tape.forgetBefore(30000);
          starts.push(tape.start);
          let refused = "";
          try { tape.read(0, 1); } catch (error) { refused = String(error); }
          const file = new Int16Array((await tape.wav().arrayBuffer()).slice(44));
          const same = file.every((value, i) => value === i);
          return { starts, wrong, refused, end: tape.end, same, length: file.length };
        }"""
    )
    assert found == {
        # The first frame that reaches into the last 5000 samples; then the frame that holds 20001.
        "starts": [17_990, 19_950, 23_000],
        "wrong": [],
        "refused": "RangeError: expected a sample from 23000 on, got 0",
        "end": 23_000,
        "same": True,
        "length": 23_000,
    }


def test_hotwords_are_read_as_in_files(page: Visit) -> None:
    """One phrase a line, with or without a boost of its own; empty lines say nothing."""
    found = page.call(
        """async (text) => (await import("/page/protocol.js")).parseHotwords(text)""",
        "ada lovelace\n\n  harbour : office :3 \nratio 3:4x\n:2\n",
    )
    assert found == [
        {"phrase": "ada lovelace"},
        {"phrase": "harbour : office", "boost": 3},
        {"phrase": "ratio 3:4x"},
        {"phrase": "", "boost": 2},
    ]


def test_the_lag_adds_up(page: Visit) -> None:
    """The server's lag, the shortest of the latest trips, and what waits here; a new connection knows no trips."""
    found = page.call(
        """async () => {
          const { LagMeter } = await import("/page/meters.js");
          const lag = new LagMeter();
          const totals = [lag.totalMs];
          for (let i = 1; i <= 20; i++) lag.sent(800 * i, 50 * i);
          lag.flow({ received_sample: 1600, lag_ms: 30 }, 150);
          totals.push(lag.totalMs);
          lag.flow({ received_sample: 3200, lag_ms: 20 }, 220);
          lag.flow({ received_sample: 3333, lag_ms: 25 }, 230);
          totals.push(lag.totalMs);
          lag.waitingMs = 500;
          totals.push(lag.totalMs);
          lag.reset();
          totals.push(lag.totalMs);
          return totals;
        }"""
    )
    # Sample 1600 left at 100 ms and 3200 at 200 ms.
    assert found == [None, 30 + 50, 25 + 20, 25 + 20 + 500, 25 + 500]


def test_a_level_of_nothing_is_noticed(page: Visit) -> None:
    """Seconds without sound are silence, a sample at full scale is too loud, and peaks are held for a while."""
    found = page.call(
        """async () => {
          const { LevelMeter } = await import("/page/meters.js");
          const meter = new LevelMeter();
          const seen = [];
          const take = (peak, now) => {
            meter.take({ peak, rms: peak / 2 }, now);
            seen.push([Math.round(meter.heldDb), meter.clipped, meter.isSilent]);
          };
          take(1, 0); take(0.1, 1000); take(0.1, 1300); take(0.001, 5200); take(0.001, 5400); take(0.1, 5500);
          return seen;
        }"""
    )
    assert found == [
        [0, True, False],
        [0, True, False],
        [-20, False, False],
        [-60, False, False],
        [-60, False, True],
        [-20, False, False],
    ]


def test_words_are_found_in_their_text(page: Visit) -> None:
    """Text is words and what is between them, to the letter, also where a word is not in the text."""
    found = page.call(
        """async () => {
          const { partsOf } = await import("/page/transcript.js");
          const words = [{ word: "the" }, { word: "other" }, { word: "gone" }, { word: "the" }];
          return partsOf({ text: "The the other, the end", words }).map((part) => [part.text, part.word !== null]);
        }"""
    )
    assert found == [
        ["The ", False],
        ["the", True],
        [" ", False],
        ["other", True],
        [", ", False],
        ["the", True],
        [" end", False],
    ]
