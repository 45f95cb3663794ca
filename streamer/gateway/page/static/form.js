// The settings on the page, and what they say.

export class Form {
  constructor(element) {
    this.form = element("setup");
    this.model = element("model");
    this.language = element("language");
    this.device = element("device");
    this.deviceField = element("device-field");
    this.options = element("options");
    this.key = element("key");
    this.models = [];
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.model.addEventListener("change", () => this.#showLanguages());
    // Hotwords and a number of hypotheses mean nothing without a beam.
    for (const name of ["beam", "hotwords", "hotword_boost"]) {
      this.form.elements[name].addEventListener("input", () => (this.form.elements.method.value = "beam"));
    }
  }

  // Shows the server's models, the default one chosen.
  showModels(models) {
    this.models = models;
    this.model.replaceChildren(...models.map((model) => optionOf(model.name, nameOf(model))));
    const chosen = models.find((model) => model.is_default) ?? models[0];
    if (chosen) this.model.value = chosen.name;
    this.#showLanguages();
  }

  showDevices(devices) {
    const chosen = this.device.value;
    this.device.replaceChildren(
      optionOf("", "As the system says"),
      ...devices.filter(({ id }) => id !== "default").map(({ id, label }) => optionOf(id, label)),
    );
    this.device.value = devices.some(({ id }) => id === chosen) ? chosen : "";
    this.deviceField.hidden = devices.length < 2;
  }

  get chosenModel() {
    return this.models.find((model) => model.name === this.model.value) ?? null;
  }

  // Returns what is chosen; null, and says so at the field, if a value is out of its range.
  read() {
    const { elements } = this.form;
    if (!this.form.checkValidity()) {
      this.options.open = true;
      this.form.reportValidity();
      return null;
    }
    return {
      model: this.model.value,
      language: this.language.value,
      device: this.device.value,
      method: elements.method.value,
      beam: elements.beam.valueAsNumber || null,
      hotwords: elements.hotwords.value,
      hotwordBoost: Number.isFinite(elements.hotword_boost.valueAsNumber) ? elements.hotword_boost.valueAsNumber : null,
      processing: elements.processing.checked,
    };
  }

  askForKey() {
    this.options.open = true;
    this.key.focus();
  }

  // Settings hold for a whole recording.
  lock(isLocked) {
    this.form.inert = isLocked;
  }

  #showLanguages() {
    const languages = this.chosenModel?.languages ?? [];
    const options = languages.map((code) => optionOf(code, languageName(code)));
    // A model of one language has no choice to make.
    this.language.replaceChildren(...(options.length === 1 ? options : [optionOf("", "Any of the model"), ...options]));
  }
}

function optionOf(value, text) {
  const option = document.createElement("option");
  option.value = value;
  option.textContent = text;
  return option;
}

const nameOf = (model) => `${model.name} ${model.version ?? ""}`.trim();

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code;
  }
}
