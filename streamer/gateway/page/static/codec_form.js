// The settings of the codec, and what they say.
import { modelOptions } from "./model_options.js";

export class CodecForm {
  constructor(element) {
    this.form = element("codec-setup");
    this.model = element("codec-model");
    this.loss = element("loss");
    this.lossText = element("loss-text");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.loss.addEventListener("input", () => this.#showLoss());
    this.#showLoss();
  }

  // Shows the server's codecs, the default one chosen.
  showModels(models) {
    this.model.replaceChildren(...modelOptions(models));
  }

  // What is chosen; zeros and empty texts are the server's defaults.
  read() {
    const { elements } = this.form;
    return {
      model: this.model.value,
      loss: this.loss.valueAsNumber / 100,
      codec: {
        bitrate: Number(elements.bitrate.value),
        frames_per_packet: Number(elements.frames.value),
        entropy: elements.entropy.value,
        fec: elements.fec.checked,
        dtx: elements.dtx.checked,
      },
    };
  }

  // Settings of packets hold for a whole recording.
  lock(isLocked) {
    this.form.inert = isLocked;
  }

  #showLoss() {
    this.lossText.textContent = `${this.loss.value} %`;
  }
}
