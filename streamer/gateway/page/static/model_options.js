// The models of a task, to be chosen from.

// Returns an `<option>` for each, the server's default one selected.
export function modelOptions(models) {
  return models.map(({ name, version, is_default: isDefault }) => {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = `${name} ${version ?? ""}`.trim();
    option.selected = Boolean(isDefault);
    return option;
  });
}
