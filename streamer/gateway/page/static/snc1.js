// Takes SNC1 streams apart into their packets, without decoding them (docs/snc1.md describes every byte).

const HEADER_BYTES = 48;
const PACKET = { keyframe: 0x80, silence: 0x40, redundancy: 0x20, books: 0x1f };
const END = { letters: "SEND", bytes: 16 };
const UNKNOWN = 0xffffffffffffffffn;

// What the header says of the whole stream.
function headerOf(view) {
  const total = view.getBigUint64(24, true);
  return {
    rate: view.getUint32(8, true),
    frameSamples: view.getUint16(12, true),
    framesPerPacket: view.getUint8(16),
    preskip: view.getUint16(18, true),
    samples: total === UNKNOWN ? null : Number(total),
  };
}

// Splits bytes, cut anywhere, into `{ kind, bytes, ... }`: the "header", "packet"s, the "end", in order.
// The server made them whole, or the file is whose it was: what is no such stream raises an Error.
export class PacketSplitter {
  constructor() {
    this.header = null;
    this.samples = null; // of the whole stream, once it is known
    this.rest = new Uint8Array(0);
  }

  *feed(data) {
    const bytes = joined(this.rest, new Uint8Array(data));
    let at = 0;
    for (let item; (item = this.#next(bytes.subarray(at))); at += item.bytes.length) yield item;
    this.rest = bytes.slice(at);
  }

  // Null until all of it is there.
  #next(bytes) {
    if (!this.header) return this.#readHeader(bytes);
    if (!bytes.length) return null;
    if (bytes[0] === END.letters.charCodeAt(0)) return this.#readEnd(bytes);
    return readPacket(bytes);
  }

  #readHeader(bytes) {
    if (bytes.length < HEADER_BYTES) return null;
    if (lettersOf(bytes) !== "SNC1") throw new Error("This is no SNC1 stream.");
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const size = view.getUint16(6, true);
    if (bytes.length < size) return null;
    this.header = headerOf(view);
    this.samples = this.header.samples;
    return { kind: "header", bytes: bytes.slice(0, size) };
  }

  #readEnd(bytes) {
    if (bytes.length < END.bytes) return null;
    if (lettersOf(bytes) === END.letters) {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      this.samples = Number(view.getBigUint64(4, true));
    }
    return { kind: "end", bytes: bytes.slice(0, END.bytes) };
  }
}

function readPacket(bytes) {
  // First byte, number, length as a varint of one or two bytes, payload, checksum.
  if (bytes.length < 4) return null;
  const isLong = bytes[2] >= 0x80;
  const payload = isLong ? (bytes[2] & 0x7f) | (bytes[3] << 7) : bytes[2];
  const size = (isLong ? 4 : 3) + payload + 2;
  if (bytes.length < size) return null;
  const [first] = bytes;
  return {
    kind: "packet",
    bytes: bytes.slice(0, size),
    payload,
    books: (first & PACKET.books) + 1,
    isSilence: Boolean(first & PACKET.silence),
    isRedundant: Boolean(first & PACKET.redundancy),
  };
}

const lettersOf = (bytes) => String.fromCharCode(...bytes.subarray(0, 4));

function joined(first, second) {
  if (!first.length) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
