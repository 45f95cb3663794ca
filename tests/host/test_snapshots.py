"""Files of whole streams: written in one piece, read once, and never believed blindly."""

from __future__ import annotations

import dataclasses
import hmac
import io
import os
from pathlib import Path

import numpy as np
import pytest

from streamer.host.snapshots import SavedStream, SnapshotStore
from streamer.host.tokens import Identity

IDENTITY = Identity("0a1b", "alice", "toy@1.0.0", "d" * 64, "c" * 32, 90.0)
SECRET = b"only the server knows"
STREAM = SavedStream(IDENTITY, {"version": 3, "text": "é"}, {"keys": np.float32([[1.5, -2.0]]), "n": np.int64([7])})


def stored(folder: Path) -> SnapshotStore:
    store = SnapshotStore(folder / "streams", 60.0, SECRET)
    store.save(STREAM).result()
    return store


def write_sealed(path: Path, **arrays: np.ndarray) -> None:
    """A file whose seal is right, of what the server would not have written."""
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    seal = hmac.digest(SECRET, b"streamer snapshot\0" + data.getvalue(), "sha256")
    path.write_bytes(seal + data.getvalue())


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Not even to a snapshot that would do; the link is gone, what it leads to is not."""
    store = stored(tmp_path)
    (path,) = (tmp_path / "streams").iterdir()
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    assert store.take("0a1b") is None
    assert not path.is_symlink()
    assert elsewhere.exists()


def test_a_stream_is_read_once(tmp_path: Path) -> None:
    """What was written comes back, with its types, and the file is gone."""
    store = stored(tmp_path)
    (path,) = (tmp_path / "streams").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    found = store.take("0a1b")
    assert found is not None
    assert (found.identity, found.session) == (IDENTITY, STREAM.session)
    for name, tensor in STREAM.tensors.items():
        assert (found.tensors[name].dtype, found.tensors[name].tolist()) == (tensor.dtype, tensor.tolist())
    assert store.take("0a1b") is None
    assert list((tmp_path / "streams").iterdir()) == []


def test_an_old_file_is_not_taken(tmp_path: Path) -> None:
    """Nor does it stay, whether its client comes back or not."""
    store = stored(tmp_path)
    (path,) = (tmp_path / "streams").iterdir()
    os.utime(path, (1000, 1000))
    assert store.take("0a1b") is None
    assert not path.exists()
    store.save(STREAM).result()
    store.sweep()
    assert path.exists()
    os.utime(path, (1000, 1000))
    store.sweep()
    assert not path.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "version", "pickle", "seal", "other secret"])
def test_a_damaged_file_is_not_taken(tmp_path: Path, damage: str) -> None:
    """Whatever is in it: the stream is resumed by replay then."""
    store = stored(tmp_path)
    (path,) = (tmp_path / "streams").iterdir()
    data = path.read_bytes()
    if damage == "version":
        write_sealed(path, meta=np.frombuffer(b'{"version": 1}', np.uint8))
    elif damage == "pickle":
        write_sealed(path, meta=np.array([{"version": 1}], object))
    elif damage == "other secret":
        path.unlink()
        SnapshotStore(path.parent, 60.0, b"another").save(STREAM).result()
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": data[:-30], "flipped": flipped, "seal": data[1:]}[damage])
    assert store.take("0a1b") is None
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_no_disaster(tmp_path: Path) -> None:
    """A snapshot is a convenience: without it there is replay."""
    (tmp_path / "streams").write_text("a file")
    SnapshotStore(tmp_path / "streams", 60.0, SECRET).save(STREAM).result()


def test_session_ids_are_no_paths(tmp_path: Path) -> None:
    """A name that leads elsewhere is a bug, not a file."""
    store = SnapshotStore(tmp_path, 60.0, SECRET)
    for name in ("../x", "", "a/b", "A"):
        with pytest.raises(ValueError, match="session id"):
            store.take(name)
    with pytest.raises(ValueError, match="session id"):
        store.save(dataclasses.replace(STREAM, identity=dataclasses.replace(IDENTITY, session_id="../x"))).result()
