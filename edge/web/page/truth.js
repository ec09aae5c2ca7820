// What is really before the camera, as somebody says it.

import { post, Refused } from "./api.js";
import { $, fill, make, say } from "./dom.js";
import { Picker } from "./picker.js";
import { duration } from "./words.js";

const CHOICES = 5;
const RECENT = 3;
const RENEWED_MS = 2_000;
const TOUCHED_MS = 3_000;
const REMEMBERED = "recent truths";

export class Truth {
  #group = $("truth-choices");
  #picker = new Picker($("truth-search"), (label) => this.#set(label));
  #places = []; // of the newest answers' classes, which keep theirs
  #renewed_ms = -Infinity;
  #touched_ms = -Infinity;
  #labels = [];

  constructor() {
    $("truth-clear").addEventListener("click", () => this.#set(null));
    this.#group.addEventListener("touchstart", () => (this.#touched_ms = performance.now()), { passive: true });
    this.#group.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#set(button.textContent);
    });
  }

  set labels(labels) {
    this.#labels = labels;
    this.#picker.labels = labels;
    this.#places = this.#places.filter((label) => labels.includes(label)); // another model has other classes
    this.#draw();
  }

  show(state) {
    const { truth, journal } = state.status;
    const { truth: said, by, for_s, note } = state.said;
    const whose = by === "page" ? "on this page" : `by ${by}`;
    let text = said === null ? "Nobody has said." : `${said}, said ${whose} ${duration(for_s)} ago.`;
    if (note) text = `The camera tells it itself: ${truth ?? "nothing yet"}.`;
    if (note && said !== null) text += ` That comes before ${said}, said ${whose}.`;
    if (!journal) text += " This run has no journal, so that it is not recorded.";
    say($("truth"), text);
    $("truth-clear").disabled = said === null;
    this.#offer(state.predictions.filter(({ score }) => score > 0).map(({ label }) => label));
    for (const button of this.#group.children) button.setAttribute("aria-pressed", button.textContent === said);
  }

  // Classes in front of which somebody stands with a finger must not change places.
  #offer(answers) {
    const now_ms = performance.now();
    const hovered = matchMedia("(hover: hover)").matches && this.#group.matches(":hover");
    const held = hovered || this.#group.querySelector(":focus-visible") || now_ms - this.#touched_ms < TOUCHED_MS;
    if (this.#places.length && (held || now_ms - this.#renewed_ms < RENEWED_MS)) return;
    this.#renewed_ms = now_ms;
    const newcomers = answers.filter((label) => !this.#places.includes(label));
    this.#places = this.#places.map((label) => (answers.includes(label) ? label : newcomers.shift() ?? label));
    this.#places.push(...newcomers.slice(0, CHOICES - this.#places.length));
    this.#draw();
  }

  #draw() {
    const recent = remembered().filter((label) => !this.#places.includes(label) && this.#labels.includes(label));
    const create = () => make("button", { type: "button", dir: "auto" });
    fill(this.#group, [...this.#places, ...recent], create, say);
  }

  async #set(name) {
    try {
      await post("/api/truth", { name });
      say($("truth-trouble"), "");
      if (name !== null) remember(name);
      this.#renewed_ms = -Infinity;
    } catch (error) {
      if (!(error instanceof Refused)) reportError(error);
      say($("truth-trouble"), error.message);
    }
  }
}

function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(REMEMBERED) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each === "string") : [];
  } catch {
    return []; // this browser keeps nothing
  }
}

function remember(label) {
  const newest = [label, ...remembered().filter((each) => each !== label)].slice(0, RECENT);
  try {
    localStorage.setItem(REMEMBERED, JSON.stringify(newest));
  } catch {
    // this browser keeps nothing
  }
}
