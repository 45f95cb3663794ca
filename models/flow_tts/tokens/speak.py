"""Say the held-out prompts by the token path and write a NAME.wav for each clip, as `evaluate --ours-wavs` reads them.

Ways: `whole`, all text known before the speech; `streamed`, text that comes word by word while speech goes out;
`copied`, the tokens of the recording itself, which tells what the tokeniser and the flow alone do to a voice. With
`--text` and a lexicon it says texts instead, to `text0.wav` and on.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch

from models.common.text import normalise
from models.flow_tts.acoustic_data import recordings
from models.flow_tts.alignments import Aligned, read_alignments
from models.flow_tts.config import RATE
from models.flow_tts.cosyvoice.settings import Sampling
from models.flow_tts.symbols import BEGIN, GAP, IDS, PAUSES
from models.flow_tts.tokens.data import tokenised, utterance
from models.flow_tts.tokens.decoding import Speech
from models.flow_tts.tokens.flow import TokenFlow, load_flow
from models.flow_tts.tokens.layouts import Blocks
from models.flow_tts.tokens.lm import SpeechLm, load_lm
from models.flow_tts.tokens.streaming import Sound
from models.flow_tts.tokens.tokeniser import load_tokeniser
from models.flow_tts.transcribing import Transcriber
from models.flow_tts.vocoder import Vocoder, load_vocoder

WAYS = ("whole", "streamed", "copied")


@dataclass(frozen=True)
class Speaker:
    """Symbols to samples. `chunk` is how many tokens are made at once, None as in training."""

    lm: SpeechLm
    blocks: Blocks
    flow: TokenFlow
    vocoder: Vocoder
    sampling: Sampling = field(default_factory=Sampling)
    chunk: int | None = None

    def whole(self, symbols: Sequence[str], seed: int = 0) -> np.ndarray:
        """Samples f32[n] of a text that is all known."""
        return self.sound(self._speech(seed).speak(_ids(symbols)), seed)

    def streamed(self, parts: Iterable[Sequence[str]], seed: int = 0) -> Iterator[np.ndarray]:
        """Samples as they come while parts of a text arrive: after each part what it allows, then the rest."""
        speech, sound = self._speech(seed), Sound(self.flow, self.vocoder, seed, self.chunk)
        for part in parts:
            yield sound.push(speech.push(_ids(part)))
        yield sound.push(speech.finish())
        yield sound.finish()

    def sound(self, tokens: Iterable[int], seed: int = 0) -> np.ndarray:
        """Samples f32[n] of tokens."""
        sound = Sound(self.flow, self.vocoder, seed, self.chunk)
        return np.concatenate([sound.push(tokens), sound.finish()])

    def _speech(self, seed: int) -> Speech:
        return Speech(self.lm, seed, self.blocks, self.sampling)


def words_of(symbols: Sequence[str]) -> list[list[str]]:
    """Parts as a text comes word by word: each word with the boundary before it, the last with the one after it too."""
    parts: list[list[str]] = []
    for symbol in symbols:
        if not parts or symbol in (BEGIN, GAP, *PAUSES):
            parts.append([])
        parts[-1].append(symbol)
    return [*parts[:-2], parts[-2] + parts[-1]] if len(parts) > 1 and len(parts[-1]) == 1 else parts


def prompts(folder: Path, split: str, count: int) -> list[Aligned]:
    """The first clip of each distinct prompt of a split, up to `count` of them."""
    found: dict[str, Aligned] = {}
    for one in read_alignments(folder, split):
        found.setdefault(normalise(one.clip.text), one)
    return list(found.values())[:count]


def load(folder: Path, vocoder: Path | None = None, **how: object) -> Speaker:
    """Read `lm`, `flow` and `vocoder` of a folder of checkpoints, each in a folder of its own."""
    lm, blocks = load_lm(folder / "lm" / "checkpoint.pt")
    flow = load_flow(folder / "flow" / "checkpoint.pt")
    made = load_vocoder(vocoder or folder / "vocoder" / "checkpoint.pt")
    return Speaker(lm, blocks, flow, made, **how)  # type: ignore[arg-type]


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    sampling = Sampling(arguments.top_p, arguments.top_k, arguments.window, arguments.tau)
    speaker = load(arguments.checkpoints, arguments.vocoder, sampling=sampling, chunk=arguments.chunk)
    arguments.out.mkdir(parents=True, exist_ok=True)
    copies = _copies(arguments) if arguments.way == "copied" else {}
    for name, symbols in _chosen(arguments):
        if arguments.way == "streamed":
            samples = np.concatenate([*speaker.streamed(words_of(symbols), arguments.seed)])
        elif arguments.way == "whole":
            samples = speaker.whole(symbols, arguments.seed)
        else:
            samples = speaker.sound(copies[name], arguments.seed)
        soundfile.write(arguments.out / f"{name}.wav", samples, RATE, "PCM_16")
        print(f"{name}: {len(samples) / RATE:.2f} s", flush=True)


def _chosen(arguments: argparse.Namespace) -> list[tuple[str, Sequence[str]]]:
    """Names of files and the symbols that are to be said in each."""
    if arguments.text:
        to_symbols = Transcriber(arguments.lexicon)
        return [(f"text{number}", to_symbols(text)) for number, text in enumerate(arguments.text)]
    found = prompts(arguments.pool, arguments.split, arguments.sentences)
    return [(Path(one.clip.audio).stem, one.symbols) for one in found]


def _copies(arguments: argparse.Namespace) -> dict[str, list[int]]:
    """Tokens of the recordings of a split by name."""
    tokeniser = load_tokeniser(arguments.checkpoints / "tokeniser" / "checkpoint.pt")
    clips = [Path(one.clip.audio).stem for one in read_alignments(arguments.pool, arguments.split)]
    found = tokenised(tokeniser, [utterance(one) for one in recordings(arguments.pool, arguments.split)])
    return {name: one.tokens.tolist() for name, one in zip(clips, found, strict=True)}


def _ids(symbols: Sequence[str]) -> list[int]:
    return [IDS[symbol] for symbol in symbols]


def _parse() -> argparse.Namespace:
    usual = Sampling()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of lm, flow, vocoder and tokeniser")
    parser.add_argument("--vocoder", type=Path, help="checkpoint of vocoder_train, if it is elsewhere")
    parser.add_argument("--pool", type=Path, help="folder of the recordings and their alignments")
    parser.add_argument("--text", nargs="+", default=[], help="texts to say in place of the pool's prompts")
    parser.add_argument("--lexicon", type=Path, help="the asset lexicon.txt.gz, to pronounce them")
    parser.add_argument("--split", default="dev", help="whose prompts are spoken")
    parser.add_argument("--sentences", type=int, default=100, help="how many of them")
    parser.add_argument("--way", choices=WAYS, default="whole")
    parser.add_argument("--chunk", type=int, help="tokens that are made at once, by default as in training")
    parser.add_argument("--top-p", type=float, default=usual.top_p)
    parser.add_argument("--top-k", type=int, default=usual.top_k)
    parser.add_argument("--window", type=int, default=usual.win_size, help="last tokens among which one may not be")
    parser.add_argument("--tau", type=float, default=usual.tau_r, help="this share of them, or it is banned")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.text and (arguments.lexicon is None or arguments.way == "copied"):
        parser.error("--text: expected --lexicon beside it, and a way other than copied")
    if not arguments.text and arguments.pool is None:
        parser.error("expected --pool or --text, got neither")
    return arguments


if __name__ == "__main__":
    main()
