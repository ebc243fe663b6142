/** Pictures as bytes: from the API's base64, made smaller for the history, and named for the download. */

const THUMBNAIL = 192;

/** The bytes of a base64 text as a Blob. */
export function toBlob(base64, format) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: `image/${format}` });
}

/** A small JPEG of a picture as a data URL, at most 192 pixels wide and high. */
export async function makeThumbnail(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.85);
}

/** A file name that says what is in it: words of the prompt, size, seed. */
export function nameFile({ prompt, size, seed, output_format: format }) {
  const words = prompt.normalize("NFKD").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const subject = words.slice(0, 8).join("-").slice(0, 60) || "picture";
  return `${subject}_${size}_seed-${seed}.${format === "jpeg" ? "jpg" : format}`;
}

/** Hand a blob to the browser as a download. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // NB: the browser reads the URL after this turn; a minute is plenty and keeps nothing for long
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Put text on the clipboard; whether that worked. Plain HTTP has no navigator.clipboard, so the old way is kept. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    before?.focus();
    return copied;
  }
}
