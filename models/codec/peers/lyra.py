"""Lyra v2 (Google, Apache-2.0): its three TFLite models run by LiteRT, as the reference implementation runs them."""

import importlib.metadata
from functools import partial
from pathlib import Path

import numpy as np

from models.codec.peers.coded import Coded, MissingPeer, System, frames_of, to_float, to_int16

# Bits of a frame of 20 ms; books of 4 bits.
FRAME_BITS = {"3.2": 64, "6.0": 120, "9.2": 184}
_FRAME = 320
_BOOK_BITS = 4
_MODELS = ("soundstream_encoder", "quantizer", "lyragan")


def systems(folder: Path) -> list[System]:
    """Lyra v2 at its three rates; raises `MissingPeer` without LiteRT or the models in `folder`."""
    missing = [f"{name}.tflite" for name in _MODELS if not (folder / f"{name}.tflite").exists()]
    if missing:
        raise MissingPeer(f"expected {', '.join(missing)} of google/lyra in {folder}, found none")
    try:
        version = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        raise MissingPeer("expected the package ai-edge-litert, found none: pip install ai-edge-litert") from None
    return [
        System(
            f"Lyra v2 {name}", "Lyra v2", f"lyra v2 {name} litert {version}", partial(code, bits=bits, folder=folder)
        )
        for name, bits in FRAME_BITS.items()
    ]


def code(samples: np.ndarray, bits: int, folder: Path) -> Coded:
    """Encode f32[n] into frames of `bits` and decode; encoder and generator keep state, so each call loads them."""
    encoder, quantiser, generator = (_interpreter(folder / f"{name}.tflite") for name in _MODELS)
    encode, decode = (quantiser.get_signature_runner(name) for name in ("encode", "decode"))
    books = np.int32(bits // _BOOK_BITS)
    frames = frames_of(samples.astype(np.float32), _FRAME, 0)
    decoded = np.empty_like(frames)
    for index, frame in enumerate(frames):
        features = _run(encoder, frame[None])
        codes = encode(input_frames=features, num_quantizers=books)["output_0"]
        features = decode(encoding_indices=codes)["output_0"]
        decoded[index] = _run(generator, features)[0]
    return Coded(to_float(to_int16(decoded.ravel())), bits * len(frames))


def _interpreter(model: Path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter, tensor: np.ndarray) -> np.ndarray:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
