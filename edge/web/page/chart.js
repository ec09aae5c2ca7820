// The stages' times over the last minute, stacked.

export const STAGES = ["wait", "preprocess", "invoke", "postprocess"];
const SPAN_S = 60;
const SAMPLE_S = 0.5;
const LATE_S = 2;
const LEFT_PX = 34;
const BOTTOM_PX = 20;
const TOP_PX = 8;
const TICKS = 4;
const GRID_S = 20;

export class Chart {
  #canvas;
  #samples = [];
  #now_s = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // Take in the newest half seconds, which begin at `t`: means in ms, null where there was no frame. `running_s` is the
  // run's age.
  add(samples, running_s) {
    const newest_s = this.#samples.at(-1)?.t ?? -Infinity;
    this.#samples.push(...samples.filter((sample) => sample.t > newest_s));
    const last_s = (this.#samples.at(-1)?.t ?? 0) + SAMPLE_S;
    this.#now_s = running_s > last_s + LATE_S ? running_s : last_s;
    this.#samples = this.#samples.filter((sample) => sample.t > this.#now_s - SPAN_S);
    this.draw();
  }

  // Another run has another beginning.
  reset() {
    this.#samples = [];
  }

  draw() {
    const canvas = this.#canvas;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(canvas);
    context.font = `12px ${style.fontFamily}`;
    const area = { left: LEFT_PX, right: width - 1, top: TOP_PX, bottom: height - BOTTOM_PX };
    const step = this.#step();
    const most = step.ms * step.count;
    const x = (t) => area.right - ((this.#now_s - t) / SPAN_S) * (area.right - area.left);
    const y = (ms) => area.bottom - (ms / most) * (area.bottom - area.top);
    const sharp = (value) => Math.round(value * scale) / scale;
    this.#axes(context, area, style, { x, y, step, sharp });
    for (const sample of this.#samples) this.#column(context, area, style, { x, y, sharp, sample });
  }

  // Round numbers on the axis, so that the highest column fits.
  #step() {
    const totals = this.#samples.map((sample) => STAGES.reduce((sum, stage) => sum + (sample[stage] ?? 0), 0));
    const highest = Math.max(...totals, 0.1);
    const power = 10 ** Math.floor(Math.log10(highest / TICKS));
    const ms = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each * TICKS >= highest) ?? 10 * power;
    return { ms, count: Math.ceil(highest / ms) };
  }

  #axes(context, area, style, { x, y, step, sharp }) {
    context.fillStyle = style.getPropertyValue("--muted");
    context.strokeStyle = style.getPropertyValue("--rule");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let tick = 0; tick <= step.count; tick += 1) {
      const ms = Number((tick * step.ms).toPrecision(6));
      const at = sharp(y(ms)) - 0.5;
      context.beginPath();
      context.moveTo(area.left, at);
      context.lineTo(area.right, at);
      context.stroke();
      context.fillText(String(ms), area.left - 6, at);
    }
    context.textBaseline = "bottom";
    for (let ago_s = 0; ago_s <= SPAN_S; ago_s += GRID_S) {
      context.textAlign = ago_s === 0 ? "right" : ago_s === SPAN_S ? "left" : "center";
      const text = ago_s === 0 ? "now" : `−${ago_s} s`;
      context.fillText(text, x(this.#now_s - ago_s), area.bottom + BOTTOM_PX);
    }
  }

  #column(context, area, style, { x, y, sharp, sample }) {
    const right = sharp(x(sample.t + SAMPLE_S));
    const left = Math.max(area.left, sharp(x(sample.t)));
    let below = 0;
    STAGES.forEach((stage) => {
      const ms = sample[stage] ?? 0;
      const top = sharp(y(below + ms));
      context.fillStyle = style.getPropertyValue(`--${stage}`);
      context.fillRect(left, top, right - left, sharp(y(below)) - top);
      below += ms;
    });
  }
}
