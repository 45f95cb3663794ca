"""Riva's messages, made when this module is loaded from the descriptors of `proto/riva` (`make proto`).

They live in a pool of their own. Generated modules would put them into the default pool, and a process that also
imports NVIDIA's client, whose version may differ, could then load only one of the two.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE = "nvidia.riva.asr.RivaSpeechRecognition"
DESCRIPTORS = "descriptors.binpb"


def _load() -> DescriptorPool:
    pool = DescriptorPool()
    data = resources.files(__package__).joinpath(DESCRIPTORS).read_bytes()
    for file in FileDescriptorSet.FromString(data).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL = _load()


def _message(name: str) -> Any:
    return GetMessageClass(POOL.FindMessageTypeByName(f"nvidia.riva.asr.{name}"))


RecognizeRequest = _message("RecognizeRequest")
RecognizeResponse = _message("RecognizeResponse")
SpeechRecognitionResult = _message("SpeechRecognitionResult")
SpeechRecognitionAlternative = _message("SpeechRecognitionAlternative")
StreamingRecognizeRequest = _message("StreamingRecognizeRequest")
StreamingRecognizeResponse = _message("StreamingRecognizeResponse")
StreamingRecognitionResult = _message("StreamingRecognitionResult")
WordInfo = _message("WordInfo")
ModelsRequest = _message("RivaSpeechRecognitionConfigRequest")
ModelsResponse = _message("RivaSpeechRecognitionConfigResponse")
ENCODINGS: dict[int, str] = {
    number: value.name
    for number, value in POOL.FindEnumTypeByName("nvidia.riva.AudioEncoding").values_by_number.items()
}
"""Names of `AudioEncoding` by number."""
