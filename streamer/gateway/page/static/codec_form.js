// The settings of the codec, and what they say.

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
    this.model.replaceChildren(
      ...models.map(({ name, version, is_default: isDefault }) => {
        const option = document.createElement("option");
        option.value = name;
        option.textContent = `${name} ${version ?? ""}`.trim();
        option.selected = Boolean(isDefault);
        return option;
      }),
    );
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
