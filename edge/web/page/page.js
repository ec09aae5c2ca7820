// The page: two views, the connection, and who is told what.

import { again, get, post, Refused } from "./api.js";
import { $, say } from "./dom.js";
import { Live, whyNoPicture } from "./live.js";
import { Picture } from "./picture.js";
import { Review } from "./review.js";
import { Truth } from "./truth.js";
import { localTime } from "./words.js";

const VIEWS = ["live", "review"];
const SILENT_MS = 12_000; // the state comes twice a second

const live = new Live();
const truth = new Truth();
const review = new Review();
const picture = new Picture($("picture"), () => newest?.features.preview, onPicture);
let newest = null; // state
let answered = null; // when
let number = null; // the newest state's, while the connection lasts
let labels_sha = null;

// A picture, or none and perhaps why.
function onPicture(utc, why) {
  $("no-picture").hidden = utc !== null;
  $("picture").classList.toggle("old", utc === null);
  say($("picture-time"), utc === null ? "" : localTime(utc));
  if (utc === null) say($("no-picture"), newest ? whyNoPicture(newest, why) : "Waiting for a picture …");
}

async function follow(signal) {
  signal.addEventListener("abort", () => (number = null)); // the daemon may be another when somebody looks again
  const query = number === null ? "" : `?after=${number}`;
  const state = await get(`/api/state${query}`, { signal, within_ms: SILENT_MS });
  const anew = number === null;
  if (state.status.run !== newest?.status.run) picture.reset();
  [newest, number, answered] = [state, state.number, new Date()];
  document.body.classList.remove("stale");
  say($("connection"), "Connected");
  $("connection").className = "good";
  $("logout").hidden = !state.features.login;
  say($("picture-camera"), state.status.camera);
  document.title = state.predictions.length ? `${state.predictions[0].label} – edge-runner` : "edge-runner";
  live.show(state, anew);
  truth.show(state);
  review.show(state, anew);
  if (state.status.camera_lost || state.status.asleep) onPicture(null);
  if (state.labels_sha !== labels_sha) {
    const { labels, sha } = await get("/api/labels", { signal });
    truth.labels = review.labels = labels;
    labels_sha = sha;
  }
}

function onSilence(error) {
  number = null;
  document.body.classList.add("stale");
  const since = answered ? `No answer since ${localTime(answered)}.` : "No answer yet.";
  const silent = error instanceof Refused && !error.status;
  say($("connection"), silent ? `${since} Trying again …` : error.message);
  $("connection").className = "bad";
}

function choose(view) {
  for (const each of VIEWS) {
    const chosen = each === view;
    $(`${each}-view`).hidden = !chosen;
    $(`tab-${each}`).setAttribute("aria-selected", String(chosen));
    $(`tab-${each}`).tabIndex = chosen ? 0 : -1;
  }
  if (view === "review") review.open();
}

const view = () => (location.hash === "#review" ? "review" : "live");

window.addEventListener("hashchange", () => choose(view()));
VIEWS.forEach((each, index) => {
  $(`tab-${each}`).addEventListener("click", () => (location.hash = each));
  $(`tab-${each}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = VIEWS[(index + 1) % VIEWS.length];
    location.hash = other;
    $(`tab-${other}`).focus();
  });
});
$("logout").addEventListener("click", async () => {
  await post("/logout", {}).catch(() => {});
  location.replace("/login");
});
choose(view());
again(follow, onSilence);
again(
  (signal) => picture.next(signal),
  (error) => onPicture(null, `The picture does not come. ${error.message}`),
  () => view() === "live",
);
