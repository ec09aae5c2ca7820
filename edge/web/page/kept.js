// A kept picture, which is shown when all of it is there and not before.

import { ask, Refused } from "./api.js";

const NONE = { picture: null, loading: null };

export class Kept {
  #canvas;
  #ahead = NONE;

  constructor(canvas) {
    this.#canvas = canvas;
  }

  // Throws Refused: with 404 where it is gone, or cannot be shown for another reason that stays.
  async show(picture) {
    const { picture: prepared, loading } = this.#ahead;
    this.#ahead = NONE;
    const bitmap = (prepared === picture && (await loading)) || (await load(picture));
    this.#canvas.width = bitmap.width;
    this.#canvas.height = bitmap.height;
    this.#canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#canvas.dataset.id = picture.id;
  }

  // Load a picture that is probably the next.
  prepare(picture) {
    if (this.#ahead.picture === picture) return;
    this.#ahead = { picture, loading: load(picture).catch(() => null) }; // tried again when it is to be shown
  }
}

async function load({ id }) {
  const { content } = await ask(`/api/review/picture/${id}`);
  try {
    return await createImageBitmap(content);
  } catch {
    throw new Refused(`Picture ${id} cannot be shown: its file is damaged.`, 404);
  }
}
