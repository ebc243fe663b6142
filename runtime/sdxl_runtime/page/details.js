/** What is known about a finished picture, and what can be done with it. */

import { readKey } from "./api.js";
import { copy, download, nameFile } from "./picture.js";
import { asCurl, asPython } from "./snippets.js";

const place = document.getElementById("details");

/**
 * Show the details of an entry.
 * @param {{say: Function, use: Function, again: Function, start: Function, remove: Function}} acts
 */
export function show(entry, acts) {
  const prompt = document.createElement("p");
  prompt.className = "prompt";
  prompt.textContent = entry.fields.prompt;
  const parts = [prompt];
  if (!entry.blob) {
    const note = document.createElement("p");
    note.className = "hint";
    note.textContent = "Only its thumbnail was kept when the page was left. The same seed paints the same picture again.";
    parts.push(note);
  }
  place.replaceChildren(...parts, buttons(entry, acts), facts(entry));
  place.hidden = false;
}

function buttons(entry, acts) {
  const row = document.createElement("div");
  row.className = "buttons";
  const add = (name, text, act) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.dataset.act = name;
    button.addEventListener("click", act);
    row.append(button);
  };
  const isEdit = entry.path.endsWith("edits");
  const copied = async (text, what) => {
    acts.say((await copy(text)) ? `Copied as ${what}.` : `The browser does not let this page copy.`);
  };
  if (entry.blob) add("download", "Download", () => download(entry.blob, nameFile(entry.fields)));
  // without the picture it began from, an edit can neither be told nor done again
  else if (!isEdit) add("again", "Paint again", () => acts.again(entry));
  if (entry.blob || !isEdit) {
    add("curl", "Copy as curl", () => copied(tell(asCurl, entry), "curl"));
    add("python", "Copy as Python", () => copied(tell(asPython, entry), "Python"));
  }
  for (const [name, file] of Object.entries(entry.files ?? {})) {
    add(`download-${name}`, `Download ${file.name}`, () => download(file, file.name));
  }
  add("use", "Use these settings", () => acts.use(entry));
  if (entry.blob) add("start", "Start from this", () => acts.start(entry));
  add("remove", "Delete", () => acts.remove(entry));
  return row;
}

function tell(asCode, entry) {
  const base = new URL(".", document.baseURI).href;
  const request = { path: entry.path, fields: entry.fields, files: entry.files ?? {} };
  return asCode(request, base, nameFile(entry.fields), Boolean(readKey()));
}

function facts({ fields, sdxl }) {
  const { evaluations, seconds } = sdxl;
  const phases = Object.entries(seconds).filter(([phase]) => phase !== "total");
  const rows = [
    ["Seed", fields.seed],
    ["Size", fields.size.replace("x", " × ")],
    ["Steps", sdxl.num_inference_steps],
    ["Guidance", sdxl.guidance_scale],
    ["Scheduler", sdxl.scheduler],
    ["Negative prompt", fields.negative_prompt],
    ["Strength", fields.strength],
    ["Adapters", fields.adapters?.map(({ name, scale }) => `${name} × ${scale}`).join(", ")],
    ["Bucket", sdxl.bucket],
    ["Backend", sdxl.backend],
    ["Evaluations", `${evaluations.executed} of ${evaluations.nominal}`],
    ["Time", `${seconds.total.toFixed(2)} s`],
    ["Seconds by phase", phases.map(([phase, value]) => `${phase.replace("_", " ")} ${value.toFixed(2)}`).join(" · ")],
  ];
  const list = document.createElement("dl");
  for (const [name, value] of rows.filter(([, value]) => value !== undefined)) {
    const pair = document.createElement("div");
    pair.append(
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    );
    list.append(pair);
  }
  return list;
}
