// One stream of the codec, or of a voice: bytes or text there, bytes back.

// Handed to the connection and not yet on its way.
const MOST_UNSENT_BYTES = 1 << 18;
const MOST_FRAME_BYTES = 1 << 15;
const POLL_MS = 20;

// `on` has functions: ready(message), bytes(ArrayBuffer), done(), failed({ code, message }), and may have other(message).
export class CodecStream {
  #socket = null;
  #waiting = []; // frames that the connection has no room for, or is not ready for
  #isOpen = false;
  #isOver = false;

  constructor(server, config, on) {
    this.server = server;
    this.config = { type: "config", task: "codec", channels: 1, ...config };
    this.on = on;
  }

  async start() {
    try {
      const socket = await this.server.dial();
      if (this.#isOver) return socket.close();
      this.#use(socket);
    } catch (error) {
      this.#fail({ code: error.code ?? "unreachable", message: error.message });
    }
  }

  // Sends audio or packets, a typed array, when there is room.
  send(data) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.length; at += MOST_FRAME_BYTES) {
      this.#waiting.push(bytes.slice(at, at + MOST_FRAME_BYTES));
    }
    this.#pump();
  }

  // Sends a message when there is room.
  tell(message) {
    this.#waiting.push(JSON.stringify(message));
    this.#pump();
  }

  // Nothing follows; what is left of the answer does.
  end() {
    this.tell({ type: "end" });
  }

  leave() {
    this.#isOver = true;
    this.#socket?.close();
  }

  #use(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify(this.config));
    socket.onmessage = ({ data }) => {
      if (this.#isOver) return;
      if (typeof data === "string") this.#hear(JSON.parse(data));
      else this.on.bytes(data);
    };
    socket.onclose = () => this.#fail({ code: "lost", message: "the connection is lost" });
  }

  #hear(message) {
    if (message.type === "ready") {
      this.#isOpen = true;
      this.on.ready(message);
      this.#pump();
    } else if (message.type === "done") {
      this.leave();
      this.on.done();
    } else if (message.type === "error") {
      this.#fail(message);
    } else {
      this.on.other?.(message);
    }
  }

  #pump() {
    if (!this.#isOpen || this.#isOver) return;
    while (this.#waiting.length && this.#socket.bufferedAmount < MOST_UNSENT_BYTES) {
      this.#socket.send(this.#waiting.shift());
    }
    if (this.#waiting.length) setTimeout(() => this.#pump(), POLL_MS);
  }

  #fail(error) {
    if (this.#isOver) return;
    this.leave();
    this.on.failed(error);
  }
}
