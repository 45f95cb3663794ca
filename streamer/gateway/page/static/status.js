// What the page says about itself: the state in a word, and what went wrong in a few.

const TEXTS = {
  idle: "Ready",
  asking: "Waiting for permission",
  reading: "Reading the file",
  connecting: "Connecting",
  listening: "Listening",
  transcribing: "Transcribing",
  waiting: "Server full",
  limited: "Limit reached",
  reconnecting: "Reconnecting",
  finishing: "Finishing",
  done: "Done",
  failed: "Stopped",
};

const LABELS = {
  asking: "Cancel",
  reading: "Cancel",
  connecting: "Stop",
  listening: "Stop",
  transcribing: "Stop",
  waiting: "Stop",
  limited: "Stop",
  reconnecting: "Stop",
  finishing: "Leave the rest",
  done: "New recording",
  failed: "New recording",
};

export const CAPTURE_PROBLEMS = {
  insecure: {
    title: "The microphone needs a secure address",
    text: "Browsers give it to pages on https or on localhost only. Files work here all the same.",
  },
  denied: {
    title: "The microphone is not allowed",
    text: "Allow it for this page in the browser’s address bar, and start again.",
  },
  missing: { title: "There is no microphone", text: "Plug one in, or open a file instead." },
  busy: { title: "The microphone cannot be used", text: "Another program may be holding it." },
  lost: { title: "The microphone is gone", text: "What was said until then has been sent." },
  silent: { title: "Hardly any sound comes in", text: "Is it the right microphone, and is it switched on?" },
  unknown: { title: "The microphone does not start", text: "" },
};

export class Status {
  constructor(element) {
    this.text = element("status-text");
    this.record = element("record");
    this.label = element("record-label");
    this.open = element("open");
    this.notice = element("notice");
    this.title = element("notice-title");
    this.body = element("notice-text");
    element("notice-close").addEventListener("click", () => this.clear());
    this.kind = null;
  }

  // `isStopping`: nothing more is recorded, only the rest is waited for.
  show(state, isStopping = false) {
    document.body.dataset.state = state;
    this.text.textContent = TEXTS[state];
    this.label.textContent = LABELS[isStopping && this.isBusy ? "finishing" : state] ?? "Start talking";
    this.open.hidden = this.isBusy;
  }

  get state() {
    return document.body.dataset.state;
  }

  get isBusy() {
    return !["idle", "done", "failed"].includes(this.state);
  }

  // A notice of one kind replaces any other; `tone` is "bad" or "calm".
  tell(kind, tone, title, text) {
    this.kind = kind;
    this.notice.dataset.tone = tone;
    this.notice.dataset.kind = kind;
    // What is said again unchanged would be read out again.
    if (this.title.textContent !== title) this.title.textContent = title;
    if (this.body.textContent !== text) this.body.textContent = text;
    this.notice.hidden = false;
  }

  // Takes a notice of this kind away, or any.
  clear(kind = this.kind) {
    if (kind !== this.kind) return;
    this.kind = null;
    this.notice.hidden = true;
  }
}
