/** The picture an edit starts from, cut to the chosen size, and the mask that is painted over it. */

const input = document.getElementById("image");
const picture = document.getElementById("picture");
const mask = document.getElementById("mask");
const brush = document.getElementById("brush");
const ring = document.getElementById("brush-ring");
const drawing = document.getElementById("drawing");

let bitmap = null;
let painted = false;
let at = null;
let down = false;

/** Let the page paint masks by mouse, finger, pen and keyboard. `failed` is told when a file is not a picture. */
export function connect(failed) {
  input.addEventListener("change", () => {
    if (input.files.length) load(input.files[0]).catch(() => failed("The browser cannot read this file as a picture."));
  });
  document.getElementById("clear-mask").addEventListener("click", clear);
  mask.addEventListener("pointerdown", (event) => {
    mask.setPointerCapture(event.pointerId);
    [down, at] = [true, place(event)];
    paint(at, at);
  });
  mask.addEventListener("pointermove", (event) => {
    const to = place(event);
    if (down) paint(at, to);
    at = to;
    drawRing();
  });
  mask.addEventListener("pointerup", () => (down = false));
  mask.addEventListener("pointercancel", () => (down = false));
  mask.addEventListener("keydown", key);
  mask.addEventListener("pointerleave", () => (ring.hidden = true));
  mask.addEventListener("blur", () => (ring.hidden = true));
  mask.addEventListener("focus", () => mask.matches(":focus-visible") && drawRing());
}

/** Start from a picture that is already here. */
export async function load(blob) {
  bitmap = await createImageBitmap(blob);
  drawing.hidden = false;
  fit(`${mask.width}x${mask.height}`, true);
}

/** Cut the picture to a size in pixels, its middle kept; the mask is emptied where the size is another one. */
export function fit(size, anew = false) {
  const [width, height] = size.split("x").map(Number);
  if (mask.width !== width || mask.height !== height || anew) {
    for (const canvas of [picture, mask]) [canvas.width, canvas.height] = [width, height];
    [painted, at] = [false, { x: width / 2, y: height / 2 }];
  }
  if (!bitmap) return;
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  const context = picture.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, width, height);
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
}

/** Whether a picture was chosen. */
export const isChosen = () => bitmap !== null;

/** The files of a request: `image`, and `mask` where something is painted, transparent where it may change. */
export async function files() {
  const image = await toFile(picture, "image.png");
  if (!painted) return { image };
  const inverse = document.createElement("canvas");
  [inverse.width, inverse.height] = [mask.width, mask.height];
  const context = inverse.getContext("2d");
  context.fillRect(0, 0, inverse.width, inverse.height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(mask, 0, 0);
  return { image, mask: await toFile(inverse, "mask.png") };
}

async function toFile(canvas, name) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], name, { type: "image/png" });
}

function clear() {
  mask.getContext("2d").clearRect(0, 0, mask.width, mask.height);
  painted = false;
}

function place({ clientX, clientY }) {
  const box = mask.getBoundingClientRect();
  return {
    x: ((clientX - box.left) / box.width) * mask.width,
    y: ((clientY - box.top) / box.height) * mask.height,
  };
}

/** Diameter of the brush in pixels of the picture: a percentage of its shorter side. */
const thickness = () => (brush.valueAsNumber / 100) * Math.min(mask.width, mask.height);

function paint(from, to) {
  const context = mask.getContext("2d");
  context.strokeStyle = context.fillStyle = "#ff3b6b";
  context.lineCap = "round";
  context.lineWidth = thickness();
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
  // a line without length has no ends either, so a dot is drawn as one
  context.beginPath();
  context.arc(to.x, to.y, thickness() / 2, 0, 2 * Math.PI);
  context.fill();
  painted = true;
}

function key(event) {
  const step = thickness() / 3;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const move = moves[event.key];
  if (event.key === " ") paint(at, at);
  else if (move) {
    at = {
      x: Math.min(mask.width, Math.max(0, at.x + move[0])),
      y: Math.min(mask.height, Math.max(0, at.y + move[1])),
    };
    if (event.shiftKey) paint(at, at);
  } else return;
  event.preventDefault();
  drawRing();
}

function drawRing() {
  const box = mask.getBoundingClientRect();
  const scale = box.width / mask.width;
  ring.style.width = ring.style.height = `${thickness() * scale}px`;
  ring.style.left = `${at.x * scale}px`;
  ring.style.top = `${at.y * scale}px`;
  ring.hidden = false;
}
