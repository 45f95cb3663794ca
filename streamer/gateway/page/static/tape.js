// The sound of one recording: the latest part in memory, to be sent again if need be, and all of it to be saved.
import { wavFile } from "./pcm.js";

const BLOB_S = 10;

// Positions count samples from the start of the recording.
export class Tape {
  // `capacity` samples are kept for sending; older ones can only be saved.
  constructor(rate, capacity) {
    this.rate = rate;
    this.capacity = capacity;
    this.start = 0;
    this.end = 0;
    this.frames = []; // { at, samples }, the latest
    this.saved = []; // Blobs, which browsers may move to disk
    this.unsaved = []; // the frames since the last blob
    this.unsavedSamples = 0;
  }

  append(samples) {
    if (!samples.length) return;
    this.frames.push({ at: this.end, samples });
    this.end += samples.length;
    this.forgetBefore(this.end - this.capacity);
    this.#save(samples);
  }

  // Drops whole frames that end before `position`.
  forgetBefore(position) {
    let gone = 0;
    while (gone < this.frames.length && this.#endOf(this.frames[gone]) <= position) gone++;
    if (!gone) return;
    this.frames.splice(0, gone);
    this.start = this.frames.length ? this.frames[0].at : this.end;
  }

  // Returns at most `most` samples from `position`, which must not be before `start`; empty at the end.
  read(position, most) {
    const first = this.#indexOf(position);
    if (first === this.frames.length) return new Int16Array(0);
    const rest = this.frames[first].samples.subarray(position - this.frames[first].at);
    // A live frame is sent as it is, without a copy.
    if (rest.length >= most || first + 1 === this.frames.length) return rest.subarray(0, most);
    const joined = new Int16Array(Math.min(most, this.end - position));
    let filled = 0;
    for (let index = first; filled < joined.length; index++) {
      const samples = index === first ? rest : this.frames[index].samples;
      const part = samples.subarray(0, joined.length - filled);
      joined.set(part, filled);
      filled += part.length;
    }
    return joined;
  }

  // Returns the whole recording as a file.
  wav() {
    return wavFile([...this.saved, ...this.unsaved], this.end, this.rate);
  }

  #indexOf(position) {
    if (position < this.start) throw new RangeError(`expected a sample from ${this.start} on, got ${position}`);
    let low = 0;
    let high = this.frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#endOf(this.frames[middle]) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #endOf(frame) {
    return frame.at + frame.samples.length;
  }

  #save(samples) {
    this.unsaved.push(samples);
    this.unsavedSamples += samples.length;
    if (this.unsavedSamples < BLOB_S * this.rate) return;
    this.saved.push(new Blob(this.unsaved));
    this.unsaved = [];
    this.unsavedSamples = 0;
  }
}
