// The server that the page came from: its models, its tickets, its address for streams.
import { SUBPROTOCOL } from "./protocol.js";

// A refusal, with the server's code and message.
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// The key is kept here, in memory, and is only ever shown in a header; WebSockets get one-time tickets for it.
export class Server {
  constructor(base = document.baseURI) {
    this.base = base;
    this.key = "";
  }

  // Returns the models of all tasks, as `{ id, name, version, task, languages, sample_rate, is_default, voices, word_times }`.
  // Raises `Refusal`, and `TypeError` if the server cannot be reached.
  async models() {
    const { models } = await this.#ask("v1/models", { method: "GET" });
    return models.map((model) => ({ id: model.name, ...model }));
  }

  // Opens a connection for one stream; raises as `models` does.
  async dial() {
    const url = new URL("v1/stream", this.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (!this.key) return new WebSocket(url, [SUBPROTOCOL]);
    const { ticket } = await this.#ask("v1/tickets", { method: "POST" });
    return new WebSocket(url, [SUBPROTOCOL, `streamer.ticket.${ticket}`]);
  }

  async #ask(path, request) {
    const headers = this.key ? { authorization: `Bearer ${this.key}` } : {};
    const response = await fetch(new URL(path, this.base), { ...request, headers, cache: "no-store" });
    const body = await response.json().catch(() => ({}));
    if (response.ok) return body;
    throw new Refusal(codeOf(response.status, body), body.error?.message ?? body.message ?? `${path}: ${response.status}`);
  }
}

// The status comes first: some surfaces speak other dialects of errors.
const CODES = { 401: "unauthenticated", 403: "permission_denied", 429: "quota_exceeded" };

function codeOf(status, body) {
  return CODES[status] ?? body.code ?? (status === 503 ? "draining" : "internal");
}
