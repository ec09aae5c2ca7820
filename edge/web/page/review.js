// Kept pictures, one after the other, for a person to say what they show.

import { get, post, Refused } from "./api.js";
import { $, facts, fill, make, say } from "./dom.js";
import { Picker } from "./picker.js";
import { count, localTime, percent } from "./words.js";

const AT_ONCE = 20;
const KEEP = "Put “review: {keep_pictures: true}” into the device's configuration, and reload it: edge reload.";

export class Review {
  #queue = [];
  #done = []; // [picture, label's id, or null where it was skipped], the newest last
  #waiting = 0;
  #labelled = 0;
  #busy = false;
  #why = KEEP;
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
      if ($("review-view").hidden || typing || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
      const choice = "12345".indexOf(event.key);
      if (choice >= 0 && choice < (this.#queue[0]?.predictions.length ?? 0)) this.#label({ choice });
      else if (event.key in actions) actions[event.key]();
      else return;
      event.preventDefault();
    });
  }

  set labels(labels) {
    this.#picker.labels = labels;
  }

  // Why there may be no pictures.
  show({ status }) {
    if (!status.journal) this.#why = `This run has no journal, which pictures go with: give journal.path. ${KEEP}`;
    else if (!status.pictures) this.#why = `No pictures are kept. ${KEEP}`;
    else this.#why = status.pictures.trouble ?? "The first is kept within some minutes; look again then.";
  }

  // Look which pictures wait; called when the view is shown.
  async open() {
    await this.#act(async () => {
      if (!this.#queue.length) await this.#fetch();
      await this.#accuracy();
    });
  }

  async #fetch() {
    const { pictures, waiting, labelled } = await get(`/api/review/next?count=${AT_ONCE}`);
    const skipped = new Set(this.#done.filter(([, label]) => label === null).map(([picture]) => picture.id));
    const fresh = pictures.filter(({ id }) => !skipped.has(id));
    this.#queue = fresh.length ? fresh : pictures; // what was skipped comes again when nothing else is left
    this.#waiting = waiting;
    this.#labelled = labelled;
  }

  async #accuracy() {
    const { reviewed, live, trouble } = await get("/api/accuracy");
    facts($("accuracy"), [ofPictures(reviewed ?? {}, trouble), ofFrames(live)]);
  }

  // One thing at a time: a second key before the answer to the first would be about another picture.
  async #act(what) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await what();
      say($("review-trouble"), "");
    } catch (error) {
      if (!(error instanceof Refused)) reportError(error);
      say($("review-trouble"), error.message);
    } finally {
      this.#busy = false;
      this.#draw();
    }
  }

  #label(said) {
    const [picture] = this.#queue;
    if (!picture) return;
    this.#act(async () => {
      const { label_id, truth } = await post("/api/review/label", { id: picture.id, ...said });
      this.#other(false);
      this.#next(picture, label_id);
      this.#waiting -= 1;
      this.#labelled += 1;
      say($("review-said"), `Noted: ${truth}.`);
      if (!this.#queue.length) await this.#fetch();
      await this.#accuracy();
    });
  }

  #skip() {
    const [picture] = this.#queue;
    if (!picture) return;
    this.#act(async () => {
      this.#next(picture, null);
      say($("review-said"), "Skipped.");
      if (!this.#queue.length) await this.#fetch();
    });
  }

  #next(picture, label_id) {
    this.#queue.shift();
    this.#done.push([picture, label_id]);
  }

  #undo() {
    if (!this.#done.length) return;
    this.#act(async () => {
      const [picture, label_id] = this.#done.at(-1);
      if (label_id !== null) {
        await post("/api/review/undo", { label_id });
        this.#waiting += 1;
        this.#labelled -= 1;
      }
      this.#done.pop();
      this.#queue = [picture, ...this.#queue.filter(({ id }) => id !== picture.id)];
      say($("review-said"), "Undone.");
      await this.#accuracy();
    });
  }

  #other(open) {
    $("review-picker").hidden = !open;
    $("review-other").setAttribute("aria-expanded", String(open));
    if (open) $("review-search").focus();
    else this.#picker.clear();
  }

  #draw() {
    const [picture, following] = this.#queue;
    const all = this.#waiting + this.#labelled;
    const image = $("review-picture");
    image.hidden = !picture;
    $("review-empty").hidden = Boolean(picture);
    if (picture) image.src = address(picture);
    if (following) new Image().src = address(following);
    say($("review-empty"), all ? "All kept pictures are labelled. More come as time passes." : this.#why);
    say($("review-about"), picture ? (STRATA[picture.stratum] ?? picture.stratum) : "");
    say($("review-time"), picture?.utc ? localTime(picture.utc) : "");
    const create = () => make("button", { type: "button" }, make("kbd"), make("span", { dir: "auto" }), make("small"));
    fill($("review-choices"), picture?.predictions ?? [], create, (button, { label, score }) => {
      const [key, name, how_sure] = button.children;
      say(key, String([...$("review-choices").children].indexOf(button) + 1));
      say(name, label);
      say(how_sure, percent(score));
    });
    for (const id of ["review-other", "review-none", "review-skip"]) $(id).disabled = !picture;
    $("review-undo").disabled = !this.#done.length;
    say($("review-progress"), all ? `${count(this.#labelled)} of ${count(all)}` : "No pictures yet");
    $("review-bar").value = all ? this.#labelled / all : 0;
  }
}

const address = ({ id }) => `/api/review/picture/${id}`;

const STRATA = { ordinary: "kept at random", unsure: "kept as unsure", changed: "kept as the answer changed" };

// Pictures of rare kinds are kept more often: the share is that of all frames, not that of the pictures.
function ofPictures({ labelled, right, share, low, high, no_class, not_looked_at }, trouble) {
  const name = "Right, of all frames";
  if (trouble || share == null) return { name, value: "–", about: trouble ?? "as the labelled pictures tell; none yet" };
  const others = no_class ? [`${count(no_class)} with no class not counted`] : [];
  if (not_looked_at?.length) others.push(`nothing labelled yet of ${not_looked_at.join(" and ")} ones`);
  const told = [
    `95 % interval ${percent(low, 1)} to ${percent(high, 1)}`,
    `${count(right)} of ${count(labelled)} labelled pictures right, each counted for the frames that it stands for`,
    ...others,
  ];
  return { name, value: percent(share, 1), about: told.join("; ") };
}

function ofFrames({ frames, right, share }) {
  const name = "Right while the truth was known";
  if (!frames) return { name, value: "–", about: "nobody has said it in this run" };
  return { name, value: percent(share, 1), about: `${count(right)} of ${count(frames)} frames of this run` };
}
