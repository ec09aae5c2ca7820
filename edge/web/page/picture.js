// The live picture: each request waits for the next one, and none is made while nobody looks.

import { ask } from "./api.js";
import { wait } from "./words.js";

const OFF_MS = 500;
const WITHIN_MS = 20_000; // the device answers after 10 s where no picture comes

export class Picture {
  #canvas;
  #on;
  #told;
  #after = null;

  // `on()` says whether there are any; `told(utc)` is called with each picture, `told(null)` when none comes.
  constructor(canvas, on, told) {
    this.#canvas = canvas;
    this.#on = on;
    this.#told = told;
  }

  // Begin anew: another process or camera counts its pictures from 0.
  reset() {
    this.#after = null;
  }

  // Wait for the next picture and draw it.
  async next(signal) {
    if (!this.#on()) {
      this.#told(null); // they may be switched on again
      await wait(OFF_MS);
      return;
    }
    const query = this.#after === null ? "" : `?after=${this.#after}`;
    this.#after = null; // unless one comes
    const answer = await ask(`/picture.jpg${query}`, { signal, within_ms: WITHIN_MS });
    const { content, response } = answer;
    if (response.status === 204) {
      this.#told(null);
      return;
    }
    const picture = await createImageBitmap(content);
    this.#draw(picture);
    picture.close();
    this.#after = response.headers.get("X-Sequence");
    this.#canvas.dataset.sequence = this.#after;
    this.#told(response.headers.get("X-Utc"));
  }

  #draw(picture) {
    const canvas = this.#canvas;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }
}
