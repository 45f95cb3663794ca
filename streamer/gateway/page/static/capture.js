// The microphone: permission, device, and frames of 16-bit samples at the rate of the audio context.

const FRAME_S = 0.05;
const MOST_RATE = 48_000;

// What can be wrong with a microphone, by the name of the browser's exception (Media Capture and Streams, 10.3).
const PROBLEMS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

// `problem` is "insecure", "denied", "missing", "busy" or "unknown".
export class CaptureError extends Error {
  constructor(problem, message = problem) {
    super(message);
    this.problem = problem;
  }
}

// Browsers hand out the microphone on https and on localhost only.
export const isPossible = () => Boolean(window.isSecureContext && navigator.mediaDevices && window.AudioWorkletNode);

// Returns the microphones as `{ id, label }`; without permission they have no labels, and none is returned.
export async function microphones() {
  if (!isPossible()) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === "audioinput" && device.label)
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

// A microphone that is on. `onframe(Int16Array)` gets the sound, `onlost()` is called if the device goes away.
export class Capture {
  static async open({ device, processing }) {
    if (!isPossible()) throw new CaptureError("insecure");
    const context = newContext();
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: constraints(device, processing) });
      await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
      await context.resume();
      return new Capture(context, stream);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      await context.close();
      throw new CaptureError(PROBLEMS[error.name] ?? "unknown", error.message);
    }
  }

  constructor(context, stream) {
    this.onframe = () => {};
    this.onlost = () => {};
    this.rate = context.sampleRate;
    this.context = context;
    this.stream = stream;
    this.node = new AudioWorkletNode(context, "framer", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { frameSamples: Math.round(this.rate * FRAME_S) },
    });
    this.flushed = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => (data ? this.onframe(data) : resolve());
    });
    this.source = context.createMediaStreamSource(stream);
    this.source.connect(this.node);
    stream.getAudioTracks()[0].onended = () => this.onlost();
  }

  // Turns the microphone off once its last frame has been given to `onframe`.
  async stop() {
    // A suspended context runs no worklet that could answer.
    if (this.context.state === "running") {
      this.node.port.postMessage("stop");
      await this.flushed;
    }
    this.source.disconnect();
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }
}

// At the rate of the device, unless that is more than the server takes.
function newContext() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= MOST_RATE) return context;
  context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: MOST_RATE });
}

// What browsers do to sound for calls between people, models have not been trained on.
function constraints(device, processing) {
  return {
    channelCount: 1,
    echoCancellation: processing,
    noiseSuppression: processing,
    autoGainControl: processing,
    ...(device && { deviceId: { exact: device } }),
  };
}
