// Kept pictures, one after the other, for a person to say what they show.

import { showAccuracy } from "./accuracy.js";
import { get, post, Refused } from "./api.js";
import { $, fill, make, say } from "./dom.js";
import { Kept } from "./kept.js";
import { Picker } from "./picker.js";
import { count, localTime, percent } from "./words.js";

const AT_ONCE = 20;
const LOOK_EVERY_MS = 5_000;
const [CONFLICT, GONE] = [409, 404];
const NO_JOURNAL =
  "This run has no journal, beside which pictures are kept: give journal.path and review.keep_pictures: true, " +
  "and start the program again.";
const NOT_KEPT =
  "No pictures are kept: put “review: {keep_pictures: true}” into the device's configuration, and reload it " +
  "(edge reload).";
const NONE_YET =
  "The first pictures are kept after 22 minutes with the default of 200 for review.max_pictures_per_day; " +
  "for a try, 20000 makes that 13 seconds.";

export class Review {
  #queue = [];
  #done = []; // {picture, label_id: null where it was skipped, asked: to undo it, without an answer}, the newest last
  #unshowable = new Set(); // ids
  #labels = new Map(); // by a model's id
  #present = []; // labels
  #waiting = 0;
  #labelled = 0;
  #journal = undefined; // its path, null where there is none; undefined before the first state
  #run = null;
  #outdated = false; // all of the above may be of another journal
  #busy = false;
  #shown = null; // the picture that a person sees
  #looked_ms = -Infinity;
  #why = "";
  #lost = ""; // why the newest picture that was left out was
  #kept = new Kept($("review-picture"));
  #picker = new Picker($("review-search"), (name) => this.#label({ other: name }), () => this.#other(false));

  constructor() {
    const actions = {
      o: () => this.#other($("review-picker").hidden),
      n: () => this.#label({ none: true }),
      s: () => this.#skip(),
      u: () => this.#undo(),
    };
    const buttons = { o: "review-other", n: "review-none", s: "review-skip", u: "review-undo" };
    for (const [key, id] of Object.entries(buttons)) $(id).addEventListener("click", actions[key]);
    $("review-choices").addEventListener("click", (event) => {
      const choice = [...$("review-choices").children].indexOf(event.target.closest("button"));
      if (choice >= 0) this.#label({ choice });
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement;
      if ($("review-view").hidden || typing || event.ctrlKey || event.altKey || event.metaKey) return;
      const key = event.key.toLowerCase(); // also with caps lock
      const choice = "12345".indexOf(key);
      if (event.repeat) {
        if (key !== "enter") return; // which would label picture after picture with the button that has the focus
      } else if (choice >= 0) {
        this.#label({ choice });
      } else if (Object.hasOwn(actions, key)) {
        actions[key]();
      } else {
        return;
      }
      event.preventDefault();
    });
  }

  set labels(labels) {
    this.#present = labels;
  }

  // Take in a state. `anew`: the one before belongs to another connection, and perhaps to another process.
  show({ status }, anew) {
    const journal = status.journal?.path ?? null;
    // A reload goes on with the same journal; but a new process may have found another one at the same path.
    if (journal !== this.#journal || (anew && status.run !== this.#run)) this.#outdated = true;
    this.#journal = journal;
    this.#run = status.run;
    if (!journal) this.#why = NO_JOURNAL;
    else if (!status.pictures) this.#why = NOT_KEPT;
    else this.#why = status.pictures.trouble ?? NONE_YET;
    const idle = !this.#shown && performance.now() - this.#looked_ms >= LOOK_EVERY_MS;
    if (this.#outdated || idle) this.open();
  }

  // Look which pictures wait; called when the view is shown.
  async open() {
    if ($("review-view").hidden || this.#journal === undefined) return;
    await this.#act(() => this.#outdated && this.#forget());
  }

  #forget() {
    this.#queue = [];
    this.#done = [];
    this.#unshowable.clear();
    this.#labels.clear();
    this.#waiting = this.#labelled = 0;
    this.#outdated = false;
    this.#other(false);
    say($("review-said"), "");
  }

  // One thing at a time: a second key before the answer to the first would be about another picture.
  async #act(what) {
    if (this.#busy) return;
    this.#busy = true;
    $("review-view").ariaBusy = "true";
    this.#lost = "";
    let trouble = "";
    try {
      await what();
    } catch (error) {
      trouble = told(error);
    }
    try {
      await this.#advance();
    } catch (error) {
      trouble ||= told(error);
    }
    say($("review-trouble"), trouble || this.#lost);
    this.#busy = false;
    $("review-view").ariaBusy = "false";
    this.#draw();
    // Nobody waits for it: the next picture may be labelled meanwhile.
    showAccuracy().catch((error) => say($("review-trouble"), $("review-trouble").textContent || told(error)));
    if (this.#outdated) this.open();
  }

  // What a person does; what was said of the thing before is past.
  #do(what) {
    if (this.#busy) return;
    say($("review-said"), "");
    say($("review-trouble"), "");
    this.#act(what);
  }

  // Bring the first picture of those that wait, and that can be shown, before the person.
  async #advance() {
    this.#looked_ms = performance.now();
    for (;;) {
      if (!this.#queue.length && this.#journal) await this.#fetch();
      const [picture = null, following] = this.#queue;
      if (picture !== this.#shown || !picture) {
        this.#shown = null;
        this.#draw();
      }
      if (!picture) return;
      try {
        if (!this.#shown) await Promise.all([this.#kept.show(picture), this.#classes(picture)]);
      } catch (error) {
        if (error.status !== GONE) throw error;
        this.#lost = error.message;
        this.#unshowable.add(picture.id);
        this.#queue.shift();
        continue;
      }
      this.#shown = picture;
      this.#draw();
      if (following) this.#kept.prepare(following);
      return;
    }
  }

  async #fetch() {
    const answer = await get(`/api/review/next?count=${AT_ONCE}`);
    const skipped = new Set(this.#done.filter(({ label_id }) => label_id === null).map(({ picture }) => picture.id));
    const pictures = answer.pictures.filter(({ id }) => !this.#unshowable.has(id));
    const fresh = pictures.filter(({ id }) => !skipped.has(id));
    this.#queue = fresh.length ? fresh : pictures; // what was skipped comes again when nothing else is left
    this.#count(answer);
  }

  #count({ waiting, labelled }) {
    this.#waiting = waiting;
    this.#labelled = labelled;
  }

  // To choose from: of the model that saw the picture, which may be an earlier one. Whatever is typed is looked up on
  // the device, so that the present model's will do.
  async #classes({ model_id }) {
    if (!this.#labels.has(model_id)) {
      const found = await get(`/api/labels?model_id=${model_id}`).catch(() => null);
      if (found) this.#labels.set(model_id, found.labels);
    }
    this.#picker.labels = this.#labels.get(model_id) ?? this.#present;
  }

  #label(said) {
    const picture = this.#shown;
    if (!picture || said.choice >= picture.predictions.length) return;
    this.#do(async () => {
      try {
        const answer = await post("/api/review/label", { id: picture.id, file: picture.file, ...said });
        this.#count(answer);
        this.#done.push({ picture, label_id: answer.label_id, asked: false });
        say($("review-said"), `Noted: ${answer.truth}.`);
      } catch (error) {
        if (error.status === CONFLICT) this.#forget(); // the journal is another
        else if (error.status === GONE) this.#queue.shift();
        throw error;
      }
      this.#other(false);
      this.#queue.shift();
    });
  }

  #skip() {
    const [picture] = this.#queue;
    if (!picture) return;
    this.#do(() => {
      this.#queue.shift();
      this.#done.push({ picture, label_id: null, asked: false });
      say($("review-said"), "Skipped.");
    });
  }

  #undo() {
    const slip = this.#done.at(-1);
    if (!slip) return;
    this.#do(async () => {
      if (slip.label_id !== null) await this.#unsay(slip);
      this.#done.pop();
      this.#queue = [slip.picture, ...this.#queue.filter(({ id }) => id !== slip.picture.id)];
      say($("review-said"), "Undone.");
    });
  }

  async #unsay(slip) {
    const { label_id, asked } = slip;
    try {
      this.#count(await post("/api/review/undo", { label_id }));
    } catch (error) {
      slip.asked ||= !error.status; // it may be undone, and only the answer lost
      if (error.status !== CONFLICT) throw error;
      this.#count(await get("/api/review/next?count=1"));
      if (asked) return;
      this.#done.pop();
      throw error;
    }
  }

  #other(open) {
    if (open && !this.#shown) return;
    const was_in = $("review-picker").contains(document.activeElement);
    $("review-picker").hidden = !open;
    $("review-other").setAttribute("aria-expanded", String(open));
    if (open) {
      $("review-search").focus();
    } else {
      this.#picker.clear();
      if (was_in) $("review-other").focus();
    }
  }

  #draw() {
    const [picture] = this.#queue;
    const all = this.#waiting + this.#labelled;
    $("review-picture").hidden = !picture;
    $("review-picture").classList.toggle("away", !this.#shown);
    $("review-empty").hidden = Boolean(this.#shown);
    say($("review-empty"), picture ? "Loading …" : this.#nothing(all));
    say($("review-about"), picture ? (STRATA[picture.stratum] ?? picture.stratum) : "");
    say($("review-time"), picture?.utc ? localTime(picture.utc) : "");
    const create = () => make("button", { type: "button" }, make("kbd"), make("span", { dir: "auto" }), make("small"));
    fill($("review-choices"), picture?.predictions ?? [], create, (button, { label, score }) => {
      const [key, name, how_sure] = button.children;
      say(key, String([...$("review-choices").children].indexOf(button) + 1));
      say(name, label);
      say(how_sure, percent(score));
    });
    // Not `disabled`, which would take the focus away.
    const off = (button, is_off) => button.setAttribute("aria-disabled", String(is_off));
    for (const button of $("review-choices").children) off(button, !this.#shown);
    for (const id of ["review-other", "review-none"]) off($(id), !this.#shown);
    off($("review-skip"), !picture);
    off($("review-undo"), !this.#done.length);
    say($("review-progress"), all ? `${count(this.#labelled)} of ${count(all)}` : "No pictures yet");
    $("review-bar").value = all ? this.#labelled / all : 0;
  }

  #nothing(all) {
    if (this.#waiting) return "None of the pictures that wait can be shown.";
    return all ? "All kept pictures are labelled. More come as time passes." : this.#why;
  }
}

function told(error) {
  if (!(error instanceof Refused)) reportError(error);
  return error.message;
}

const STRATA = { ordinary: "kept at random", unsure: "kept as unsure", changed: "kept as the answer changed" };
