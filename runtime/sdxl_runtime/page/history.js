/**
 * The pictures that were painted: whole in memory, as thumbnail and parameters in localStorage, both bounded.
 * An entry is {id, at, fields, path, sdxl, thumbnail} and, until the page is left, {blob, url, files}.
 */

const STORE = "sdxl.history";
const MOST = 48;

let entries = read();

/** All entries, newest first. */
export const list = () => entries;

/** Keep a new entry; beyond 48 the oldest goes. */
export function add(entry) {
  entries.unshift(entry);
  entries.splice(MOST).forEach(forget);
  write();
}

/** Delete one entry. */
export function remove(entry) {
  entries = entries.filter((other) => other !== entry);
  forget(entry);
  write();
}

/** Delete all entries. */
export function clear() {
  entries.forEach(forget);
  entries = [];
  write();
}

function forget(entry) {
  if (entry.url) URL.revokeObjectURL(entry.url);
}

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? "[]");
    return Array.isArray(kept) ? kept.filter((entry) => entry?.fields && entry?.thumbnail) : [];
  } catch {
    return []; // another version's, or no storage at all: begin anew
  }
}

function write() {
  const kept = entries.map(({ id, at, fields, path, sdxl, thumbnail }) => ({ id, at, fields, path, sdxl, thumbnail }));
  for (let count = kept.length; count >= 0; count = count > 0 ? Math.floor(count / 2) : -1) {
    try {
      localStorage.setItem(STORE, JSON.stringify(kept.slice(0, count)));
      return;
    } catch {
      // storage is full or forbidden: half as many
    }
  }
}
