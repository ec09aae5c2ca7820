// How often the model was right.

import { get } from "./api.js";
import { $, facts } from "./dom.js";
import { count, percent } from "./words.js";

let asked = 0;

// The answer to the newest request counts: those before it may come later.
export async function showAccuracy() {
  const number = ++asked;
  const { reviewed, live, trouble } = await get("/api/accuracy");
  if (number === asked) facts($("accuracy"), [ofPictures(reviewed ?? {}, trouble), ofFrames(live)]);
}

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
