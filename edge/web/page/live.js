// The newest state of the run, as the view "Live" shows it.

import { Chart, STAGES } from "./chart.js";
import { $, facts, fill, make, say } from "./dom.js";
import { bytes, count, duration, heldBack, localTime, ms, percent } from "./words.js";

export class Live {
  #chart = new Chart($("chart"));
  #run = null;

  // `anew`: what was shown before belongs to another connection.
  show(state, anew) {
    const { status } = state;
    if (anew || status.run !== this.#run) this.#chart.reset();
    this.#run = status.run;
    this.#chart.add(state.recent ?? [], status.running_s);
    notices(status);
    answers(state.predictions, status.truth);
    $("answers").classList.toggle("old", Boolean(status.camera_lost || status.asleep || status.backend_lost));
    stages(status.latency ?? {});
    facts($("tiles"), tiles(status));
    facts($("facts"), about(status));
    outlets(status.outlets ?? {});
    events(state.events);
  }
}

// Why there is no picture, for a person; `otherwise` where the state does not tell.
export function whyNoPicture({ status, features }, otherwise = "No picture has come for ten seconds.") {
  if (!features.preview) return "The live picture is switched off (web.preview).";
  if (status.camera_lost) return "No picture: the camera is lost.";
  if (status.asleep) return sentence(status.asleep);
  if (status.backend_lost) return "No picture comes: nothing runs the model.";
  return otherwise;
}

function notices(status) {
  const found = [];
  if (status.asleep) found.push(`By its schedule it is ${status.asleep}.`);
  if (status.camera_lost) found.push(`The camera is lost. ${status.camera_lost}`);
  if (status.backend_lost) found.push(`The accelerator is lost. ${status.backend_lost}`);
  if (status.journal && !status.journal.recording) found.push(`Nothing is recorded. ${status.journal.why ?? ""}`);
  if (status.pictures?.trouble) found.push(status.pictures.trouble);
  fill($("notices"), found, () => make("p", { className: "notice" }), say);
}

function answers(predictions, truth) {
  const create = () => {
    const score = make("span", { className: "score" });
    const name = make("span", { className: "name", dir: "auto" });
    return make("li", {}, name, score, make("div", { className: "bar" }, make("i")));
  };
  fill($("answers"), predictions, create, (element, { label, score }) => {
    const [name, share, bar] = element.children;
    say(name, label);
    say(share, percent(score));
    name.title = label;
    bar.firstChild.style.width = `${100 * score}%`;
    element.classList.toggle("true", label === truth);
    element.classList.toggle("none", score === 0);
  });
}

function stages(latency) {
  const create = () => {
    const name = make("th", { scope: "row" });
    return make("tr", {}, name, make("td"), make("td"));
  };
  fill($("stages"), [...STAGES, "age"], create, (row, stage) => {
    const [name, median, p90] = row.children;
    say(name, stage === "age" ? "in all" : stage);
    name.className = stage;
    say(median, ms(latency[stage]?.p50_ms));
    say(p90, ms(latency[stage]?.p90_ms));
  });
}

function tiles(status) {
  const { frames, dropped, unchanged } = status;
  const given = frames + dropped + unchanged;
  const share = given ? dropped / given : 0;
  return [
    { name: "Frames a second", value: status.fps_now == null ? "–" : status.fps_now.toFixed(1) },
    { name: "Frames", value: count(frames), about: `in ${duration(status.running_s)}` },
    { name: "Not classified", value: count(dropped), about: `${percent(share)} of all` },
    { name: "Unchanged", value: count(unchanged), about: unchanged ? "left out by the gate" : "" },
    ...board(status.board),
  ];
}

function board(board) {
  const degrees = board?.temperature_c;
  const heat = degrees == null ? untold("Temperature") : { name: "Temperature", value: `${degrees.toFixed(0)} °C` };
  if (board?.coral_temperature_c != null) heat.about = `Edge TPU: ${board.coral_temperature_c.toFixed(0)} °C`;
  if (board?.throttled == null) return [heat, untold("Power and heat")];
  const { now, earlier } = heldBack(board.throttled);
  const before = earlier.filter((word) => !now.includes(word)).map((word) => word.split(":")[0]);
  const when = board.throttled_lately ? "in the last seconds" : "since it started";
  const about = [...now, ...(before.length ? [`${when}: ${before.join(", ")}`] : [])].join("; ");
  return [heat, { name: "Power and heat", value: now.length ? "held back" : "fine", about, alarm: now.length > 0 }];
}

const untold = (name) => ({ name, value: "–", about: "not told by this machine" });

function about(status) {
  const { journal } = status;
  const threads = status.threads === 1 ? "1 thread" : `${status.threads} threads`;
  return [
    { name: "Model", value: status.model },
    { name: "Runs on", value: status.backend, about: `${status.runtime} ${status.runtime_version}, ${threads}` },
    { name: "Camera", value: status.camera },
    journal
      ? {
          name: "Journal",
          value: journal.path,
          about: journal.recording ? `recording, ${bytes(journal.file_bytes)}` : `not recording: ${journal.why ?? ""}`,
          alarm: !journal.recording,
        }
      : { name: "Journal", value: "none", about: "nothing is recorded" },
    { name: "Since", value: localTime(status.since_utc), about: `run ${status.run}` },
  ];
}

function outlets(told) {
  const create = () => make("li", {}, make("b"), make("span"), make("p", { className: "small" }));
  fill($("outlets"), Object.entries(told), create, (element, [name, outlet]) => {
    const [title, where, how] = element.children;
    say(title, name);
    say(where, outlet.where);
    const waiting = outlet.waiting ? `, ${count(outlet.waiting)} waiting` : "";
    const dropped = outlet.dropped ? `, ${count(outlet.dropped)} dropped` : "";
    say(how, outlet.trouble ?? `${count(outlet.delivered)} delivered${waiting}${dropped}`);
    how.classList.toggle("trouble", Boolean(outlet.trouble));
  });
}

function events(told) {
  const create = () => make("li", {}, make("time"), make("span", { dir: "auto" }));
  fill($("events"), [...told].reverse(), create, (element, { utc, kind, text }) => {
    const [time, what] = element.children;
    time.dateTime = utc;
    say(time, localTime(utc));
    say(what, text || kind);
  });
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
