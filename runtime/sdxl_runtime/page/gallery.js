/** The history as a row of thumbnails: a click opens a picture, Delete on the keyboard removes it. */

import * as history from "./history.js";

const section = document.getElementById("past");
const rows = document.getElementById("history");

/**
 * Draw the history anew.
 * @param {object|null} chosen  the entry that is shown on the stage
 * @param {{open: Function, remove: Function}} acts  what a click and a deletion do with an entry
 */
export function draw(chosen, acts) {
  const entries = history.list();
  section.hidden = entries.length === 0;
  rows.replaceChildren(...entries.map((entry) => row(entry, entry === chosen, acts)));
}

function row(entry, isChosen, acts) {
  const item = document.createElement("li");
  const open = document.createElement("button");
  open.type = "button";
  open.className = "thumbnail";
  open.title = entry.fields.prompt;
  if (isChosen) open.setAttribute("aria-current", "true");
  const image = new Image();
  image.src = entry.thumbnail;
  image.alt = `${entry.fields.prompt}, ${entry.fields.size}, seed ${entry.fields.seed}`;
  open.append(image);
  open.addEventListener("click", () => acts.open(entry));
  open.addEventListener("keydown", (event) => {
    if (event.key !== "Delete") return;
    const next = item.nextElementSibling ?? item.previousElementSibling;
    const place = next ? [...rows.children].indexOf(next) - (next === item.nextElementSibling ? 1 : 0) : -1;
    acts.remove(entry);
    rows.children[place]?.querySelector(".thumbnail").focus();
  });
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "remove";
  remove.setAttribute("aria-label", `Delete: ${entry.fields.prompt}, seed ${entry.fields.seed}`);
  remove.textContent = "×";
  remove.addEventListener("click", () => acts.remove(entry));
  item.append(open, remove);
  return item;
}
