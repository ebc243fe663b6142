"use strict";

const element = (id) => document.getElementById(id);
const status = element("status");
let abort = null;

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

function fill(select, values, chosen) {
  select.replaceChildren(...values.map((value) => new Option(value, value, value === chosen, value === chosen)));
}

async function readModel() {
  const answer = await fetch("v1/models");
  const { id, sdxl } = (await answer.json()).data[0];
  element("model").textContent = `${id} · ${sdxl.buckets.join(", ")}`;
  fill(element("size"), sdxl.sizes, sdxl.sizes[0]);
  fill(element("scheduler"), sdxl.schedulers, sdxl.scheduler);
  element("steps").value = sdxl.num_inference_steps.default;
  element("steps").max = sdxl.num_inference_steps.maximum;
  element("guidance").value = sdxl.guidance_scale.default;
  element("guidance").max = sdxl.guidance_scale.maximum;
  if (sdxl.state !== "Ready") say(`The service is not ready: ${sdxl.state}.`);
}

function readForm() {
  const body = {
    prompt: element("prompt").value,
    size: element("size").value,
    n: element("n").valueAsNumber,
    num_inference_steps: element("steps").valueAsNumber,
    guidance_scale: element("guidance").valueAsNumber,
    scheduler: element("scheduler").value,
  };
  if (element("negative").value) body.negative_prompt = element("negative").value;
  if (element("seed").value) body.seed = element("seed").valueAsNumber;
  return body;
}

function show(body, answer) {
  const { bucket, backend, evaluations, seconds } = answer.sdxl;
  for (const picture of answer.data) {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    const caption = document.createElement("figcaption");
    const link = document.createElement("a");
    image.src = link.href = `data:image/${answer.output_format};base64,${picture.b64_json}`;
    image.alt = body.prompt;
    [image.width, image.height] = answer.size.split("x").map(Number);
    link.download = `${picture.seed}.${answer.output_format}`;
    link.textContent = "Download";
    caption.append(
      `${body.prompt} · seed ${picture.seed} · ${bucket} ${backend} · `,
      `${evaluations.executed}/${evaluations.nominal} evaluations · ${seconds.total.toFixed(2)} s · `,
      link,
    );
    figure.append(image, caption);
    element("pictures").prepend(figure);
  }
}

async function paint(body) {
  const answer = await fetch("v1/images/generations", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: abort.signal,
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error.message);
  show(body, content);
  say(`Done in ${content.sdxl.seconds.total.toFixed(2)} s.`);
}

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  abort = new AbortController();
  element("paint").disabled = true;
  element("cancel").disabled = false;
  say("Painting…");
  try {
    await paint(readForm());
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else say(error.message, true);
  } finally {
    element("paint").disabled = false;
    element("cancel").disabled = true;
  }
});

element("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
element("cancel").addEventListener("click", () => abort?.abort());
readModel().catch((error) => say(`The service does not answer: ${error.message}`, true));
