// The codec on the page: speak or open a file, see its packets, listen to what is left of it.
import { AbPlayer } from "./ab_player.js";
import { Capture, CaptureError } from "./capture.js";
import { CodecForm } from "./codec_form.js";
import { CodecRun } from "./codec_run.js";
import { openAudio } from "./files.js";
import { titleOf } from "./protocol.js";
import { RateMeter, RatePlot } from "./rate_plot.js";
import { clockOf } from "./sheet.js";
import { CAPTURE_PROBLEMS } from "./status.js";
import { Waveform } from "./waveform.js";

const TEXTS = { idle: "Ready", asking: "Waiting for permission", recording: "Listening", coding: "Coding", decoding: "Decoding", done: "Done", failed: "Stopped" };
const BUSY = ["asking", "recording", "coding", "decoding"];
// At which rate files that the browser decodes are taken.
const FILE_RATE = 16_000;

export class CodecView {
  constructor(element, server) {
    this.element = element;
    this.server = server;
    this.view = element("codec");
    this.form = new CodecForm(element);
    this.waveform = new Waveform(element("codec-waveform"));
    this.plot = new RatePlot(element("rate-plot"));
    this.player = new AbPlayer({ playing: (is) => this.#showPlaying(is), at: (seconds) => this.#showPlace(seconds) });
    this.run = null;
    this.capture = null;
    this.meter = null;
    this.#listen();
    this.#show("idle");
  }

  showModels(models) {
    this.form.showModels(models);
    this.element("codec-record").disabled = this.element("codec-open").disabled = !models.length;
  }

  get state() {
    return this.view.dataset.state;
  }

  #listen() {
    const { element } = this;
    element("codec-record").addEventListener("click", () => this.#recordPressed());
    element("codec-open").addEventListener("click", () => element("codec-file").click());
    element("codec-file").addEventListener("change", ({ target }) => {
      const [file] = target.files;
      target.value = "";
      if (file) this.#startFile(file);
    });
    element("loss").addEventListener("change", () => this.#decodeAgain());
    element("codec-play").addEventListener("click", () => this.player.toggle());
    for (const which of ["original", "decoded"]) {
      element(`hear-${which}`).addEventListener("click", () => this.#choose(which));
    }
    element("codec-saves").addEventListener("click", ({ target }) => target.dataset.save && this.#save(target.dataset.save));
    element("codec-notice-close").addEventListener("click", () => (element("codec-notice").hidden = true));
  }

  async #recordPressed() {
    if (this.state === "recording") return this.#stop();
    if (BUSY.includes(this.state)) return this.#giveUp();
    this.#show("asking");
    try {
      const capture = await Capture.open({ device: "", processing: false });
      if (this.state !== "asking") return capture.stop();
      this.capture = capture;
      this.#begin("recording", capture.rate, "live", "recording");
      capture.onframe = (samples) => this.#add(samples);
      capture.onlost = () => this.#stop();
    } catch (error) {
      const problem = error instanceof CaptureError ? CAPTURE_PROBLEMS[error.problem] : { title: "The page failed", text: "" };
      this.#fail(problem.title, problem.text || error.message);
    }
  }

  async #stop() {
    const capture = this.capture;
    this.capture = null;
    this.#show("coding");
    await capture.stop();
    this.run.end();
  }

  async #startFile(file) {
    if (BUSY.includes(this.state)) return;
    try {
      const audio = await openAudio(file, FILE_RATE);
      this.#begin(file.name, audio.rate, "file", "coding");
      const { run } = this;
      for await (const samples of audio.pieces()) {
        if (this.run !== run || !BUSY.includes(this.state)) return;
        this.#add(samples);
      }
      run.end();
    } catch (error) {
      this.run?.leave();
      this.#fail("The file cannot be read", error.message);
    }
  }

  #begin(name, rate, mode, state) {
    this.#clear(rate);
    this.#show(state);
    const isMine = (run) => this.run === run;
    const run = new CodecRun(this.server, name, rate, this.form.read(), mode, {
      ready: (message) => isMine(run) && this.#showModel(message),
      packet: (item, isSent) => isMine(run) && this.#packet(item, isSent),
      decoded: () => isMine(run) && this.#showFigures(),
      coded: () => isMine(run) && this.#show("decoding"),
      done: () => isMine(run) && this.#done(),
      failed: ({ code, message }) => isMine(run) && this.#fail(titleOf(code), message),
    });
    this.run = run;
  }

  #clear(rate) {
    this.run?.leave();
    this.meter = null;
    this.plot.show(null);
    this.waveform.clear(rate);
    this.player.stop();
    for (const which of ["original", "decoded"]) this.player.load(which, null);
    this.element("codec-notice").hidden = true;
    this.element("codec-hint").hidden = true;
    this.#showFigures();
  }

  #add(samples) {
    this.run.add(samples);
    this.waveform.take(samples);
    this.element("codec-clock").textContent = clockOf(this.run.samples / this.run.rate);
  }

  #packet(item, isSent) {
    const { header, rate } = this.run;
    const packetS = (header.framesPerPacket * header.frameSamples) / header.rate;
    this.meter ??= new RateMeter(packetS);
    this.meter.take(item, isSent);
    this.waveform.reach(this.meter.packets * packetS * rate);
    this.#showSoon();
  }

  #done() {
    const { run } = this;
    this.waveform.reach(run.samples);
    this.player.load("original", run.wav());
    this.player.load("decoded", run.decoding.wav());
    this.#show("done");
    this.#draw();
  }

  // Another share of losses needs no other packets.
  #decodeAgain() {
    if (this.state !== "done" || !this.run?.isCoded) return;
    this.player.stop();
    this.meter = null;
    this.#show("decoding");
    this.run.decodeAgain(this.form.read());
  }

  #giveUp() {
    this.run?.leave();
    this.#show("idle");
  }

  #fail(title, text) {
    const capture = this.capture;
    this.capture = null;
    capture?.stop();
    const { element } = this;
    element("codec-notice-title").textContent = title;
    element("codec-notice-text").textContent = text ?? "";
    element("codec-notice").hidden = false;
    this.#show("failed");
  }

  #choose(which) {
    this.player.choose(which);
    for (const each of ["original", "decoded"]) {
      this.element(`hear-${each}`).setAttribute("aria-pressed", String(each === which));
    }
  }

  #save(what) {
    const { run } = this;
    const base = run.name.replace(/\.[^.]*$/, "");
    const [content, name] = {
      snc: () => [run.snc(), `${base}.snc`],
      decoded: () => [run.decoding.wav(), `${base}.decoded.wav`],
      original: () => [run.wav(), `${base}.wav`],
    }[what]();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = name;
    link.click();
    // The download has begun by then, or never will.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  #show(state) {
    const { element } = this;
    const isBusy = BUSY.includes(state);
    this.view.dataset.state = state;
    element("codec-status-text").textContent = TEXTS[state];
    element("codec-status").dataset.state = state;
    const label = { idle: "Start talking", recording: "Stop", asking: "Cancel", coding: "Cancel", decoding: "Cancel" };
    element("codec-record-label").textContent = label[state] ?? "New recording";
    element("codec-open").hidden = isBusy;
    this.form.lock(isBusy);
    element("wire").inert = state === "coding" || state === "decoding";
    for (const button of document.querySelectorAll("#codec-saves button, #codec-listen button")) button.disabled = state !== "done";
  }

  #showModel({ model, chunk_ms: chunkMs, delay_ms: delayMs }) {
    this.element("codec-info").textContent = `${model}, a packet every ${Math.round(chunkMs)} ms, delay of the model ${Math.round(delayMs)} ms.`;
  }

  // Once per picture of the screen.
  #showSoon() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      this.#draw();
    });
  }

  #draw() {
    this.plot.show(this.meter);
    this.element("rate-top").textContent = bitsOf(this.plot.top);
    this.#showFigures();
  }

  #showFigures() {
    const { meter } = this;
    const texts = {
      "rate-now": meter ? bitsOf(meter.now) : "–",
      "rate-mean": meter ? bitsOf(meter.mean) : "–",
      "rate-payload": meter ? bitsOf(meter.payload) : "–",
      "packet-count": meter ? `${meter.packets}, ${meter.lost} lost` : "–",
      "byte-count": meter ? `${meter.bytes} bytes` : "–",
      "decoded-length": this.run?.decoding ? `${(this.run.decoding.samples / this.run.decoding.rate).toFixed(2)} s` : "–",
    };
    for (const [id, text] of Object.entries(texts)) this.element(id).textContent = text;
  }

  #showPlaying(isPlaying) {
    this.element("codec-play-label").textContent = isPlaying ? "Pause" : "Play";
  }

  #showPlace(seconds) {
    this.element("codec-place").textContent = `${seconds.toFixed(1)} s`;
  }
}

const bitsOf = (value) => `${(value / 1000).toFixed(2)} kbit/s`;

