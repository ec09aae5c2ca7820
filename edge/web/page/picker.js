// A box in which to search for a class by a part of its name, as ARIA's combobox describes it.

import { fill, make, say } from "./dom.js";

const SHOWN = 6;
let made = 0;

export class Picker {
  #input;
  #list;
  #labels = [];
  #found = [];
  #active = 0;
  #chosen;

  // `chosen(name)` is called with a class, or with what was typed where none is called so; `left()` when the person
  // wants none.
  constructor(input, chosen, left = () => {}) {
    this.#input = input;
    this.#chosen = chosen;
    const id = `picker-${++made}`;
    this.#list = make("ul", { id, role: "listbox", hidden: true, ariaLabel: "Classes" });
    input.after(this.#list);
    Object.assign(input, { type: "search", role: "combobox", autocomplete: "off", spellcheck: false });
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-controls", id);
    input.addEventListener("input", () => this.#search());
    input.addEventListener("focus", () => this.#search());
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => {
      if (event.isComposing) return; // Enter takes over what an input method offers
      if (event.key === "Escape") {
        this.clear();
        left();
      } else if (event.key === "Enter" && plain(input.value)) {
        this.#choose(this.#found[this.#active] ?? input.value.trim());
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        this.#move(event.key === "ArrowDown" ? 1 : -1);
      } else {
        return;
      }
      event.preventDefault();
    });
    // Not click: the box must not lose the focus first.
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => {
      const index = [...this.#list.children].indexOf(event.target.closest("li"));
      if (index in this.#found) this.#choose(this.#found[index]);
    });
    this.#close();
  }

  set labels(labels) {
    this.#labels = [...new Set(labels)];
  }

  clear() {
    this.#input.value = "";
    this.#close();
  }

  #choose(label) {
    this.clear();
    this.#chosen(label);
  }

  #search() {
    const wanted = plain(this.#input.value);
    if (!wanted) {
      this.#close();
      return;
    }
    const ranked = this.#labels.map((label) => [rank(plain(label), wanted), label]).filter(([place]) => place < 3);
    this.#found = ranked.sort(([a], [b]) => a - b).slice(0, SHOWN).map(([, label]) => label);
    this.#active = 0;
    this.#show();
  }

  #move(by) {
    if (!this.#found.length) return;
    this.#active = (this.#active + by + this.#found.length) % this.#found.length;
    this.#show();
  }

  #show() {
    const none = !this.#found.length;
    const shown = none ? ["No class is called so."] : this.#found;
    const create = () => make("li", { dir: "auto" });
    fill(this.#list, shown, create, (element, label) => {
      const index = shown.indexOf(label);
      say(element, label);
      element.id = `${this.#list.id}-${index}`;
      element.role = none ? "presentation" : "option";
      element.setAttribute("aria-selected", String(!none && index === this.#active));
    });
    this.#list.hidden = false;
    this.#list.scrollIntoView({ block: "nearest" });
    this.#input.setAttribute("aria-expanded", "true");
    this.#input.setAttribute("aria-activedescendant", none ? "" : `${this.#list.id}-${this.#active}`);
  }

  #close() {
    this.#found = [];
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.setAttribute("aria-activedescendant", "");
  }
}

const plain = (text) => text.toLowerCase().replaceAll("_", " ").trim();

// 0: begins so; 1: a word of it does; 2: it is within; 3: not at all.
function rank(label, wanted) {
  const at = label.indexOf(wanted);
  if (at <= 0) return at === 0 ? 0 : 3;
  return label.includes(` ${wanted}`) ? 1 : 2;
}
