// Collects the microphone's sound into frames of 16-bit samples, on the audio thread.
import { toInt16 } from "./pcm.js";

// A worklet is called with 128 samples at a time; a message for each would be 375 a second.
class Framer extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.frame = new Float32Array(processorOptions.frameSamples);
    this.filled = 0;
    this.stopped = false;
    // The only message is the wish to stop.
    this.port.onmessage = () => this.stop();
  }

  process([channels]) {
    // No channels: the microphone is gone, or has not begun.
    if (channels.length && !this.stopped) this.take(channels[0]);
    return !this.stopped;
  }

  take(sound) {
    for (let at = 0; at < sound.length; ) {
      const part = sound.subarray(at, at + this.frame.length - this.filled);
      this.frame.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === this.frame.length) this.send();
    }
  }

  send() {
    const samples = toInt16(this.frame.subarray(0, this.filled));
    this.filled = 0;
    this.port.postMessage(samples, [samples.buffer]);
  }

  stop() {
    this.stopped = true;
    if (this.filled) this.send();
    this.port.postMessage(null);
  }
}

registerProcessor("framer", Framer);
