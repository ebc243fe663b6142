/** Server-sent events read from a fetch, since EventSource can neither POST nor send a key. */

/**
 * Yield each event of a text/event-stream as {event, data}; comments and other fields are passed over.
 * A last event without its blank line is dropped, as the standard says: it may have been cut.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = "message";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      // NB: a "\r" at the end may be the first half of "\r\n", so it waits for the next part
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event, data: data.join("\n") };
          event = "message";
          data = [];
          continue;
        }
        const [, field, text] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
        if (field === "event") event = text ?? "";
        else if (field === "data") data.push(text ?? "");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
