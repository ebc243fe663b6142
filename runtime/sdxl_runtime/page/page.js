/** The page: brings form, server, stage and history together. */

import * as api from "./api.js";
import * as details from "./details.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as history from "./history.js";
import { makeThumbnail, toBlob } from "./picture.js";
import { makeRequests } from "./request.js";
import * as source from "./source.js";
import * as stage from "./stage.js";

/** Streams at a time: enough to fill a batch, and below the six connections a browser opens to a host. */
const STREAMS = 4;
const POLL_MILLISECONDS = 2000;
const SAME_FOR_ALL = [400, 401, 403, 404, 413, 422];

const element = (id) => document.getElementById(id);
const title = document.title;

let model = null;
let running = null;
let tiles = [];
let chosen = null;

async function connect() {
  try {
    model = await api.readModel();
  } catch (error) {
    if (error.status === 401) askForKey(error);
    else {
      tellState("away", "no answer");
      setTimeout(connect, POLL_MILLISECONDS);
    }
    return;
  }
  element("key-form").hidden = true;
  element("forget-key").hidden = !api.readKey();
  form.fill(model.sdxl);
  source.fit(form.read().size);
  watch();
}

/** Show the service's state, and ask again until it is ready. */
async function watch() {
  const { state } = model.sdxl;
  tellState(state.toLowerCase(), state === "Ready" ? model.id : `${model.id} · ${state.toLowerCase()}`);
  element("paint").disabled = running !== null;
  if (state === "Ready") return;
  setTimeout(async () => {
    model = await api.readModel().catch(() => model);
    watch();
  }, POLL_MILLISECONDS);
}

function tellState(state, text) {
  element("model").dataset.state = state;
  element("model-name").textContent = text;
}

function askForKey(error) {
  const refused = api.readKey() !== null;
  api.keepKey(null);
  element("key-form").hidden = false;
  element("forget-key").hidden = true;
  element("paint").disabled = true;
  tellState("locked", "locked");
  if (refused) form.showError("key", error.message);
  element("key").focus();
}

function say(text) {
  element("status").textContent = text;
}

function complain(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

async function submit() {
  if (running || element("paint").disabled) return;
  const isEdit = form.startsFromPicture();
  const isValid = form.validate();
  if (isEdit && !source.isChosen()) form.showError("image", "Choose a picture.");
  else if (isValid) {
    const [values, count] = [form.read(), form.readCount()];
    const files = isEdit ? source.files() : {};
    await paint(async () => makeRequests(model.id, values, count, await files));
  }
}

/** Paint pictures, a few at a time, until all are done, one fails for a reason that all share, or the user cancels. */
async function paint(prepare) {
  // NB: from here on and before anything is awaited: a second Ctrl+Enter must find it running
  running = new AbortController();
  form.clearErrors();
  complain("");
  setBusy(true);
  const requests = await prepare();
  say(requests.length === 1 ? "Painting." : `Painting ${requests.length} pictures.`);
  const began = performance.now();
  const made = stage.make(requests);
  // a request that is refused leaves on the stage what was there
  const accepted = () => {
    if (tiles === made) return;
    tiles = made;
    stage.put(tiles);
    bringIntoView();
  };
  const waiting = requests.entries();
  const worker = async () => {
    for (const [index, request] of waiting) await paintOne(request, made[index], accepted);
  };
  await Promise.all(Array.from({ length: STREAMS }, worker));
  const done = made.filter((tile) => tile.entry).length;
  const cancelled = running.signal.reason === "cancelled";
  running = null;
  setBusy(false);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  if (cancelled) say("Cancelled.");
  else if (done === made.length) say(done === 1 ? `Done in ${seconds} s.` : `${done} pictures in ${seconds} s.`);
  else say(done === 0 ? "" : `${done} of ${made.length} pictures were painted.`);
}

async function paintOne(request, tile, accepted) {
  const controller = running;
  try {
    controller.signal.throwIfAborted();
    for await (const event of api.paint(request, controller.signal)) {
      if (event.type === "accepted") accepted();
      else if (event.type.endsWith(".progress")) tile.progress(event);
      else if (event.type.endsWith(".partial_image")) tile.preview(event.b64_json, event.output_format);
      else await keep(request, event, tile);
      tellProgress();
    }
  } catch (error) {
    fail(error, tile, controller);
  }
}

async function keep(request, { b64_json: base64, output_format: format, seed, sdxl }, tile) {
  const blob = toBlob(base64, format);
  const entry = {
    id: crypto.randomUUID?.() ?? `${Date.now()}-${seed}`,
    at: Date.now(),
    path: request.path,
    fields: { ...request.fields, seed },
    files: request.files,
    sdxl,
    blob,
    url: URL.createObjectURL(blob),
    thumbnail: await makeThumbnail(blob),
  };
  history.add(entry);
  tile.done(entry, tiles.length > 1 ? () => choose(entry) : null);
  choose(entry);
}

function fail(error, tile, controller) {
  if (controller.signal.aborted) {
    tile.stop("cancelled", "Cancelled");
    return;
  }
  tile.stop("failed", "Not painted");
  if (!(error instanceof api.ServerError)) console.error(error);
  if (error.status === 401) askForKey(error);
  else if (!form.showError(error.param, error.message)) {
    const wait = error.retryAfter ? ` Try again in ${stage.tellSeconds(error.retryAfter)}.` : "";
    complain(error.message + wait);
  }
  if (SAME_FOR_ALL.includes(error.status)) controller.abort("refused");
}

function tellProgress() {
  const sum = tiles.reduce((total, tile) => total + (tile.entry ? 1 : tile.fraction), 0);
  document.title = `${Math.floor((100 * sum) / tiles.length)} % · ${title}`;
}

function setBusy(isBusy) {
  element("paint").disabled = isBusy || !element("key-form").hidden;
  element("cancel").disabled = !isBusy;
  document.body.classList.toggle("busy", isBusy);
  if (!isBusy) document.title = title;
}

function cancel() {
  running?.abort("cancelled");
}

/** On a phone the stage is below the form. */
function bringIntoView() {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (matchMedia("(max-width: 56rem)").matches) {
    element("stage").scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }
}

function choose(entry) {
  chosen = entry;
  stage.choose(entry, tiles);
  details.show(entry, {
    say,
    use: () => {
      form.restore(entry.fields);
      say("The settings are those of this picture.");
    },
    again: () => {
      if (!running) paint(async () => [{ path: entry.path, fields: entry.fields, files: {} }]);
    },
    start: async () => {
      form.write({ start: "picture", size: entry.fields.size });
      await source.load(entry.blob);
      element("form").dispatchEvent(new Event("change"));
      element("prompt").focus();
    },
    remove: () => remove(entry),
  });
  drawHistory();
}

function open(entry) {
  if (running) {
    say("The picture can be opened when this one is done.");
    return;
  }
  tiles = [];
  stage.show(entry);
  choose(entry);
  bringIntoView();
}

function remove(entry) {
  history.remove(entry);
  if (entry === chosen && !running) {
    chosen = null;
    stage.empty();
  }
  drawHistory();
}

function drawHistory() {
  gallery.draw(chosen, { open, remove });
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
element("form").addEventListener("change", () => {
  element("source").hidden = !form.startsFromPicture();
  const { size } = form.read();
  if (size) source.fit(size);
});
element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  form.clearErrors();
  api.keepKey(element("key").value.trim());
  element("key").value = "";
  connect();
});
element("forget-key").addEventListener("click", () => {
  api.keepKey(null);
  connect();
});
element("cancel").addEventListener("click", cancel);
element("clear-history").addEventListener("click", () => {
  if (!confirm("Delete all pictures of the history?")) return;
  history.clear();
  chosen = null;
  if (!running) stage.empty();
  drawHistory();
});
element("examples").addEventListener("click", ({ target }) => {
  if (target.tagName !== "BUTTON") return;
  form.write({ prompt: target.textContent });
  element("prompt").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    element("form").requestSubmit();
  } else if (event.key === "Escape") cancel();
});

form.connect();
source.connect((text) => form.showError("image", text));
drawHistory();
connect();
