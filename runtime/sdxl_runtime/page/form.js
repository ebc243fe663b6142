/** The form: filled from the model, read into values under the API's names, and told what is wrong at which field. */

const form = document.getElementById("form");
const control = (name) => form.elements[name];

let tokens = {};

/** Fill sizes, limits, defaults and choices from the `sdxl` member of a model. */
export function fill(sdxl) {
  tokens = sdxl.prompt_tokens ?? {};
  const chips = sdxl.sizes.map(chip);
  document.getElementById("sizes").replaceChildren(...chips);
  control("scheduler").replaceChildren(...sdxl.schedulers.map((name) => new Option(name)));
  control("num_inference_steps").max = sdxl.num_inference_steps.maximum;
  control("guidance_scale").max = sdxl.guidance_scale.maximum;
  document.getElementById("adapters").replaceChildren(...(sdxl.adapters ?? []).map(adapter));
  place("adapters").hidden = !sdxl.adapters?.length;
  place("refiner").hidden = !sdxl.refiner;
  for (const slider of form.querySelectorAll("[data-twin]")) {
    slider.max = control(slider.dataset.twin).max;
  }
  write({
    size: sdxl.sizes[0],
    scheduler: sdxl.scheduler,
    num_inference_steps: sdxl.num_inference_steps.default,
    guidance_scale: sdxl.guidance_scale.default,
  });
}

/** What the form says, under the API's names; what is left empty or not offered is absent. */
export function read() {
  const values = {
    prompt: control("prompt").value,
    size: form.querySelector('[name="size"]:checked')?.value,
    num_inference_steps: control("num_inference_steps").valueAsNumber,
    guidance_scale: control("guidance_scale").valueAsNumber,
    scheduler: control("scheduler").value,
    output_format: control("output_format").value,
  };
  if (control("negative_prompt").value.trim()) values.negative_prompt = control("negative_prompt").value;
  if (control("seed").value) values.seed = control("seed").valueAsNumber;
  if (startsFromPicture()) values.strength = control("strength").valueAsNumber;
  const adapters = [...form.querySelectorAll("[data-adapter]:checked")].map(({ dataset }) => ({
    name: dataset.adapter,
    scale: control(`scale-${dataset.adapter}`).valueAsNumber,
  }));
  if (adapters.length) values.adapters = adapters;
  if (!place("refiner").hidden) values.refiner = control("refiner").checked;
  return values;
}

/** How many pictures are asked for. */
export const readCount = () => control("n").valueAsNumber;

/** Whether a picture is changed, and not made from nothing. */
export const startsFromPicture = () => control("start").value === "picture";

/** Put values under the API's names back into the form; a name that is absent leaves its field alone. */
export function write(values) {
  for (const [name, value] of Object.entries(values)) {
    const field = control(name);
    if (name === "refiner") field.checked = value;
    else if (name === "size" || name === "start") check(name, value);
    else if (field?.options) field.value = [...field.options].find((option) => option.value === value)?.value ?? field.value;
    else if (field && name !== "adapters") field.value = value;
  }
  for (const slider of form.querySelectorAll("[data-twin]")) slider.value = control(slider.dataset.twin).value;
  refresh();
}

/** Put a picture's whole request back: fields that it did not have become empty. */
export function restore(fields) {
  write({ negative_prompt: "", seed: "", start: "strength" in fields ? "picture" : "text", ...fields });
  for (const box of form.querySelectorAll("[data-adapter]")) {
    const used = fields.adapters?.find(({ name }) => name === box.dataset.adapter);
    box.checked = Boolean(used);
    if (used) control(`scale-${box.dataset.adapter}`).value = used.scale;
  }
  form.dispatchEvent(new Event("change"));
}

/** Say at each field what the browser finds wrong with it; whether there was nothing. */
export function validate() {
  clearErrors();
  const fields = [...form.querySelectorAll("input[name], textarea[name], select[name]")];
  const wrong = fields.filter((field) => !field.closest("[hidden]") && !field.checkValidity());
  if (!control("prompt").value.trim()) wrong.unshift(control("prompt"));
  for (const field of wrong.reverse()) showError(field.name, complaint(field));
  return wrong.length === 0;
}

/**
 * Show an error beside the field of an API name (`adapters[0].scale` belongs to `adapters`), and bring it into view.
 * Returns false where the form has no such field.
 */
export function showError(param, text) {
  const name = /^(?:scale-.*|[a-z_0-9]+)/.exec(param ?? "")?.[0].replace(/^scale-.*/, "adapters");
  const line = document.querySelector(`[data-error-for="${CSS.escape(name ?? "")}"]`);
  if (!line || line.parentElement.closest("[hidden]")) return false;
  line.textContent = text;
  line.hidden = false;
  line.closest("details")?.setAttribute("open", "");
  const fields = line.closest("form").querySelectorAll(`[name="${CSS.escape(name)}"], #${CSS.escape(name)}`);
  for (const field of fields) field.setAttribute("aria-invalid", "true");
  [...fields].find((field) => field.type !== "radio" || field.checked)?.focus();
  return true;
}

/** Take back what was said about one form's fields, or about all. */
export function clearErrors() {
  for (const line of document.querySelectorAll("[data-error-for]")) line.hidden = true;
  for (const field of document.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

/** Let sliders follow numbers and the other way round, and texts grow with what is in them. */
export function connect() {
  form.addEventListener("input", ({ target }) => {
    if (target.dataset.twin) control(target.dataset.twin).value = target.value;
    const slider = form.querySelector(`[data-twin="${CSS.escape(target.name)}"]`);
    if (slider) slider.value = target.value;
    if (target.tagName === "TEXTAREA") fitText();
    if (target.getAttribute("aria-invalid")) clearErrors();
  });
  form.addEventListener("change", refresh);
  document.getElementById("random-seed").addEventListener("click", () => {
    control("seed").value = "";
    control("seed").focus();
  });
  new ResizeObserver(fitText).observe(form);
}

const place = (name) => form.querySelector(`[data-field="${name}"]`);

function check(name, value) {
  // NB: form.elements[name].value is another thing where a service has one size, and so one radio button
  const radio = form.querySelector(`[name="${name}"][value="${CSS.escape(value)}"]`);
  if (radio) radio.checked = true;
}

function refresh() {
  const limit = tokens[read().size];
  document.getElementById("tokens").textContent = limit ? `up to ${limit} tokens` : "";
  fitText();
}

function fitText() {
  for (const area of form.querySelectorAll("textarea")) {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  }
}

function complaint(field) {
  const { validity, min, max } = field;
  if (field.name === "prompt") return "Say what the picture shows.";
  if (field.type === "file") return "Choose a picture.";
  const whole = field.step === "any" ? "a number" : "a whole number";
  if (validity.valueMissing || validity.badInput || validity.rangeUnderflow || validity.rangeOverflow) {
    return `It must be ${whole} from ${min} to ${max}.`;
  }
  return validity.stepMismatch ? "It must be a whole number." : field.validationMessage;
}

function chip(size) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "size", value: size });
  const shape = document.createElement("span");
  const [width, height] = size.split("x").map(Number);
  const scale = 16 / Math.max(width, height);
  shape.className = "shape";
  shape.style.width = `${width * scale}px`;
  shape.style.height = `${height * scale}px`;
  const text = document.createElement("span");
  text.textContent = size.replace("x", "×");
  label.append(radio, shape, text);
  return label;
}

function adapter(name) {
  const row = document.createElement("div");
  row.className = "adapter";
  const label = document.createElement("label");
  label.className = "check";
  const box = Object.assign(document.createElement("input"), { type: "checkbox" });
  box.dataset.adapter = name;
  label.append(box, ` ${name}`);
  const scale = Object.assign(document.createElement("input"), {
    type: "number", name: `scale-${name}`, step: "any", value: 1, required: true, min: -10, max: 10,
  });
  scale.setAttribute("aria-label", `Scale of ${name}`);
  row.append(label, scale);
  return row;
}
