// One text on its way to the server, and its sound on the way back.
import { CodecStream } from "./codec_stream.js";
import { wavFile } from "./pcm.js";

export const RATE = 24_000;
// Well within what the server takes in one message.
const PART_CHARS = 4000;

// `on` has ready(message), sound(Int16Array), spoken(words), done(), failed({ code, message }).
export class SpeechRun {
  constructor(server, text, { model, ...synthesis }, on) {
    this.parts = [];
    this.samples = 0;
    this.isComplete = false;
    this.stream = new CodecStream(
      server,
      { task: "synthesize", encoding: "text", sample_rate: RATE, mode: "live", ...(model && { model }), synthesis },
      {
        ready: (message) => on.ready(message),
        bytes: (data) => this.#take(new Int16Array(data), on),
        other: (message) => message.type === "spoken" && on.spoken(message.words),
        done: () => {
          this.isComplete = true;
          on.done();
        },
        failed: (error) => on.failed(error),
      },
    );
    const characters = Array.from(text);
    for (let at = 0; at < characters.length; at += PART_CHARS) {
      this.stream.tell({ type: "text", text: characters.slice(at, at + PART_CHARS).join("") });
    }
    this.stream.end();
    this.stream.start();
  }

  // The server makes no more of it.
  leave() {
    this.stream.leave();
  }

  wav() {
    return wavFile(this.parts, this.samples, RATE);
  }

  #take(samples, on) {
    this.parts.push(samples);
    this.samples += samples.length;
    on.sound(samples);
  }
}
