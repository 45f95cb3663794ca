// What is said on `/v1/stream`: the config, and what the server's errors mean to the person at the page.

export const SUBPROTOCOL = "streamer.v1";

// Returns the first message of a stream. `options` are those of the form; `resume` goes on with an earlier stream.
export function configOf(options, rate, mode, resume) {
  const decoding = decodingOf(options);
  return {
    type: "config",
    encoding: "pcm_s16le",
    sample_rate: rate,
    channels: 1,
    mode,
    resumable: true,
    ...(options.model && { model: options.model }),
    ...(options.language && { language: options.language }),
    ...(decoding && { decoding }),
    ...(resume && { resume }),
  };
}

// Returns the search options that differ from the server's own, null if none does.
export function decodingOf({ method, beam, hotwords, hotwordBoost }) {
  if (method !== "beam") return null;
  const phrases = parseHotwords(hotwords);
  return {
    method,
    ...(beam && { beam }),
    ...(phrases.length && { hotwords: phrases }),
    ...(phrases.length && hotwordBoost !== null && { hotword_boost: hotwordBoost }),
  };
}

// One phrase a line, `ada lovelace :3` with a boost of its own, as in the files of the command line.
export function parseHotwords(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const [, phrase, boost] = line.match(/^(.*?)\s*:\s*(\d+(?:\.\d+)?)$/) ?? [null, line, null];
      return boost === null ? { phrase } : { phrase, boost: Number(boost) };
    });
}

// How the page goes on after an error of each code; any other ends the recording.
// "wait": a slot may become free. "reconnect": the same or another server will answer. "key": the key does not open.
const REACTIONS = {
  overloaded: "wait",
  quota_exceeded: "wait",
  draining: "reconnect",
  unauthenticated: "key",
  permission_denied: "key",
};

export const reactionTo = (code) => REACTIONS[code] ?? "end";

const TITLES = {
  invalid_request: "The server refused the request",
  unauthenticated: "This server wants an API key",
  permission_denied: "This key may not do that",
  unknown_model: "The server does not have this model",
  superseded: "The recording goes on somewhere else",
  message_too_large: "The server refused the sound",
  too_fast: "The sound came too fast",
  slow_reader: "The page could not keep up",
  timeout: "The server ended the stream",
  internal: "The server failed",
};

export const titleOf = (code) => TITLES[code] ?? "The server ended the stream";
