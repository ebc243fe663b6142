/** The stage: a tile for each picture that is being painted, with its preview and its progress. */

const tiles = document.getElementById("tiles");

/** One picture on the stage. */
class Tile {
  constructor({ fields }) {
    const [width, height] = fields.size.split("x").map(Number);
    this.figure = document.createElement("figure");
    this.figure.className = "tile";
    this.frame = document.createElement("div");
    this.frame.className = "frame";
    this.figure.style.setProperty("--ratio", width / height);
    this.image = new Image(width, height);
    this.image.alt = "";
    this.image.hidden = true;
    this.words = document.createElement("span");
    this.words.className = "words";
    this.bar = document.createElement("span");
    this.bar.className = "bar";
    this.bar.setAttribute("role", "progressbar");
    this.bar.setAttribute("aria-label", `Progress of the picture with seed ${fields.seed}`);
    this.bar.append(document.createElement("span"));
    this.meter = document.createElement("figcaption");
    this.meter.className = "meter";
    this.meter.append(this.words, this.bar);
    this.frame.append(this.image);
    this.figure.append(this.frame, this.meter);
    this.remaining = null;
    this.fraction = 0;
    this.say("waiting", "Beginning");
  }

  /** A progress event: in the queue, or a step that was made. */
  progress({ queued, step, steps, remaining_seconds: remaining }) {
    this.remaining = remaining;
    const left = remaining === null || remaining === undefined ? "" : ` · ${tellSeconds(remaining)} left`;
    if (queued) {
      this.say("waiting", `In the queue${left}`);
      return;
    }
    this.fraction = step / steps;
    this.say("painting", step < steps ? `Step ${step} of ${steps}${left}` : "Finishing");
  }

  /** A picture of how far it is. */
  preview(base64, format) {
    this.image.src = `data:image/${format};base64,${base64}`;
    this.image.alt = "Preview";
    this.image.hidden = false;
    this.figure.dataset.previews = Number(this.figure.dataset.previews ?? 0) + 1;
  }

  /** The finished picture; where there are several, a click on it calls `open`. */
  done(entry, open = null) {
    this.image.src = entry.url ?? entry.thumbnail;
    this.image.alt = entry.fields.prompt;
    this.image.hidden = false;
    this.entry = entry;
    if (open) {
      this.button = document.createElement("button");
      this.button.type = "button";
      this.button.className = "open";
      this.button.setAttribute("aria-label", `Show the picture with seed ${entry.fields.seed}`);
      this.button.addEventListener("click", open);
      this.figure.append(this.button);
    }
    this.say("done", "");
  }

  /** It will not be finished. `state` is cancelled or failed. */
  stop(state, text) {
    this.say(state, text);
  }

  say(state, text) {
    this.figure.dataset.state = state;
    this.words.textContent = text;
    this.bar.firstElementChild.style.width = `${this.fraction * 100}%`;
    // an unknown fraction has no value: that is what the role asks for
    if (state === "painting") this.bar.setAttribute("aria-valuenow", Math.round(this.fraction * 100));
    else this.bar.removeAttribute("aria-valuenow");
    this.bar.setAttribute("aria-valuetext", text);
  }
}

/** A tile for each request, which nobody sees yet. */
export const make = (requests) => requests.map((request) => new Tile(request));

/** Clear the stage and put tiles up. */
export function put(made) {
  document.getElementById("empty").hidden = true;
  document.getElementById("details").hidden = true;
  tiles.hidden = false;
  tiles.dataset.count = made.length;
  tiles.replaceChildren(...made.map(({ figure }) => figure));
}

/** Put one finished picture on the stage, alone. */
export function show(entry) {
  const [tile] = make([entry]);
  put([tile]);
  tile.done(entry);
}

/** The stage as it was before the first picture. */
export function empty() {
  tiles.hidden = true;
  tiles.replaceChildren();
  document.getElementById("details").hidden = true;
  document.getElementById("empty").hidden = false;
}

/** Mark which of several finished pictures the details belong to. */
export function choose(chosen, all) {
  for (const { button, entry } of all) {
    if (entry === chosen) button?.setAttribute("aria-current", "true");
    else button?.removeAttribute("aria-current");
  }
}

/** Seconds as a person says them. */
export function tellSeconds(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  // NB: no-break spaces: a number and its unit stay on one line of a small tile
  return whole < 60 ? `${whole}\u00a0s` : `${Math.floor(whole / 60)}\u00a0min ${whole % 60}\u00a0s`;
}
