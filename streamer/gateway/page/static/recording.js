// One recording from its first sound to its last word: a microphone or a file, its tape, its stream, its transcript.
import { Capture, CaptureError } from "./capture.js";
import { openAudio } from "./files.js";
import { Stream } from "./stream.js";
import { Tape } from "./tape.js";
import { Transcript } from "./transcript.js";

// A server may want a minute and more again (the receptive field of its model, and the segment that is not finished).
const KEPT_S = 240;

// `on` has the functions of a `Stream`, and opened(recording), frame(samples), final(segment), interim(segment) and
// gone() for a microphone that went away.
class Recording {
  constructor(name, rate, server, options, mode, on) {
    this.name = name;
    this.on = on;
    this.transcript = new Transcript();
    this.tape = new Tape(rate, KEPT_S * rate);
    this.stream = new Stream(server, this.tape, options, mode, {
      ...on,
      ready: (message) => {
        this.transcript.model = message.model;
        on.ready(message);
      },
      result: (message, base) => this.#take(message, base),
      state: (state, detail) => this.#enter(state, detail),
    });
    this.total = null; // samples, if known
  }

  // Samples that the tape has gained.
  add(samples) {
    this.tape.append(samples);
    this.on.frame(samples);
    this.stream.grew();
  }

  leave() {
    this.stream.cancel();
  }

  // What the formats are written from.
  get document() {
    const { tape, transcript, name } = this;
    return { file: name, duration_s: tape.end / tape.rate, model: transcript.model, segments: transcript.segments };
  }

  #take(message, base) {
    const segment = this.transcript.apply(message, base, this.tape.rate);
    if (message.is_final) this.on.final(segment);
    this.on.interim(this.transcript.interim);
  }

  #enter(state, detail) {
    if (state === "done" || state === "failed") {
      this.transcript.dropInterim();
      this.on.interim(null);
      this.halt();
    }
    this.on.state(state, detail);
  }
}

export class MicrophoneRecording extends Recording {
  static async start(server, options, on) {
    const capture = await Capture.open(options);
    const recording = new MicrophoneRecording("recording", capture.rate, server, options, "live", on);
    recording.capture = capture;
    capture.onframe = (samples) => recording.add(samples);
    capture.onlost = () => {
      on.gone();
      recording.stop();
    };
    on.opened(recording);
    recording.stream.start();
    return recording;
  }

  // No more sound; the last words follow.
  async stop() {
    await this.halt();
    this.stream.end();
  }

  halt() {
    this.halted ??= this.capture.stop();
    return this.halted;
  }
}

export class FileRecording extends Recording {
  static async start(file, decodingRate, server, options, on) {
    const audio = await openAudio(file, decodingRate);
    const recording = new FileRecording(file.name, audio.rate, server, options, "file", on);
    recording.total = audio.samples;
    on.opened(recording);
    recording.stream.start();
    // A file that turns out to be unreadable further on ends there, and says so.
    recording.#read(audio).catch((error) => on.unreadable(error));
    return recording;
  }

  async stop() {
    this.halt();
    this.stream.end();
  }

  halt() {
    this.halted = true;
  }

  async #read(audio) {
    try {
      for await (const piece of audio.pieces()) {
        if (this.halted) return;
        this.add(piece);
        await this.stream.room();
      }
    } finally {
      this.stream.end();
    }
  }
}

export { CaptureError };
