"""When each refusal happens, in words: the one column of docs/refusals.md that the source does not hold.

The first rule that fits a refusal says its condition. A refusal without a rule, and a rule without a refusal, fail
`tests/test_refusals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.refusals.source import Refusal


@dataclass(frozen=True)
class Rule:
    """What is refused in modules like `where` (of class `kind`, with messages like `message`), in words.

    A condition of None keeps it out of the table: it happens before anything is served, or never reaches a client.
    """

    condition: str | None
    where: str = "*"
    message: str = "*"
    kind: str = "*"

    def fits(self, refusal: Refusal) -> bool:
        return (
            fnmatchcase(refusal.module, self.where)
            and fnmatchcase(refusal.message, self.message.replace("[", "[[]"))
            and fnmatchcase(refusal.kind, self.kind)
        )


AT_START = (
    Rule(None, message="setting *"),
    Rule(None, message="*keys file *"),
    Rule(None, "gateway/tls.py"),
    Rule(None, "host/tracing.py"),
    Rule(None, "engine/runner.py", kind="InvalidRequest"),
)

ACCESS = (
    Rule("no credential where keys are set", "gateway/access.py", "expected an API key, got none"),
    Rule("a ticket where only a key will do", "gateway/access.py", "expected an API key, got a ticket"),
    Rule("a credential that is no key of this server", "gateway/access.py", "unknown API key"),
    Rule("a key after its end", "gateway/access.py", "API key has expired"),
    Rule("a forged ticket, or one of a key that is gone", message="ticket is not valid"),
    Rule("a ticket after its end", message="ticket has expired"),
    Rule("a ticket for the second time", message="ticket was used before"),
    Rule("a command of operators with an ordinary key", message="expected a key with admin rights"),
    Rule("a browser shows a page of another site", message="pages of * may not use this server"),
    Rule("a key has all its streams open", message="expected at most * open streams at a time, *"),
    Rule("a key exceeds its streams, requests or seconds of audio per minute", "host/quotas.py", "* per minute, *"),
)

MESSAGES = (
    Rule("audio, a control or an end before the config", message="expected config first, *"),
    Rule("a second config", message="expected one config, *"),
    Rule("a message after `End` or `Cancel`", message="expected no message after *"),
    Rule("a message that is sent while the config is answered", message="expected no message before *"),
    Rule("a message that is none", message="unknown message *"),
    Rule("WebSocket text or gRPC bytes that are no message", "wire/json.py", "message: *"),
    Rule("a config of another kind than the method of the gRPC service Codec", "gateway/codec.py"),
    Rule("a config of another task in the gRPC service Synthesis", "gateway/synthesis.py"),
    Rule("audio numbered over WebSocket, where frames are bare", "wire/json.py", "audio.first_sample: *"),
    Rule("bytes that are no message, or a message without content", "wire/protobuf.py", "message: *"),
    Rule("a control without content", "wire/protobuf.py", "control: *"),
    Rule("a field that is missing, of a wrong type, or no finite number", "wire/*", "…: *"),
    Rule("a field that is missing, of a wrong type, or no finite number", "wire/*", "….…: *"),
    Rule("an enumeration outside of its values", "wire/protobuf.py", "config.*"),
    Rule("`Finalize` or `Update` in a codec stream", "session/limits.py", "expected no * which has no segments"),
    Rule("`Update` in a stream of text", "session/limits.py", "expected no update *"),
    Rule("an id that is too long", message="expected a finalize id *"),
    Rule("an id that is too long", message="expected an interrupt id *"),
    Rule("text in a stream of audio or packets", "session/lane.py", "expected audio in *"),
    Rule("`Interrupt` in a stream of audio or packets", "session/lane.py", "expected no interrupt *"),
    Rule("audio in a stream of text", "session/speech_lane.py", "expected text in *"),
    Rule("more controls than may wait", message="expected at most * controls *"),
    Rule("audio that does not begin where it should", message="expected first_sample *"),
    Rule("audio numbered where samples cannot be counted", message="expected no first_sample *"),
)

CONFIGS = (
    Rule("audio or packets for the task `synthesize`", "session/limits.py", "expected encoding *"),
    Rule("an encoding that there is not", message="expected encoding *"),
    Rule("a number of channels that cannot be taken", "audio/encodings.py", "expected …, got …"),
    Rule("a sample rate that cannot be taken", message="*sample rate from * to * Hz*"),
    Rule("Opus declared at another rate than it decodes to", message="expected a sample rate of * opus *"),
    Rule("PCM of an encoding that there is not", "audio/pcm.py", "expected one of *"),
    Rule("a task or a mode that there is not", "session/limits.py", "expected task *"),
    Rule("a task or a mode that there is not", "session/limits.py", "expected mode *"),
    Rule("a gate in a stream that can be resumed", message="expected no vad.gate *"),
    Rule("a stream that can be resumed in an encoding that cannot", message="* that can be resumed, *"),
    Rule("no model for the task", message="no model for task *"),
    Rule("voice activity where no such model is served", message="vad.events and vad.gate need *"),
    Rule("a model that is not served", message="unknown model *"),
    Rule("a language that the model does not speak", message="model * speaks *"),
    Rule("a language that the model does not speak", "tasks/whisper.py", "model * knows * languages, *"),
    Rule("a model for another task", "tasks/registry.py", "expected a model for *"),
    Rule("options that the model has no use for", "tasks/registry.py", "model *"),
    Rule("decoding options out of range", "tasks/decoding.py"),
    Rule("a hotword that the model cannot spell", "tasks/hotwords.py"),
    Rule("endpointing out of range", "tasks/endpoint.py"),
    Rule("voice activity options out of range", "tasks/detection.py"),
    Rule("codec options out of range, or of no use in such a stream", "tasks/codec_options.py"),
    Rule("codec options for another task", "session/limits.py", "expected no codec options *"),
    Rule("voice activity in a codec stream, or one of text", "session/limits.py", "expected no vad *"),
    Rule("synthesis options for another task", "session/limits.py", "expected no synthesis options *"),
    Rule("a voice that the model does not have", "tasks/voice_graphs.py", kind="InvalidRequest"),
    Rule("synthesis options out of range", "tasks/synthesis_options.py", "synthesis *"),
    Rule("a synthesis option that a model of speech tokens cannot follow", "tasks/token_model.py", "synthesis *"),
    Rule("a codec option that the model does not have", message="codec *: model *"),
    Rule("a bitrate that the codec does not have", "tasks/codec.py", "codec bitrate: *"),
    Rule("codes by the float network where its sums do not repeat", "tasks/codec.py", "codec entropy: expected *"),
    Rule("pronunciations by eSpeak NG where its package is not installed", "tasks/text/espeak.py", "phonemes *"),
    Rule(
        "packets of network-coded packets, coded by the network again", "tasks/codec_transcode.py", "codec entropy: *"
    ),
)

AUDIO = (
    # Speech is coded at a rate that all formats know; the command line may ask for another.
    Rule(None, "audio/writers.py"),
    Rule("a frame that ends within a sample", "audio/pcm.py", "audio frame of * multiple *"),
    Rule("a float that is not finite or beyond full scale", message="sample * expected a float *"),
    Rule("a FLAC stream that is damaged, or not what the config declared", "audio/flac*.py"),
    Rule("an Ogg Opus stream that is damaged, or not what the config declared", "audio/opus.py"),
    Rule("an Ogg Opus stream that is damaged, or not what the config declared", "audio/ogg.py"),
    Rule("an SNC1 stream that is damaged without end, or contradicts itself", "audio/snc1*.py"),
    Rule("an SNC1 packet whose payload is not as long as its codes", "tasks/bit_packing.py", kind="InvalidRequest"),
    Rule("an SNC1 packet whose payload is not as long as its codes", "tasks/range_coder.py", kind="InvalidRequest"),
    Rule("a coded stream that ends too early", "session/hearing.py", "… stream *"),
    Rule("an SNC1 stream that ends within its header", "session/packet_intake.py", "snc1 stream is truncated, *"),
    Rule("packets at another sample rate than declared", "session/packet_intake.py", "expected sample_rate *"),
    Rule("packets of another codec", "tasks/codec.py", "expected packets of model *"),
    Rule("a frame with too many bytes", message="audio frame of * bytes exceeds *"),
    Rule("a frame with too much audio", message="audio frame of * ms exceeds *"),
    Rule("a coded frame that grows beyond the limit", message="audio frame decodes to more *"),
    Rule("live audio faster than it is spoken", message="audio is * ahead of real time*"),
    Rule("an upload that is longer than the limit", "audio/files.py", kind="MessageTooLarge"),
    Rule("an upload that takes too long to decode", "audio/files.py", kind="StreamTimeout"),
    Rule("an upload that is damaged, or no audio that can be decoded", "audio/*"),
)

TEXTS = (
    Rule("text with control characters, or of no Unicode", "tasks/synthesis_options.py", "text: *"),
    Rule("a text with too many bytes", "session/limits.py", "text of * bytes exceeds *"),
    Rule("live text faster than it is spoken", "session/speech_lane.py", "* characters of text wait *"),
)

ENDS = (
    Rule("no slot is free", "engine/*", "all *slots of *"),
    Rule("too many connections that have sent no config", "host/host.py", "* have sent no config yet, *"),
    Rule("connecting, or waiting for a slot, while the server drains", "host/host.py", "server is shutting down*"),
    Rule("a stream that outlives the drain", "host/host.py", "server shut down*"),
    Rule("a stream that is open when the server stops", "host/host.py", "server stopped"),
    Rule("no config after connecting", message="no config within *"),
    Rule("silence on the wire", "session/timers.py", "no message within *"),
    Rule("a stream that is as long as it may be", message="stream reached its maximal length *"),
    Rule("a client that does not read", kind="SlowReader"),
    Rule("a bundle that is asked for and is not loaded", "engine/engine.py", kind="UnknownBundle"),
)

# What the server got wrong; clients can do nothing but try again. One row each, whatever the message is.
FAULTS = (
    Rule("a model that raises, or returns what its manifest does not allow; a bug", kind="ModelFault"),
    Rule("a bundle that is damaged", kind="BundleError"),
)

RESUME = (
    Rule("a resume that does not continue what was sent", "session/resuming.py"),
    Rule("a resume token of another key", "host/tokens.py", "*of the same key*"),
    Rule("a resume token that is forged, expired or cut", "host/tokens.py", "resume.token: *"),
    Rule("a resume with another config or model than the stream began with", "host/tokens.py"),
    Rule("a resume with another config or model than the stream began with", "host/resuming.py", "resume: *"),
    Rule("a resume that does not continue what was sent", "host/resuming.py", "resume.next_segment: *"),
    Rule("a config that is too large for a stream that can be resumed", "host/resuming.py", "resumable: *"),
    Rule("a connection whose stream went on over another one", kind="Superseded"),
    Rule("a snapshot of another version of the server", "session/session.py", "expected a snapshot *"),
)

WYOMING = (
    Rule("a Wyoming event that is malformed", "gateway/wyoming/events.py", kind="InvalidRequest"),
    Rule("a Wyoming event that is too long", "gateway/wyoming/events.py", kind="MessageTooLarge"),
    Rule("a Wyoming request with options that are not served", "gateway/wyoming/requests.py"),
    Rule("too many Wyoming connections without a stream", "gateway/wyoming/server.py", kind="Overloaded"),
    Rule("no Wyoming event between two streams", "gateway/wyoming/server.py", kind="StreamTimeout"),
    Rule("Wyoming events out of order, or for another service", "gateway/wyoming/server.py"),
)

VOSK = (
    Rule("vosk audio of an unknown sample rate", "gateway/vosk/*", "*before audio*"),
    Rule("a vosk message that is malformed, or a setting that is not served", "gateway/vosk/*"),
)

RIVA = (
    Rule("Riva messages out of order", "gateway/riva/service.py", "expected *streaming_config*"),
    Rule("a Riva request with options that are not served, by name", "gateway/riva/*"),
)

# What several protocols of others have in common.
SHARED = (
    Rule("audio whose header is damaged or contradicts the request", "gateway/head.py"),
    Rule("a channel that a file does not have", "gateway/recognition.py"),
    Rule("an upload that exceeds its limit of bytes", "gateway/uploads.py", kind="MessageTooLarge"),
    Rule("an upload that stalls, or trickles", "gateway/uploads.py", kind="StreamTimeout"),
    Rule("too many uploads at a time of one key or address", "gateway/uploads.py", kind="QuotaExceeded"),
    Rule("too many uploads at a time", "gateway/uploads.py", kind="Overloaded"),
)

COMMANDS = (
    Rule("a command of operators with a body that is none", "gateway/commands.py"),
    Rule("a command of operators with a body that is none", "gateway/bodies.py"),
    Rule("a model that cannot be loaded beside what is served", "host/catalogue.py"),
    Rule("a model that cannot be loaded beside what is served", "host/rollout.py"),
)

OPENAI = (
    Rule("a request that is no form", "gateway/openai/form.py"),
    Rule("no Realtime event for too long", "gateway/openai/realtime.py", kind="StreamTimeout"),
    Rule("Realtime audio that exceeds its limit of bytes", "gateway/openai/realtime_events.py", kind="MessageTooLarge"),
    Rule("a Realtime event that is malformed", "gateway/openai/realtime_events.py"),
    Rule("a Realtime session that no model can serve", "gateway/openai/realtime_session.py", kind="UnknownBundle"),
    Rule("a Realtime session with settings that are not served", "gateway/openai/realtime_*.py"),
    Rule("a Realtime session with settings that are not served", "gateway/openai/turns.py"),
    Rule("a request for speech that is no object of JSON", "gateway/openai/speech_request.py", "expected *JSON*"),
    Rule("speech where no voice is served", "gateway/openai/models.py", "expected a server with a model of the task *"),
    Rule("a parameter of OpenAI's API that is not served, by its name", "gateway/openai/*", kind="InvalidRequest"),
)

DEEPGRAM = (
    Rule("a Deepgram text frame that is malformed, or asks for what there is not", "gateway/deepgram/controls.py"),
    Rule("a Deepgram file without a header that is too long", "gateway/deepgram/raw.py", kind="MessageTooLarge"),
    Rule("a Deepgram file without a header that is empty", "gateway/deepgram/raw.py"),
    Rule("a Deepgram request where nothing is recognised", "gateway/deepgram/request.py", kind="UnknownBundle"),
    Rule("a Deepgram request with another body than audio", "gateway/deepgram/prerecorded.py"),
    Rule("a parameter of Deepgram's API that is not served, by its name", "gateway/deepgram/*"),
)

RULES = (
    *AT_START,
    *ACCESS,
    *MESSAGES,
    *CONFIGS,
    *AUDIO,
    *TEXTS,
    *ENDS,
    *FAULTS,
    *RESUME,
    *WYOMING,
    *VOSK,
    *RIVA,
    *SHARED,
    *COMMANDS,
    *OPENAI,
    *DEEPGRAM,
)
