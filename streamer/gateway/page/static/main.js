// Joins the parts of the page.
import { isPossible, microphones } from "./capture.js";
import { CodecView } from "./codec_view.js";
import { FileError } from "./files.js";
import { FORMATS } from "./formats.js";
import { Form } from "./form.js";
import { Gauges } from "./gauges.js";
import { LevelMeter } from "./meters.js";
import { loudness } from "./pcm.js";
import { Player } from "./player.js";
import { titleOf } from "./protocol.js";
import { CaptureError, FileRecording, MicrophoneRecording } from "./recording.js";
import { Refusal, Server } from "./server.js";
import { clockOf, Sheet } from "./sheet.js";
import { SpeechView } from "./speech_view.js";
import { CAPTURE_PROBLEMS, Status } from "./status.js";
import { Views } from "./views.js";
import { Waveform } from "./waveform.js";

const RETRY_MODELS_MS = 2000;

const element = (id) => document.getElementById(id);
const server = new Server();
const form = new Form(element);
const gauges = new Gauges(element);
const status = new Status(element);
const waveform = new Waveform(element("waveform"));
const player = new Player();
const views = new Views(element);
const codec = new CodecView(element, server);
const speech = new SpeechView(element, server);
const sheet = new Sheet(element, (word, segment) => player.play(word.start_s, segment.end_s));

let recording = null; // the one that runs, or the last one
let level = new LevelMeter();
let attempt = 0; // counts wishes to start, so that one that was given up comes to nothing

async function loadModels() {
  try {
    const models = await server.models();
    const recognisers = models.filter(({ task }) => task === "transcribe");
    form.showModels(recognisers);
    showOthers(models);
    views.allow("transcribe", recognisers.length > 0);
    element("record").disabled = element("open").disabled = false;
    status.clear("models");
    status.clear("key");
    if (status.state === "idle") status.show("idle");
  } catch (error) {
    if (error instanceof Refusal && ["unauthenticated", "permission_denied"].includes(error.code)) {
      status.tell("key", "bad", titleOf(error.code), sentence(error.message));
      form.askForKey();
      return;
    }
    status.tell("models", "bad", "The server cannot be reached", "Trying again every few seconds.");
    setTimeout(loadModels, RETRY_MODELS_MS);
  }
}

function showOthers(models) {
  for (const [name, view, task] of [["codec", codec, "codec"], ["speech", speech, "synthesize"]]) {
    const served = models.filter((model) => model.task === task);
    view.showModels(served);
    views.allow(name, served.length > 0);
  }
}

async function start(state, begin) {
  const options = form.read();
  if (!options) return;
  const mine = ++attempt;
  const isWanted = () => mine === attempt;
  status.clear();
  status.show(state);
  form.lock(true);
  try {
    const started = await begin(options, handlers(isWanted));
    if (!isWanted()) started.leave();
  } catch (error) {
    if (!isWanted()) return;
    explain(error);
    status.show("failed");
    form.lock(false);
  }
}

function startTalking() {
  return start("asking", (options, on) => MicrophoneRecording.start(server, options, on));
}

function startFile(file) {
  const rate = form.chosenModel?.sample_rate || 16_000;
  return start("reading", (options, on) => FileRecording.start(file, rate, server, options, on));
}

function explain(error) {
  if (error instanceof CaptureError) {
    const { title, text } = CAPTURE_PROBLEMS[error.problem];
    status.tell(error.problem, "bad", title, text || error.message);
  } else if (error instanceof FileError) {
    status.tell("file", "bad", "The file cannot be transcribed", error.message);
  } else {
    status.tell("failed", "bad", "The page failed", String(error.message ?? error));
  }
}

// What a recording reports; nothing of one that was given up is shown.
function handlers(isWanted) {
  const shown = {
    opened: (started) => begun(started),
    frame: (samples) => heard(samples),
    final: (segment) => showFinal(segment),
    interim: (segment) => showInterim(segment),
    ready: (message) => showModel(message),
    flow: (message, base) => showFlow(message, base),
    warning: ({ code, message }) => status.tell(code, "calm", warningTitle(code), sentence(message)),
    lost: (samples) => tellLost(samples),
    gone: () => status.tell("lost", "bad", CAPTURE_PROBLEMS.lost.title, CAPTURE_PROBLEMS.lost.text),
    unreadable: (error) => status.tell("file", "bad", "The file cannot be read to its end", error.message),
    state: (state, detail) => entered(state, detail),
  };
  return Object.fromEntries(
    Object.entries(shown).map(([name, handler]) => [name, (...values) => isWanted() && handler(...values)]),
  );
}

function begun(started) {
  recording = started;
  level = new LevelMeter();
  player.load(null);
  sheet.clear();
  gauges.clear();
  waveform.clear(started.tape.rate);
  element("hint").hidden = true;
  element("clock").textContent = clockOf(0);
  const progress = element("progress");
  progress.hidden = started.total === null;
  progress.max = started.total ?? 1;
  progress.value = 0;
  allowSaving();
  microphones().then((devices) => form.showDevices(devices));
}

function heard(samples) {
  waveform.take(samples);
  level.take(loudness(samples), performance.now());
  gauges.showLevel(level);
  element("clock").textContent = clockOf(recording.tape.end / recording.tape.rate);
  if (recording.total === null && level.isSilent) {
    if (!status.kind) status.tell("silent", "calm", CAPTURE_PROBLEMS.silent.title, CAPTURE_PROBLEMS.silent.text);
  } else {
    status.clear("silent");
  }
  gauges.showLag(recording.stream.lag);
}

function showFinal(segment) {
  sheet.addFinal(segment);
  allowSaving();
}

function showInterim(segment) {
  sheet.showInterim(segment);
  if (segment) waveform.reach(segment.end_s * recording.tape.rate);
}

function showModel({ model, chunk_ms, delay_ms }) {
  element("model-info").textContent = `${model}, a step every ${Math.round(chunk_ms)} ms, delay of the model ${Math.round(delay_ms)} ms.`;
}

function showFlow({ processed_sample }, base) {
  waveform.reach(base + processed_sample);
  element("progress").value = base + processed_sample;
  gauges.showLag(recording.stream.lag);
}

function tellLost(samples) {
  const seconds = (samples / recording.tape.rate).toFixed(0);
  status.tell("lost", "bad", `${seconds} s of sound could not be sent in time`, "The rest goes on. The WAV file has it all.");
}

const warningTitle = (code) => (code === "draining" ? "The server is about to restart" : "The server warns");

function entered(state, detail) {
  const handler = { open, waiting, reconnecting, done, failed }[state];
  if (handler) handler(detail ?? {});
  else showState(state);
}

const showState = (state) => status.show(state, recording.isStopping);

function open() {
  status.clear("waiting");
  status.clear("reconnecting");
  status.clear("draining");
  showState(running());
}

function running() {
  if (recording.isStopping) return "finishing";
  return recording.total === null ? "listening" : "transcribing";
}

function waiting({ code, message, waitMs }) {
  const isFull = code === "overloaded";
  showState(isFull ? "waiting" : "limited");
  const kept = recording.total === null ? " What you say meanwhile is kept." : "";
  const title = isFull ? "The server is full" : "A limit is reached";
  status.tell("waiting", "calm", title, `${sentence(message)} Trying again in ${(waitMs / 1000).toFixed(0)} s.${kept}`);
}

function reconnecting({ message }) {
  showState("reconnecting");
  const kept = recording.total === null ? "What you say is kept and sent when the server is back." : "It goes on when the server is back.";
  status.tell("reconnecting", "calm", "The connection is lost", `${sentence(message)} ${kept}`.trim());
}

function done() {
  for (const kind of ["waiting", "reconnecting", "draining", "silent"]) status.clear(kind);
  finish("done");
}

function failed({ code, message, reaction }) {
  status.tell(code, "bad", titleOf(code), sentence(message));
  finish("failed");
  if (reaction === "key") form.askForKey();
}

function finish(state) {
  status.show(state);
  form.lock(false);
  const { end } = recording.tape;
  if (state === "done") waveform.reach(end);
  if (state === "done" && recording.total !== null) element("progress").value = end;
  if (end) player.load(recording.tape.wav());
  allowSaving();
}

const sentence = (message) => (message ? `${message[0].toUpperCase()}${message.slice(1)}.` : "");

function allowSaving() {
  const hasText = Boolean(recording?.transcript.segments.some(({ text }) => text));
  const hasSound = Boolean(recording?.tape.end) && !status.isBusy;
  for (const button of document.querySelectorAll("#saves button")) {
    button.disabled = !(button.dataset.format === "wav" ? hasSound : hasText);
  }
}

function recordPressed() {
  if (!status.isBusy) return startTalking();
  if (status.state === "asking" || status.state === "reading") return giveUp();
  if (recording.isStopping) return recording.leave();
  recording.isStopping = true;
  showState(["listening", "transcribing"].includes(status.state) ? "finishing" : status.state);
  return recording.stop();
}

function giveUp() {
  attempt++;
  status.show("idle");
  form.lock(false);
}

function save(name) {
  const format = FORMATS[name];
  const content = format ? new Blob([format.render(recording.document)], { type: format.type }) : recording.tape.wav();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${recording.name.replace(/\.[^.]*$/, "")}.${name}`;
  link.click();
  // The download has begun by then, or never will.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function copy() {
  await navigator.clipboard.writeText(FORMATS.txt.render(recording.document));
  element("copy").textContent = "Copied";
  setTimeout(() => (element("copy").textContent = "Copy"), 1500);
}

function acceptDrops(deck) {
  const isFile = (event) => event.dataTransfer?.types.includes("Files") && !status.isBusy && !element("open").disabled;
  deck.addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    deck.classList.add("drop");
  });
  for (const name of ["dragleave", "drop"]) deck.addEventListener(name, () => deck.classList.remove("drop"));
  deck.addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    startFile(event.dataTransfer.files[0]);
  });
}

element("record").addEventListener("click", recordPressed);
element("open").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  // The same file may be chosen again.
  target.value = "";
  if (file) startFile(file);
});
element("saves").addEventListener("click", ({ target }) => target.dataset.format && save(target.dataset.format));
element("copy").addEventListener("click", copy);
element("copy").hidden = !navigator.clipboard;
element("key").addEventListener("change", ({ target }) => {
  server.key = target.value.trim();
  loadModels();
});
acceptDrops(element("deck"));
window.addEventListener("online", () => status.isBusy && recording?.stream.hurry());
window.addEventListener("beforeunload", (event) => status.isBusy && event.preventDefault());
navigator.mediaDevices?.addEventListener("devicechange", async () => form.showDevices(await microphones()));

if (!isPossible()) status.tell("insecure", "calm", CAPTURE_PROBLEMS.insecure.title, CAPTURE_PROBLEMS.insecure.text);
microphones().then((devices) => form.showDevices(devices));
loadModels();
