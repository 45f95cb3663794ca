"""What the manifest of a neural codec says: its graphs, its rates, and how its codes are written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.audio.snc1 import (
    ENTROPY_MODES,
    FLOAT_NETWORK,
    MAX_BITS_PER_BOOK,
    MAX_BOOKS,
    NETWORK,
    RAW,
    TABLES,
    Header,
)
from streamer.bundle.manifest import Audio, Graph, Manifest, Tensor
from streamer.bundle.runtime import REPEATABLE, Runtime
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.code_tables import CodeTables
from streamer.tasks.codec_networks import EntropyNetwork, Predictor, networks_of, read_tables, tables_of
from streamer.tasks.roles import Roles

PROGRAM = "codec"
# What a frame that is decoded may be.
ORDINARY, LOST, SILENT = range(3)
_MODES = {"": RAW} | {name: mode for mode, name in enumerate(ENTROPY_MODES)}


@dataclass(frozen=True, slots=True)
class CodecModel:
    """A codec, checked against its manifest.

    Roles: `pcm` (input, float32 `[frames, frame_samples]`) and `codes` (output, int64 `[frames, books]`) of one graph;
    `received_codes` (input, int64 `[frames, books]`, -1 where a book is not there), `frame_kind` (input, int64
    `[frames]`: 0 ordinary, 1 lost, 2 silent) and `decoded` (output, float32 `[frames, frame_samples]`) of another; and
    those of `EntropyNetwork`, one or two, and `Predictor` if there are any. Parameters: `frame_samples`, `books`,
    `bits_per_book`, `delay_samples` (how much later a sample leaves the decoder than it entered the encoder, a frame's
    time aside), `rates` ("1500:3,3000:6", bits per second and their books), `default_rate`, `coarse_books` (of the
    networks) and optionally `silence_dbfs`. Asset: `tables`, if codes may be written by tables or by a network.

    `fingerprints` mark the streams of each entropy mode, 8 bytes: of the decoder, and of what its codes are written by,
    in that of the float network with the `runtime` of the engine.
    """

    name: str
    encode: Graph
    pcm: str
    codes: str
    decode: Graph
    received: str
    kind: str
    decoded: str
    audio: Audio
    sample_rate: int
    frame_samples: int
    books: int
    bits: int
    delay_samples: int
    rates: Mapping[int, int]
    default_rate: int
    silence_dbfs: float | None
    tables: CodeTables | None
    networks: Mapping[int, EntropyNetwork]
    predictor: Predictor | None
    fingerprints: Mapping[int, bytes]
    runtime: Runtime

    @classmethod
    def of(cls, manifest: Manifest, folder: Path, runtime: Runtime = REPEATABLE) -> CodecModel | None:
        """Read the bundle in `folder`, or return None for one that is no codec; raises `BundleError`."""
        if manifest.task.kind != "codec":
            return None
        if manifest.task.program != PROGRAM:
            raise BundleError(f"bundle {manifest.name}: expected the program {PROGRAM}, got {manifest.task.program}")
        roles = Roles(manifest, "task codec")
        frame, books, bits = _sizes(roles)
        tensors = _tensors(roles, frame, books)
        (encode, pcm), (decode, received) = tensors["pcm"], tensors["received_codes"]
        rates = _rates(manifest.name, roles.text("rates"), books)
        default = roles.integer("default_rate", 1)
        if default not in rates:
            raise BundleError(f"bundle {manifest.name}: default_rate: expected one of {list(rates)}, got {default}")
        arrays = read_tables(manifest, folder)
        tables = tables_of(manifest.name, arrays, books, 1 << bits)
        networks = networks_of(roles, tables, arrays)
        assert manifest.sample_rate is not None  # the format requires it of a graph with audio
        return cls(
            name=manifest.name,
            encode=encode,
            pcm=pcm.name,
            codes=tensors["codes"][1].name,
            decode=decode,
            received=received.name,
            kind=tensors["frame_kind"][1].name,
            decoded=tensors["decoded"][1].name,
            audio=_audio(manifest.name, encode, pcm.name, frame),
            sample_rate=manifest.sample_rate,
            frame_samples=frame,
            books=books,
            bits=bits,
            delay_samples=roles.integer("delay_samples"),
            rates=rates,
            default_rate=default,
            silence_dbfs=roles.number("silence_dbfs", 0.0) if "silence_dbfs" in manifest.task.parameters else None,
            tables=tables,
            networks=networks,
            predictor=Predictor.of(roles, books),
            fingerprints=_fingerprints(manifest, decode, networks, runtime),
            runtime=runtime,
        )

    def n_books(self, bitrate: int) -> int:
        """Return how many books make a rate in bits per second, the default rate's for 0; raises `InvalidRequest`."""
        books = self.rates.get(bitrate or self.default_rate)
        if books is None:
            known = ", ".join(map(str, self.rates))
            raise InvalidRequest(f"codec bitrate: expected one of {known} for model {self.name}, got {bitrate}")
        return books

    def mode(self, entropy: str) -> int:
        """Return the entropy mode of that name; raises `InvalidRequest` if the model does not have it."""
        mode = _MODES[entropy]
        self.check_mode(mode)
        return mode

    def check_mode(self, mode: int) -> None:
        """Raise `InvalidRequest` unless codes can be written and read in this mode."""
        if mode not in self.fingerprints:
            lacks = {TABLES: "tables", NETWORK: "network", FLOAT_NETWORK: "float network"}[mode]
            raise InvalidRequest(f"codec entropy: model {self.name} has no {lacks} to code with")
        if mode == FLOAT_NETWORK and self.runtime != REPEATABLE:
            got = f"{self.runtime.provider} with {self.runtime.intra_op_threads}"
            raise InvalidRequest(f"codec entropy: expected the provider cpu with 1 thread for float, got {got}")

    def runtime_of(self, mode: int) -> int:
        """Return what a header says of the runtime of codes in this mode: 0 where they do not depend on it."""
        return self.runtime.number if mode == FLOAT_NETWORK else 0

    def check_header(self, header: Header) -> None:
        """Raise `InvalidRequest` unless packets under this header hold codes of this model."""
        for name, expected, got in (
            ("sample_rate", self.sample_rate, header.sample_rate),
            ("frame_samples", self.frame_samples, header.frame_samples),
            ("books", self.books, header.books),
            ("bits_per_book", self.bits, header.bits_per_book),
        ):
            if expected != got:
                raise InvalidRequest(f"expected packets of model {self.name} with {name} {expected}, got {got}")
        self.check_mode(header.entropy_mode)
        runtime = self.runtime_of(header.entropy_mode)
        if runtime != header.runtime:
            other = f"{runtime:08x}, got those of another, {header.runtime:08x}"
            raise InvalidRequest(f"expected packets of model {self.name} in float of the runtime {other}")
        # No fingerprint: whoever made the stream does not know, or does not tell.
        ours, theirs = self.fingerprints[header.entropy_mode], header.model
        if theirs not in (bytes(8), ours):
            other = f"{ours.hex()}, got those of another, {theirs.hex()}"
            raise InvalidRequest(f"expected packets of model {self.name}, {other}")


def _sizes(roles: Roles) -> tuple[int, int, int]:
    """Samples of a frame, books, and bits of a book."""
    frame, books = roles.integer("frame_samples", 1), roles.integer("books", 1)
    bits = roles.integer("bits_per_book", 1)
    if books > MAX_BOOKS or bits > MAX_BITS_PER_BOOK or frame > 0xFFFF:
        expected = f"at most {MAX_BOOKS} books of {MAX_BITS_PER_BOOK} bits and frames below 65536 samples"
        raise BundleError(f"bundle {roles.manifest.name}: expected {expected}, got {books} of {bits} and {frame}")
    return frame, books, bits


def _tensors(roles: Roles, frame: int, books: int) -> dict[str, tuple[Graph, Tensor]]:
    """The tensors of the encoder and the decoder by role, with their graphs."""
    encode, pcm = roles.input("pcm", "TYPE_FP32", 2)
    decode, received = roles.input("received_codes", "TYPE_INT64", 2)
    found = {
        "pcm": (encode, pcm),
        "codes": (encode, roles.output_of(encode, "codes", "TYPE_INT64", 2)),
        "received_codes": (decode, received),
        "frame_kind": (decode, roles.input_of(decode, "frame_kind", "TYPE_INT64")),
        "decoded": (decode, roles.output_of(decode, "decoded", "TYPE_FP32", 2)),
    }
    width = {"pcm": (frame,), "codes": (books,), "received_codes": (books,), "frame_kind": (), "decoded": (frame,)}
    for role, (_, tensor) in found.items():
        expected = (-1, *width[role])
        if tensor.dims != expected:
            got = f"expected {list(expected)}, got {list(tensor.dims)}"
            raise BundleError(f"bundle {roles.manifest.name}: role {role}: {got}")
    return found


def _audio(bundle: str, encode: Graph, pcm: str, frame: int) -> Audio:
    audio = encode.audio
    if audio is None or audio.input != pcm:
        raise BundleError(f"bundle {bundle}: role pcm: graph {encode.name} has no audio input {pcm}")
    if (audio.chunk_samples, audio.hop_samples) != (frame, frame):
        got = f"{audio.chunk_samples} and {audio.hop_samples}"
        raise BundleError(f"bundle {bundle}: role pcm: expected chunks and hops of a frame, {frame}, got {got}")
    return audio


def _fingerprints(
    manifest: Manifest, decode: Graph, networks: Mapping[int, EntropyNetwork], runtime: Runtime
) -> dict[int, bytes]:
    digests = [bytes.fromhex(decode.sha256)]
    found = {RAW: digests[0][:8]}
    if "tables" in manifest.task.assets:
        files = {asset.file: asset.sha256 for asset in manifest.assets}
        digests.append(bytes.fromhex(files[manifest.task.assets["tables"]]))
        found[TABLES] = _digest(digests)
    # In the order of modes: the graphs of floats may take weights from those of integers.
    for mode, network in networks.items():
        digests += [bytes.fromhex(graph.sha256) for graph in (network.graph, network.next_graph)]
        found[mode] = _digest([*digests, runtime.digest] if mode == FLOAT_NETWORK else digests)
    return found


def _digest(digests: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"".join(digests)).digest()[:8]


def _rates(bundle: str, text: str, books: int) -> dict[int, int]:
    """Read "1500:3,3000:6"."""
    try:
        rates = {int(rate): int(count) for rate, _, count in (part.partition(":") for part in text.split(","))}
    except ValueError:
        raise BundleError(f"bundle {bundle}: rates: expected rate:books,rate:books, got {text!r}") from None
    if any(rate < 1 or not 1 <= count <= books for rate, count in rates.items()):
        raise BundleError(f"bundle {bundle}: rates: expected positive rates of 1 to {books} books, got {text!r}")
    return rates
