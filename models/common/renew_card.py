"""Put a newer model card into a bundle: its figures are known only once the bundle has been judged.

Graphs stay what they are; the digest of the bundle changes with its manifest.
"""

import argparse
import json
from pathlib import Path

from models.common.bundle_writer import asset, write_manifest
from streamer.bundle.manifest import MANIFEST_NAME

CARD = "README.md"


def renew_card(folder: Path, card: Path) -> None:
    """Copy `card` into the bundle in `folder` and say its hash in the manifest; raises `ValueError` if it had none."""
    manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    names = [entry["file"] for entry in manifest["assets"]]
    if CARD not in names:
        raise ValueError(f"bundle {folder.name}: expected an asset {CARD}, got {', '.join(names) or 'none'}")
    manifest["assets"][names.index(CARD)] = asset(folder, card, CARD)
    write_manifest(folder, manifest)


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("card", type=Path)
    arguments = parser.parse_args()
    renew_card(arguments.bundle, arguments.card)


if __name__ == "__main__":
    main()
