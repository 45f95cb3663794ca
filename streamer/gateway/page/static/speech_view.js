// Speech on the page: write a text, hear it while it is made, see its sound and the word that is said.
import { modelOptions } from "./model_options.js";
import { titleOf } from "./protocol.js";
import { clockOf } from "./sheet.js";
import { Spectrogram } from "./spectrogram.js";
import { SpeechPlayer } from "./speech_player.js";
import { RATE, SpeechRun } from "./speech_run.js";
import { SpokenText } from "./spoken_text.js";

const TEXTS = { idle: "Ready", connecting: "Connecting", speaking: "Speaking", done: "Done", failed: "Stopped" };
const BUSY = ["connecting", "speaking"];

export class SpeechView {
  constructor(element, server) {
    this.element = element;
    this.server = server;
    this.view = element("speech");
    this.form = element("speech-setup");
    this.spectrogram = new Spectrogram(element("spectrogram"));
    this.text = new SpokenText(element("spoken"));
    this.run = null;
    this.player = null;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.#listen();
    this.#show("idle");
  }

  // Shows the server's voices, the default one chosen.
  showModels(models) {
    this.element("speech-model").replaceChildren(...modelOptions(models));
    this.element("speech-speak").disabled = !models.length;
    this.models = models;
    this.#showVoices();
  }

  // Offers the voices of the model that is chosen.
  #showVoices() {
    const { voices = [] } = this.#model;
    this.element("speech-voices").replaceChildren(...voices.map((voice) => new Option(voice, voice)));
  }

  // What the server says of the model that is chosen.
  get #model() {
    const { value } = this.element("speech-model");
    return this.models.find((model) => model.name === value) ?? {};
  }

  get state() {
    return this.view.dataset.state;
  }

  get #isBusy() {
    return BUSY.includes(this.state);
  }

  #listen() {
    const { element } = this;
    element("speech-speak").addEventListener("click", () => this.#speak());
    element("speech-stop").addEventListener("click", () => this.#stop());
    element("speech-save").addEventListener("click", () => this.#save());
    element("speech-notice-close").addEventListener("click", () => (element("speech-notice").hidden = true));
    element("speech-model").addEventListener("change", () => this.#showVoices());
    element("speed").addEventListener("input", () => this.#showSpeed());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.view.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#stop();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#speak();
    });
    // Another view has no button to stop it with.
    window.addEventListener("hashchange", () => this.view.hidden && this.#stop());
    this.#showSpeed();
  }

  #speak() {
    const { element } = this;
    const text = element("speech-text").value;
    if (!text.trim() || element("speech-speak").disabled || !this.form.reportValidity()) return;
    this.#leave();
    element("speech-notice").hidden = true;
    this.spectrogram.clear(RATE);
    this.text.clear(text);
    this.pressedAt = performance.now();
    this.#show("connecting");
    this.player = new SpeechPlayer(RATE);
    const mine = () => this.run === run;
    const run = new SpeechRun(this.server, text, this.#read(), {
      ready: (message) => mine() && this.#showModel(message),
      sound: (samples) => mine() && this.#hear(samples),
      spoken: (words) => mine() && this.text.take(words),
      done: () => mine() && this.#drawSoon(),
      failed: (error) => mine() && this.#fail(error),
    });
    this.run = run;
    for (const id of ["speech-first", "speech-length", "speech-words"]) element(id).textContent = "–";
  }

  // What is chosen; zeros and empty texts are the server's defaults.
  #read() {
    const { model, voice, speed, seed } = this.form.elements;
    return {
      model: model.value,
      voice: voice.value.trim(),
      speed: speed.valueAsNumber,
      seed: seed.valueAsNumber || 0,
      word_times: this.#model.word_times ?? false,
    };
  }

  #hear(samples) {
    if (this.state === "connecting") {
      this.element("speech-first").textContent = `${Math.round(performance.now() - this.pressedAt)} ms`;
      this.#show("speaking");
    }
    this.player.take(samples);
    this.spectrogram.take(samples);
    this.#drawSoon();
  }

  #stop() {
    if (!this.#isBusy) return;
    this.#leave();
    this.#draw();
    this.#show("idle");
  }

  // What is said now is left, on both ends; its sound can still be saved.
  #leave() {
    this.run?.leave();
    this.player?.stop();
  }

  #fail({ code, message }) {
    const { element } = this;
    this.player.stop();
    element("speech-notice-title").textContent = titleOf(code);
    element("speech-notice-text").textContent = message ?? "";
    element("speech-notice").hidden = false;
    this.#show("failed");
  }

  // Once per picture of the screen while something is heard; whoever wants less motion gets four a second.
  #drawSoon() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    const draw = () => {
      this.isDrawing = false;
      if (!this.#isBusy) return;
      this.#draw();
      if (this.run.isComplete && this.player.isOver) this.#show("done");
      else this.#drawSoon();
    };
    if (this.calm.matches) setTimeout(draw, 250);
    else requestAnimationFrame(draw);
  }

  #draw() {
    const { heard } = this.player;
    const isOver = this.run.isComplete && this.player.isOver;
    this.text.show(heard);
    this.spectrogram.show(isOver ? null : heard / RATE);
    this.element("speech-clock").textContent = clockOf(heard / RATE);
    this.element("speech-length").textContent = `${(this.run.samples / RATE).toFixed(2)} s`;
    this.element("speech-words").textContent = String(this.text.words.length);
  }

  #save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(this.run.wav());
    link.download = "speech.wav";
    link.click();
    // The download has begun by then, or never will.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  #show(state) {
    const { element } = this;
    const isBusy = BUSY.includes(state);
    this.view.dataset.state = state;
    element("speech-status-text").textContent = TEXTS[state];
    element("speech-status").dataset.state = state;
    element("speech-speak-label").textContent = isBusy ? "Speak anew" : "Speak";
    element("speech-stop").disabled = !isBusy;
    element("speech-save").disabled = isBusy || !this.run?.samples;
  }

  #showSpeed() {
    this.element("speed-text").textContent = `${this.form.elements.speed.valueAsNumber.toFixed(2)}×`;
  }

  #showModel({ model }) {
    this.element("speech-info").textContent = `${model}, ${RATE / 1000} kHz`;
  }
}
