from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_PCM_S16LE: _ClassVar[Encoding]
    ENCODING_PCM_F32LE: _ClassVar[Encoding]
    ENCODING_PCM_MULAW: _ClassVar[Encoding]
    ENCODING_PCM_ALAW: _ClassVar[Encoding]
    ENCODING_FLAC: _ClassVar[Encoding]
    ENCODING_OGG_OPUS: _ClassVar[Encoding]
    ENCODING_SNC1: _ClassVar[Encoding]
    ENCODING_TEXT: _ClassVar[Encoding]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_LIVE: _ClassVar[Mode]
    MODE_FILE: _ClassVar[Mode]

class SpeechKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEECH_KIND_UNSPECIFIED: _ClassVar[SpeechKind]
    SPEECH_KIND_START: _ClassVar[SpeechKind]
    SPEECH_KIND_END: _ClassVar[SpeechKind]
ENCODING_UNSPECIFIED: Encoding
ENCODING_PCM_S16LE: Encoding
ENCODING_PCM_F32LE: Encoding
ENCODING_PCM_MULAW: Encoding
ENCODING_PCM_ALAW: Encoding
ENCODING_FLAC: Encoding
ENCODING_OGG_OPUS: Encoding
ENCODING_SNC1: Encoding
ENCODING_TEXT: Encoding
MODE_UNSPECIFIED: Mode
MODE_LIVE: Mode
MODE_FILE: Mode
SPEECH_KIND_UNSPECIFIED: SpeechKind
SPEECH_KIND_START: SpeechKind
SPEECH_KIND_END: SpeechKind

class ClientMessage(_message.Message):
    __slots__ = ("config", "audio", "control", "text")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    config: Config
    audio: Audio
    control: Control
    text: Text
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ..., audio: _Optional[_Union[Audio, _Mapping]] = ..., control: _Optional[_Union[Control, _Mapping]] = ..., text: _Optional[_Union[Text, _Mapping]] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ("encoding", "sample_rate", "channels", "task", "model", "mode", "language", "interim_results", "endpointing", "decoding", "vad", "resumable", "resume", "codec", "synthesis")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    INTERIM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTING_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    VAD_FIELD_NUMBER: _ClassVar[int]
    RESUMABLE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SYNTHESIS_FIELD_NUMBER: _ClassVar[int]
    encoding: Encoding
    sample_rate: int
    channels: int
    task: str
    model: str
    mode: Mode
    language: str
    interim_results: bool
    endpointing: Endpointing
    decoding: Decoding
    vad: Vad
    resumable: bool
    resume: Resume
    codec: CodecOptions
    synthesis: SynthesisOptions
    def __init__(self, encoding: _Optional[_Union[Encoding, str]] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., task: _Optional[str] = ..., model: _Optional[str] = ..., mode: _Optional[_Union[Mode, str]] = ..., language: _Optional[str] = ..., interim_results: _Optional[bool] = ..., endpointing: _Optional[_Union[Endpointing, _Mapping]] = ..., decoding: _Optional[_Union[Decoding, _Mapping]] = ..., vad: _Optional[_Union[Vad, _Mapping]] = ..., resumable: _Optional[bool] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., codec: _Optional[_Union[CodecOptions, _Mapping]] = ..., synthesis: _Optional[_Union[SynthesisOptions, _Mapping]] = ...) -> None: ...

class Endpointing(_message.Message):
    __slots__ = ("enabled", "silence_without_speech_s", "silence_after_speech_s", "max_segment_s")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    SILENCE_WITHOUT_SPEECH_S_FIELD_NUMBER: _ClassVar[int]
    SILENCE_AFTER_SPEECH_S_FIELD_NUMBER: _ClassVar[int]
    MAX_SEGMENT_S_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    silence_without_speech_s: float
    silence_after_speech_s: float
    max_segment_s: float
    def __init__(self, enabled: _Optional[bool] = ..., silence_without_speech_s: _Optional[float] = ..., silence_after_speech_s: _Optional[float] = ..., max_segment_s: _Optional[float] = ...) -> None: ...

class Decoding(_message.Message):
    __slots__ = ("method", "beam", "lm_scale", "hotwords", "hotword_boost", "n_best")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BEAM_FIELD_NUMBER: _ClassVar[int]
    LM_SCALE_FIELD_NUMBER: _ClassVar[int]
    HOTWORDS_FIELD_NUMBER: _ClassVar[int]
    HOTWORD_BOOST_FIELD_NUMBER: _ClassVar[int]
    N_BEST_FIELD_NUMBER: _ClassVar[int]
    method: str
    beam: int
    lm_scale: float
    hotwords: _containers.RepeatedCompositeFieldContainer[Hotword]
    hotword_boost: float
    n_best: int
    def __init__(self, method: _Optional[str] = ..., beam: _Optional[int] = ..., lm_scale: _Optional[float] = ..., hotwords: _Optional[_Iterable[_Union[Hotword, _Mapping]]] = ..., hotword_boost: _Optional[float] = ..., n_best: _Optional[int] = ...) -> None: ...

class Hotword(_message.Message):
    __slots__ = ("phrase", "boost")
    PHRASE_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    phrase: str
    boost: float
    def __init__(self, phrase: _Optional[str] = ..., boost: _Optional[float] = ...) -> None: ...

class Vad(_message.Message):
    __slots__ = ("events", "gate", "threshold", "min_speech_s", "min_silence_s")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_SPEECH_S_FIELD_NUMBER: _ClassVar[int]
    MIN_SILENCE_S_FIELD_NUMBER: _ClassVar[int]
    events: bool
    gate: bool
    threshold: float
    min_speech_s: float
    min_silence_s: float
    def __init__(self, events: _Optional[bool] = ..., gate: _Optional[bool] = ..., threshold: _Optional[float] = ..., min_speech_s: _Optional[float] = ..., min_silence_s: _Optional[float] = ...) -> None: ...

class CodecOptions(_message.Message):
    __slots__ = ("output", "output_rate", "bitrate", "frames_per_packet", "entropy", "keyframe_every", "fec", "dtx", "predict")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_RATE_FIELD_NUMBER: _ClassVar[int]
    BITRATE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_PACKET_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_EVERY_FIELD_NUMBER: _ClassVar[int]
    FEC_FIELD_NUMBER: _ClassVar[int]
    DTX_FIELD_NUMBER: _ClassVar[int]
    PREDICT_FIELD_NUMBER: _ClassVar[int]
    output: Encoding
    output_rate: int
    bitrate: int
    frames_per_packet: int
    entropy: str
    keyframe_every: int
    fec: bool
    dtx: bool
    predict: bool
    def __init__(self, output: _Optional[_Union[Encoding, str]] = ..., output_rate: _Optional[int] = ..., bitrate: _Optional[int] = ..., frames_per_packet: _Optional[int] = ..., entropy: _Optional[str] = ..., keyframe_every: _Optional[int] = ..., fec: _Optional[bool] = ..., dtx: _Optional[bool] = ..., predict: _Optional[bool] = ...) -> None: ...

class SynthesisOptions(_message.Message):
    __slots__ = ("voice", "speed", "output_encoding", "seed", "temperature", "pieces", "phonemes", "word_times", "lead_s")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ENCODING_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    PHONEMES_FIELD_NUMBER: _ClassVar[int]
    WORD_TIMES_FIELD_NUMBER: _ClassVar[int]
    LEAD_S_FIELD_NUMBER: _ClassVar[int]
    voice: str
    speed: float
    output_encoding: Encoding
    seed: int
    temperature: float
    pieces: str
    phonemes: str
    word_times: bool
    lead_s: float
    def __init__(self, voice: _Optional[str] = ..., speed: _Optional[float] = ..., output_encoding: _Optional[_Union[Encoding, str]] = ..., seed: _Optional[int] = ..., temperature: _Optional[float] = ..., pieces: _Optional[str] = ..., phonemes: _Optional[str] = ..., word_times: _Optional[bool] = ..., lead_s: _Optional[float] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("token", "next_segment")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    token: str
    next_segment: int
    def __init__(self, token: _Optional[str] = ..., next_segment: _Optional[int] = ...) -> None: ...

class Audio(_message.Message):
    __slots__ = ("data", "first_sample")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    first_sample: int
    def __init__(self, data: _Optional[bytes] = ..., first_sample: _Optional[int] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("finalize", "keep_alive", "update", "cancel", "end", "interrupt")
    FINALIZE_FIELD_NUMBER: _ClassVar[int]
    KEEP_ALIVE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    finalize: Finalize
    keep_alive: KeepAlive
    update: Update
    cancel: Cancel
    end: End
    interrupt: Interrupt
    def __init__(self, finalize: _Optional[_Union[Finalize, _Mapping]] = ..., keep_alive: _Optional[_Union[KeepAlive, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ..., interrupt: _Optional[_Union[Interrupt, _Mapping]] = ...) -> None: ...

class Finalize(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class KeepAlive(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Update(_message.Message):
    __slots__ = ("endpointing",)
    ENDPOINTING_FIELD_NUMBER: _ClassVar[int]
    endpointing: Endpointing
    def __init__(self, endpointing: _Optional[_Union[Endpointing, _Mapping]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class End(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Interrupt(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ServerMessage(_message.Message):
    __slots__ = ("ready", "result", "finalized", "flow", "warning", "done", "speech_event", "packets", "audio_out", "spoken", "interrupted")
    READY_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FINALIZED_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_EVENT_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_OUT_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    result: Result
    finalized: Finalized
    flow: Flow
    warning: Warning
    done: Done
    speech_event: SpeechEvent
    packets: Packets
    audio_out: AudioOut
    spoken: Spoken
    interrupted: Interrupted
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., finalized: _Optional[_Union[Finalized, _Mapping]] = ..., flow: _Optional[_Union[Flow, _Mapping]] = ..., warning: _Optional[_Union[Warning, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., speech_event: _Optional[_Union[SpeechEvent, _Mapping]] = ..., packets: _Optional[_Union[Packets, _Mapping]] = ..., audio_out: _Optional[_Union[AudioOut, _Mapping]] = ..., spoken: _Optional[_Union[Spoken, _Mapping]] = ..., interrupted: _Optional[_Union[Interrupted, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_frame_bytes", "max_frame_ms", "max_ahead_ms", "idle_timeout_ms", "max_session_ms")
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_AHEAD_MS_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSION_MS_FIELD_NUMBER: _ClassVar[int]
    max_frame_bytes: int
    max_frame_ms: int
    max_ahead_ms: int
    idle_timeout_ms: int
    max_session_ms: int
    def __init__(self, max_frame_bytes: _Optional[int] = ..., max_frame_ms: _Optional[int] = ..., max_ahead_ms: _Optional[int] = ..., idle_timeout_ms: _Optional[int] = ..., max_session_ms: _Optional[int] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("session_id", "model", "wire_rate", "model_rate", "chunk_ms", "delay_ms", "limits", "next_sample", "next_control", "resume_token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WIRE_RATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_RATE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CONTROL_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    model: str
    wire_rate: int
    model_rate: int
    chunk_ms: float
    delay_ms: float
    limits: Limits
    next_sample: int
    next_control: int
    resume_token: str
    def __init__(self, session_id: _Optional[str] = ..., model: _Optional[str] = ..., wire_rate: _Optional[int] = ..., model_rate: _Optional[int] = ..., chunk_ms: _Optional[float] = ..., delay_ms: _Optional[float] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., next_sample: _Optional[int] = ..., next_control: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("word", "start_sample", "end_sample", "confidence")
    WORD_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    word: str
    start_sample: int
    end_sample: int
    confidence: float
    def __init__(self, word: _Optional[str] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., confidence: _Optional[float] = ...) -> None: ...

class Alternative(_message.Message):
    __slots__ = ("text", "confidence")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    confidence: float
    def __init__(self, text: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("segment_id", "revision", "text", "stable_chars", "is_final", "end_of_turn", "start_sample", "end_sample", "confidence", "words", "alternatives")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STABLE_CHARS_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    END_OF_TURN_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    segment_id: int
    revision: int
    text: str
    stable_chars: int
    is_final: bool
    end_of_turn: bool
    start_sample: int
    end_sample: int
    confidence: float
    words: _containers.RepeatedCompositeFieldContainer[Word]
    alternatives: _containers.RepeatedCompositeFieldContainer[Alternative]
    def __init__(self, segment_id: _Optional[int] = ..., revision: _Optional[int] = ..., text: _Optional[str] = ..., stable_chars: _Optional[int] = ..., is_final: _Optional[bool] = ..., end_of_turn: _Optional[bool] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., confidence: _Optional[float] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., alternatives: _Optional[_Iterable[_Union[Alternative, _Mapping]]] = ...) -> None: ...

class Finalized(_message.Message):
    __slots__ = ("id", "sample")
    ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    sample: int
    def __init__(self, id: _Optional[str] = ..., sample: _Optional[int] = ...) -> None: ...

class Flow(_message.Message):
    __slots__ = ("received_sample", "processed_sample", "buffered_ms", "lag_ms", "acked_sample", "acked_controls", "resume_token")
    RECEIVED_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_MS_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    ACKED_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    ACKED_CONTROLS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    received_sample: int
    processed_sample: int
    buffered_ms: float
    lag_ms: float
    acked_sample: int
    acked_controls: int
    resume_token: str
    def __init__(self, received_sample: _Optional[int] = ..., processed_sample: _Optional[int] = ..., buffered_ms: _Optional[float] = ..., lag_ms: _Optional[float] = ..., acked_sample: _Optional[int] = ..., acked_controls: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class SpeechEvent(_message.Message):
    __slots__ = ("kind", "sample")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    kind: SpeechKind
    sample: int
    def __init__(self, kind: _Optional[_Union[SpeechKind, str]] = ..., sample: _Optional[int] = ...) -> None: ...

class Packets(_message.Message):
    __slots__ = ("data", "first_sample", "samples")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    first_sample: int
    samples: int
    def __init__(self, data: _Optional[bytes] = ..., first_sample: _Optional[int] = ..., samples: _Optional[int] = ...) -> None: ...

class AudioOut(_message.Message):
    __slots__ = ("data", "first_sample")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    first_sample: int
    def __init__(self, data: _Optional[bytes] = ..., first_sample: _Optional[int] = ...) -> None: ...

class SpokenWord(_message.Message):
    __slots__ = ("word", "start_char", "end_char", "start_sample", "end_sample")
    WORD_FIELD_NUMBER: _ClassVar[int]
    START_CHAR_FIELD_NUMBER: _ClassVar[int]
    END_CHAR_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    word: str
    start_char: int
    end_char: int
    start_sample: int
    end_sample: int
    def __init__(self, word: _Optional[str] = ..., start_char: _Optional[int] = ..., end_char: _Optional[int] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ...) -> None: ...

class Spoken(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[SpokenWord]
    def __init__(self, words: _Optional[_Iterable[_Union[SpokenWord, _Mapping]]] = ...) -> None: ...

class Interrupted(_message.Message):
    __slots__ = ("id", "sample")
    ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    sample: int
    def __init__(self, id: _Optional[str] = ..., sample: _Optional[int] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("audio_samples", "segments", "cancelled")
    AUDIO_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    audio_samples: int
    segments: int
    cancelled: bool
    def __init__(self, audio_samples: _Optional[int] = ..., segments: _Optional[int] = ..., cancelled: _Optional[bool] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "task", "description", "languages", "sample_rate", "chunk_ms", "delay_ms", "is_default", "voices", "word_times")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    VOICES_FIELD_NUMBER: _ClassVar[int]
    WORD_TIMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    task: str
    description: str
    languages: _containers.RepeatedScalarFieldContainer[str]
    sample_rate: int
    chunk_ms: float
    delay_ms: float
    is_default: bool
    voices: _containers.RepeatedScalarFieldContainer[str]
    word_times: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., task: _Optional[str] = ..., description: _Optional[str] = ..., languages: _Optional[_Iterable[str]] = ..., sample_rate: _Optional[int] = ..., chunk_ms: _Optional[float] = ..., delay_ms: _Optional[float] = ..., is_default: _Optional[bool] = ..., voices: _Optional[_Iterable[str]] = ..., word_times: _Optional[bool] = ...) -> None: ...
