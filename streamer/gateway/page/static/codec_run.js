// Sound through the codec and back: coded by the server, thinned here as a bad network would, decoded by the server.
import { CodecStream } from "./codec_stream.js";
import { wavFile } from "./pcm.js";
import { PacketSplitter } from "./snc1.js";

// Decodes packets of which some never arrive. `on` has decoded(Int16Array), done(), failed(error).
export class Decoding {
  constructor(server, { header, model, mode }, loss, on) {
    this.rate = header.rate;
    this.parts = [];
    this.samples = 0;
    this.loss = loss;
    this.dropped = 0;
    this.stream = new CodecStream(
      server,
      { encoding: "snc1", sample_rate: header.rate, mode, model, codec: { output: "pcm_s16le" } },
      {
        ready: () => {},
        bytes: (data) => this.#take(new Int16Array(data), on),
        done: () => on.done(),
        failed: (error) => on.failed(error),
      },
    );
    this.stream.start();
  }

  // Returns whether the item is sent on. Only packets can be lost.
  take(item) {
    const isLost = item.kind === "packet" && Math.random() < this.loss;
    if (isLost) this.dropped++;
    else this.stream.send(item.bytes);
    return !isLost;
  }

  end() {
    this.stream.end();
  }

  leave() {
    this.stream.leave();
  }

  wav() {
    return wavFile(this.parts, this.samples, this.rate);
  }

  #take(samples, on) {
    this.parts.push(samples);
    this.samples += samples.length;
    on.decoded(samples);
  }
}

// One recording or file. `on` has ready(message), packet(item, isSent, index), decoded(samples), coded(), done(),
// failed(error).
export class CodecRun {
  constructor(server, name, rate, options, mode, on) {
    Object.assign(this, { server, name, rate, options, mode, on });
    this.parts = [];
    this.samples = 0;
    this.items = [];
    this.packets = 0;
    this.isCoded = false;
    this.decoding = null;
    this.splitter = new PacketSplitter();
    const codec = Object.fromEntries(Object.entries(options.codec).filter(([, value]) => value));
    this.encoder = new CodecStream(
      server,
      { encoding: "pcm_s16le", sample_rate: rate, mode, model: options.model, codec },
      {
        ready: (message) => on.ready(message),
        bytes: (data) => this.#take(data),
        done: () => this.#coded(),
        failed: (error) => this.#fail(error),
      },
    );
    this.encoder.start();
  }

  get header() {
    return this.splitter.header;
  }

  // Sound that was recorded, or read.
  add(samples) {
    this.parts.push(samples);
    this.samples += samples.length;
    this.encoder.send(samples);
  }

  end() {
    this.encoder.end();
  }

  leave() {
    this.encoder.leave();
    this.decoding?.leave();
  }

  // Decodes what was coded before once more, with another share of losses.
  decodeAgain(options) {
    this.options = options;
    this.decoding?.leave();
    this.mode = "file";
    this.#decode();
    this.packets = 0;
    this.items.forEach((item) => this.#pass(item));
    this.decoding.end();
  }

  wav() {
    return wavFile(this.parts, this.samples, this.rate);
  }

  // The stream as the server made it, losses or not.
  snc() {
    return new Blob(this.items.map(({ bytes }) => bytes), { type: "application/octet-stream" });
  }

  #take(data) {
    try {
      for (const item of this.splitter.feed(data)) {
        if (item.kind === "header") this.#decode();
        this.items.push(item);
        this.#pass(item);
      }
    } catch (error) {
      this.#fail({ code: "internal", message: error.message });
    }
  }

  #decode() {
    const { options, mode, on } = this;
    this.decoding = new Decoding(this.server, { header: this.header, model: options.model, mode }, options.loss, {
      decoded: (samples) => on.decoded(samples),
      done: () => on.done(),
      failed: (error) => this.#fail(error),
    });
  }

  #pass(item) {
    const isSent = this.decoding.take(item);
    if (item.kind === "packet") this.on.packet(item, isSent, this.packets++);
  }

  #coded() {
    this.isCoded = true;
    this.on.coded();
    this.decoding?.end();
  }

  #fail(error) {
    this.leave();
    this.on.failed(error);
  }
}
