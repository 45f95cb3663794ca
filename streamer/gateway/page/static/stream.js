// Carries a tape to the server and its text back, over as many connections as it takes.
import { LagMeter } from "./meters.js";
import { configOf, reactionTo } from "./protocol.js";
import { Refusal } from "./server.js";

// Handed to the connection and not yet on its way; more would only make its lag unknown.
const MOST_UNSENT_BYTES = { live: 1 << 18, file: 1 << 20 };
const MOST_FRAME_S = { live: 0.1, file: 0.5 };
// A file is read this far ahead of what is sent, and sent this far ahead of what the server has dealt with: sockets
// hold minutes of sound, and what is on its way must still be on the tape if the connection is lost.
const READ_AHEAD_S = 10;
const SEND_AHEAD_S = 90;
// Audio that waited for longer than this cannot be caught up with at the pace of a live stream.
const LONGEST_LIVE_BACKLOG_S = 8;
// Kept below the server's limit on live audio ahead of the clock, for what clocks and networks do.
const PACE_MARGIN_MS = 1500;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
// A live server says something every second; silence means that the network is gone, which sockets notice late.
const SILENCE_MS = 15_000;
const WATCH_MS = 1500;
// A microphone that is held back by the browser says nothing for a while; the server lets go of silent clients.
const KEEP_ALIVE_MS = 10_000;
const POLL_MS = 20;

// One stream of the server, from its config to its end, over one connection or, resumed, several.
class Take {
  constructor(base, mode) {
    this.base = base; // its first sample, on the tape
    this.mode = mode;
    this.token = null;
    this.finals = 0;
    this.safe = base; // nothing before it is needed by a stream that begins anew
    this.openedAt = null; // when it was admitted first; its pace is counted from then, however often it is resumed
  }
}

// `on` has functions: state(name, detail), result(message, base), flow(message), ready(message), warning(message),
// lost(samples). States: connecting, open, waiting (for a slot), reconnecting, done, failed.
export class Stream {
  #take = null;
  #socket = null;
  #isOpen = false;
  #ended = false;
  #saidEnd = false;
  #settled = false;
  #attempts = 0;
  #sent = 0; // positions on the tape
  #processed = 0;
  #limits = null;
  #heardAt = 0;
  #sentAt = 0;
  #timer = null;
  #pumpTimer = null;
  #roomWaiters = [];

  constructor(server, tape, options, mode, on) {
    this.server = server;
    this.tape = tape;
    this.options = options;
    this.mode = mode;
    this.on = on;
    this.lag = new LagMeter();
    this.isDone = new Promise((resolve) => (this.#resolve = resolve));
  }
  #resolve;

  start() {
    this.on.state("connecting");
    this.#connect();
  }

  // The tape has more.
  grew() {
    this.#pump();
  }

  // The tape will not grow any more: send what is left, wait for the last words.
  end() {
    this.#ended = true;
    this.#pump();
  }

  // Leave now, whatever is missing.
  cancel() {
    this.#settle("done", { cancelled: true });
  }

  // Try again now, if it is time that is waited for.
  hurry() {
    if (this.#timer !== null) this.#retryAfter(0);
  }

  // Resolves when the tape should grow; for tapes that could be filled faster than they are sent.
  room() {
    if (this.#unsent < READ_AHEAD_S * this.tape.rate) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  get #unsent() {
    return this.tape.end - (this.#take ? this.#sent : this.tape.start);
  }

  async #connect() {
    this.#timer = null;
    this.#isOpen = this.#saidEnd = false;
    this.lag.reset();
    try {
      this.#use(await this.server.dial());
    } catch (error) {
      if (this.#settled) return;
      if (error instanceof Refusal) this.#refused({ code: error.code, message: error.message });
      else this.#lost();
    }
  }

  #use(socket) {
    if (this.#settled) return socket.close();
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#watch(socket);
    const isCurrent = () => this.#socket === socket && !this.#settled;
    socket.onopen = () => isCurrent() && this.#introduce();
    socket.onmessage = ({ data }) => isCurrent() && this.#hear(JSON.parse(data));
    socket.onclose = () => isCurrent() && this.#lost();
    return socket;
  }

  #introduce() {
    if (!this.#take?.token) this.#begin();
    const take = this.#take;
    const resume = take.token && { token: take.token, next_segment: take.finals };
    this.#socket.send(JSON.stringify(configOf(this.options, this.tape.rate, take.mode, resume)));
  }

  // A new stream of the server, from the earliest sound whose text is not final.
  #begin() {
    const base = Math.max(this.tape.start, this.#take?.safe ?? 0);
    const waited = (this.tape.end - base) / this.tape.rate;
    this.#take = new Take(base, waited > LONGEST_LIVE_BACKLOG_S ? "file" : this.mode);
    this.#sent = base;
  }

  #hear(message) {
    this.#heardAt = performance.now();
    const handler = this.#handlers[message.type];
    // Servers may add kinds of messages.
    if (handler) handler(message);
    this.#pump();
  }

  #handlers = {
    ready: (message) => this.#ready(message),
    result: (message) => this.#result(message),
    flow: (message) => this.#flow(message),
    warning: (message) => this.on.warning(message),
    done: () => this.#settle("done", { cancelled: false }),
    error: (message) => this.#refused(message),
  };

  #ready(message) {
    const take = this.#take;
    const from = take.base + (message.next_sample ?? 0);
    if (from < this.tape.start) return this.#beginAnew();
    take.token = message.resume_token ?? null;
    this.#sent = this.#processed = from;
    this.#sentAt = performance.now();
    take.openedAt ??= this.#sentAt;
    this.#limits = message.limits;
    this.#attempts = 0;
    this.#isOpen = true;
    this.on.ready(message);
    this.on.state("open");
  }

  #result(message) {
    const take = this.#take;
    if (message.is_final) {
      take.finals += 1;
      take.safe = take.base + message.end_sample;
      if (!take.token) this.tape.forgetBefore(take.safe);
    }
    this.#reach(take.base + message.end_sample);
    this.on.result(message, take.base);
  }

  #flow(message) {
    const take = this.#take;
    if (message.resume_token) take.token = message.resume_token;
    if (take.token && message.acked_sample !== undefined) this.tape.forgetBefore(take.base + message.acked_sample);
    this.#reach(take.base + message.processed_sample);
    this.lag.flow(message, performance.now());
    this.on.flow(message, take.base);
  }

  #reach(position) {
    this.#processed = Math.max(this.#processed, position);
  }

  // Sends what the tape, the connection and the pace of a live stream allow.
  #pump() {
    if (this.#isOpen && !this.#settled) {
      if (this.#sent < this.tape.start) return this.#beginAnew();
      while (this.#sent < this.tape.end && this.#maySend()) this.#sendFrame();
      if (this.#ended && this.#sent === this.tape.end && !this.#saidEnd) this.#sayEnd();
      else if (this.#sent < this.tape.end) this.#pumpLater();
      this.lag.waitingMs = (1000 * (this.tape.end - this.#sent)) / this.tape.rate;
    }
    if (this.#unsent < READ_AHEAD_S * this.tape.rate) this.#roomWaiters.splice(0).forEach((resolve) => resolve());
  }

  #maySend() {
    if (this.#socket.bufferedAmount > MOST_UNSENT_BYTES[this.#take.mode]) return false;
    if (this.#take.mode === "file") return this.#sent - this.#processed < SEND_AHEAD_S * this.tape.rate;
    const { base, openedAt } = this.#take;
    const aheadMs = (1000 * (this.#sent - base)) / this.tape.rate - (performance.now() - openedAt);
    return aheadMs < this.#limits.max_ahead_ms - PACE_MARGIN_MS;
  }

  #sendFrame() {
    const { max_frame_ms, max_frame_bytes } = this.#limits;
    const seconds = Math.min(MOST_FRAME_S[this.#take.mode], max_frame_ms / 1000);
    const frame = this.tape.read(this.#sent, Math.floor(Math.min(seconds * this.tape.rate, max_frame_bytes / 2)));
    this.#send(frame);
    this.#sent += frame.length;
    this.lag.sent(this.#sent - this.#take.base, this.#sentAt);
  }

  #sayEnd() {
    this.#saidEnd = true;
    this.#send('{"type":"end"}');
  }

  #pumpLater() {
    this.#pumpTimer ??= setTimeout(() => {
      this.#pumpTimer = null;
      this.#pump();
    }, POLL_MS);
  }

  // The tape keeps so much and no more; a server that was away for longer cannot have it all.
  #beginAnew() {
    this.on.lost(Math.max(0, this.tape.start - this.#take.safe));
    this.#take.token = null;
    this.#hangUp();
    this.#connect();
  }

  #refused({ code, message, retry_after_ms: retryMs }) {
    const reaction = reactionTo(code);
    this.#hangUp();
    if (reaction === "wait") {
      const waitMs = Math.max(retryMs ?? 1000, 500);
      this.on.state("waiting", { code, message, waitMs });
      this.#retryAfter(waitMs);
    } else if (reaction === "reconnect") {
      this.#reconnect(message);
    } else if (code === "invalid_request" && this.#take?.token && !this.#isOpen) {
      // The token does not hold any more, for example after a change of the model.
      this.#take.token = null;
      this.#reconnect(message);
    } else {
      this.#settle("failed", { code, message, reaction });
    }
  }

  #lost() {
    this.#hangUp();
    this.#reconnect("");
  }

  #reconnect(message) {
    this.#isOpen = false;
    const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts++);
    this.on.state("reconnecting", { message, attempts: this.#attempts });
    // Many pages may have lost the same server.
    this.#retryAfter(waitMs * (0.75 + Math.random() / 2));
  }

  #retryAfter(waitMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), waitMs);
  }

  #watch(socket) {
    if (this.#socket !== socket || this.#settled) return;
    const now = performance.now();
    // Without audio a server has nothing to say.
    const isLive = this.#isOpen && this.#take.mode === "live";
    if (this.#isOpen ? isLive && this.#sentAt - this.#heardAt > SILENCE_MS : now - this.#heardAt > SILENCE_MS) {
      return this.#lost();
    }
    if (this.#isOpen && !this.#saidEnd && now - this.#sentAt > KEEP_ALIVE_MS) this.#send('{"type":"keep_alive"}');
    setTimeout(() => this.#watch(socket), WATCH_MS);
  }

  #send(frame) {
    this.#socket.send(frame);
    this.#sentAt = performance.now();
  }

  #hangUp() {
    const socket = this.#socket;
    this.#socket = null;
    this.#isOpen = false;
    socket?.close();
  }

  #settle(state, detail) {
    if (this.#settled) return;
    this.#settled = true;
    this.#hangUp();
    clearTimeout(this.#timer);
    clearTimeout(this.#pumpTimer);
    this.#roomWaiters.splice(0).forEach((resolve) => resolve());
    this.on.state(state, detail);
    this.#resolve();
  }
}
