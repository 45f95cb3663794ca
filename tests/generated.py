"""Check that generated files are what their sources generate: `python tests/generated.py` (run by `make check`)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

from streamer.bundle.manifest import manifest_schema

ROOT = Path(__file__).resolve().parent.parent


def stale_files() -> list[str]:
    """Return the committed files that differ from what their sources generate."""
    protos = sorted(str(path) for path in (ROOT / "proto" / "streamer").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "pyi")]
        if protoc.main(["protoc", f"-I{ROOT / 'proto'}", *outputs, *protos]) != 0:
            return ["proto/ does not compile"]
        fresh = {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*.py*")}
        riva = Path(folder, "riva.binpb")
        outputs = ["--include_imports", f"--descriptor_set_out={riva}", str(ROOT / "proto/riva/proto/riva_asr.proto")]
        if protoc.main(["protoc", f"-I{ROOT / 'proto'}", *outputs]) != 0:
            return ["proto/riva does not compile"]
        fresh[Path("streamer/gateway/riva/descriptors.binpb")] = riva.read_bytes()
    fresh[Path("streamer/bundle/manifest.schema.json")] = manifest_schema().encode()
    return [str(path) for path, data in fresh.items() if not _same(ROOT / path, data)]


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


if __name__ == "__main__":
    stale = stale_files()
    for name in stale:
        sys.stderr.write(f"{name} is not up to date, run `make proto` or `python -m streamer.bundle.manifest`\n")
    sys.exit(1 if stale else 0)
