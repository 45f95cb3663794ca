"""Word error rates and processor time of a finished bundle on speech that training never saw.

The bundle is heard through `streamer transcribe`, every recogniser in a process of its own.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from models.common.dev_speech import SETS, Listen, named_folder, print_table, sets
from models.common.peers import listen_with_pocketsphinx
from models.common.served_words import listen

_PEER = "PocketSphinx 5"
# Rows of a bundle: what to call them, and the flags of `streamer transcribe`.
_SEARCHES = {"greedy": ("greedy", ()), "beam": ("beam 5", ("--beam", "5"))}
ROWS = ("pocketsphinx", *_SEARCHES)


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parser().parse_args()
    recognisers: dict[str, Listen] = {_PEER: listen_with_pocketsphinx} if "pocketsphinx" in arguments.rows else {}
    for folder in arguments.bundle:
        recognisers |= recognisers_of(folder.name, folder, arguments.rows)
    for name, folder in map(named_folder, arguments.also):
        recognisers |= recognisers_of(name, folder, ("greedy",))
    spoken = sets(arguments.sets, arguments.data, arguments.synthetic)
    if arguments.first:
        spoken = ((f"{name}, first {arguments.first}", items[: arguments.first]) for name, items in spoken)
    print_table(recognisers, spoken, _PEER, arguments.examples)


def recognisers_of(name: str, bundle: Path, rows: Sequence[str]) -> dict[str, Listen]:
    """The searches of a bundle, by name in the table."""
    return {
        f"{name}, {search}": partial(listen, bundle=bundle.resolve(), options=options)
        for row, (search, options) in _SEARCHES.items()
        if row in rows
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, help="folders of bundles")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="searches of the bundles, and the peer")
    parser.add_argument("--also", nargs="+", default=(), metavar="NAME=FOLDER", help="more bundles, heard greedily")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=("librispeech", "synthetic"), help="what to hear")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--synthetic", type=int, default=60, help="synthetic sentences to speak and transcribe")
    parser.add_argument("--first", type=int, default=0, help="hear only so many recordings of each set")
    parser.add_argument("--examples", type=int, default=0, help="transcripts of each row to show")
    return parser


if __name__ == "__main__":
    main()
