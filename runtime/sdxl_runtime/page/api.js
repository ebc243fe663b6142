/** What the server is asked: its models, and pictures as a stream of events. */

import { readEvents } from "./events.js";

const KEY = "sdxl.key";

/** An answer that is not a success: `param` names the field, `retryAfter` is in seconds. */
export class ServerError extends Error {
  constructor(message, { status = 0, param = null, code = null, retryAfter = null } = {}) {
    super(message);
    this.name = "ServerError";
    Object.assign(this, { status, param, code, retryAfter });
  }
}

/** The API key of this tab, or null. */
export const readKey = () => sessionStorage.getItem(KEY);

/** Keep the API key until the tab is closed; null forgets it. */
export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** The first model of /v1/models. */
export async function readModel() {
  const answer = await ask("v1/models", {});
  return (await answer.json()).data[0];
}

/**
 * Yield {type: "accepted"}, and then the parsed events of one streamed request up to the completed one.
 * Raises ServerError for what the server refuses or breaks off, and the reason of the signal once that is aborted.
 * @param {{path: string, fields: object, files: Record<string, File>}} request
 */
export async function* paint(request, signal) {
  const answer = await ask(request.path, { method: "POST", signal, ...encode(request) });
  yield { type: "accepted" };
  for await (const { data } of readEvents(answer.body)) {
    const event = JSON.parse(data);
    if (event.type === "error") throw new ServerError(event.error.message, event.error);
    yield event;
    if (event.type.endsWith(".completed")) return;
  }
  throw new ServerError("The connection ended before the picture was done.");
}

/** Method-independent part of a fetch: JSON, or a form where files travel along. */
function encode({ fields, files }) {
  if (Object.keys(files).length === 0) {
    return { body: JSON.stringify(fields), headers: { "Content-Type": "application/json" } };
  }
  const form = new FormData();
  for (const [name, text] of flatten(fields)) form.append(name, text);
  for (const [name, file] of Object.entries(files)) form.append(name, file);
  return { body: form, headers: {} };
}

/** Fields as a form has them: texts only, lists as JSON. */
export function flatten(fields) {
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return Object.entries(fields).map(([name, value]) => [name, text(value)]);
}

async function ask(path, options) {
  const key = readKey();
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ServerError("The service cannot be reached.");
  }
  if (answer.ok) return answer;
  const retryAfter = Number(answer.headers.get("Retry-After")) || null;
  // an ingress in between may answer with a page of its own instead of the API's error body
  const { error } = await answer.json().catch(() => ({}));
  const message = error?.message ?? `The service answered ${answer.status} ${answer.statusText}.`;
  throw new ServerError(message, { ...error, status: answer.status, retryAfter });
}
