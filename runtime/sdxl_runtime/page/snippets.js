/** A request as curl and as Python: the same fields as the page sends, and the picture in a file. */

import { flatten } from "./api.js";

/** Fields that the openai package has as arguments; all others travel in extra_body. */
const ARGUMENTS = ["model", "prompt", "size", "output_format", "stream", "partial_images"];

/** The bare base64 of the last event, and whatever is an error where a person sees it. */
const EXTRACT = String.raw`sed -n -e '/"error": *{/w /dev/stderr' -e '/\.completed"/s/.*"b64_json": *"\([^"]*\)".*/\1/p'`;

const quote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/**
 * The shell command that makes the request and keeps the picture as `file`.
 * @param {string} base  address of the page, with a slash at its end
 * @param {boolean} withKey  whether the service asks for a key: it is taken from OPENAI_API_KEY, never written down
 */
export function asCurl(request, base, file, withKey) {
  const lines = [`curl --no-buffer --silent --show-error ${quote(base + request.path)}`];
  if (withKey) lines.push(`--header "Authorization: Bearer $OPENAI_API_KEY"`);
  const files = Object.entries(request.files);
  if (files.length === 0) {
    lines.push(`--header 'Content-Type: application/json'`);
    lines.push(`--data ${quote(JSON.stringify(request.fields, null, 2))}`);
  } else {
    for (const [name, text] of flatten(request.fields)) lines.push(`--form-string ${quote(`${name}=${text}`)}`);
    for (const [name, { name: path }] of files) lines.push(`--form ${quote(`${name}=@${path};type=image/png`)}`);
  }
  return `${lines.join(" \\\n  ")} \\\n  | ${EXTRACT} \\\n  | base64 --decode > ${quote(file)}\n`;
}

/** The Python program with the openai package that makes the request and keeps the picture as `file`. */
export function asPython(request, base, file, withKey) {
  const { fields, files } = request;
  const known = Object.entries(fields).filter(([name]) => ARGUMENTS.includes(name));
  const isForm = Object.keys(files).length > 0;
  // what travels as a form beside the files has lists as JSON, which the package would write in another way
  const rest = isForm ? Object.entries(fields).map(formValue) : Object.entries(fields);
  const extra = Object.fromEntries(rest.filter(([name]) => !ARGUMENTS.includes(name)));
  const opened = Object.entries(files).map(([name, { name: path }]) => `    ${name}=Path(${literal(path)}),`);
  const kind = isForm ? "edit" : "generate";
  return `import base64
${withKey ? "import os\n" : ""}from pathlib import Path

from openai import OpenAI

client = OpenAI(base_url=${literal(`${base}v1`)}, api_key=${withKey ? 'os.environ["OPENAI_API_KEY"]' : '"none"'})
events = client.images.${kind}(
${[...opened, ...known.map(([name, value]) => `    ${name}=${literal(value)},`)].join("\n")}
    extra_body=${literal(extra, "    ")},
)
for event in events:
    if event.type.endswith(".completed"):
        Path(${literal(file)}).write_bytes(base64.b64decode(event.b64_json))
`;
}

const formValue = ([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : value];

/** A JSON value as Python writes it. A JSON text is a Python text too. */
function literal(value, indent = "") {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, indent)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const members = Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${literal(item, inner)},\n`);
  return `{\n${members.join("")}${indent}}`;
}
