"""Word error rates and processor time of a finished bundle on speech that training never saw, beside PocketSphinx 5.

The bundle is heard through `streamer transcribe`, every recogniser in a process of its own.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from models.common.dev_speech import SETS, Listen, named_folder, print_table, sets
from models.common.peers import listen_with_pocketsphinx
from models.common.served_words import listen

BUNDLE = Path(__file__).parents[2] / "streamer" / "bundles" / "asr-en"
_PEER = "PocketSphinx 5"
# Rows of the bundle: what to call them, and the flags of `streamer transcribe`.
_SEARCHES = {
    "greedy": ("greedy", ()),
    "beam": ("beam 8", ("--beam", "8", "--lm-scale", "0")),
    "lm": ("beam 8, language model", ("--beam", "8")),
}
ROWS = ("pocketsphinx", *_SEARCHES)


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parser().parse_args()
    recognisers = recognisers_of(arguments.bundle, arguments.rows, dict(map(named_folder, arguments.also)))
    spoken = sets(arguments.sets, arguments.data, arguments.synthetic)
    print_table(recognisers, spoken, _PEER, arguments.examples)


def recognisers_of(bundle: Path, rows: Sequence[str], also: Mapping[str, Path]) -> dict[str, Listen]:
    """Who hears the recordings, by name in the table: the peer first, since the others are compared with it."""
    found: dict[str, Listen] = {_PEER: listen_with_pocketsphinx} if "pocketsphinx" in rows else {}
    for row, (search, options) in _SEARCHES.items():
        if row in rows:
            found[f"{bundle.name}, {search}"] = partial(listen, bundle=bundle.resolve(), options=options)
    for name, folder in also.items():
        found[name] = partial(listen, bundle=folder.resolve())
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the bundle")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="searches of the bundle, and the peer")
    parser.add_argument("--also", nargs="+", default=(), metavar="NAME=FOLDER", help="more bundles, heard greedily")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=("librispeech", "synthetic"), help="what to hear")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--synthetic", type=int, default=150, help="synthetic sentences to speak and transcribe")
    parser.add_argument("--examples", type=int, default=0, help="transcripts of each row to show")
    return parser


if __name__ == "__main__":
    main()
