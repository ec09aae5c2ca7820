// What the page asks and tells the device.

const ANSWER_MS = 30_000; // a slow link, a busy card
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

// Fetches; throws Refused with a sentence where the device says no, or says nothing for too long.
export async function ask(path, { signal, within_ms = ANSWER_MS, ...options } = {}) {
  const late = new AbortController();
  const give_up = () => late.abort();
  const timer = setTimeout(give_up, within_ms);
  signal?.addEventListener("abort", give_up);
  try {
    const response = await fetch(path, { ...options, signal: late.signal });
    if (response.status === 401) {
      location.replace("/login");
      throw new Refused("Sign in again.", 401);
    }
    if (!response.ok) {
      const told = await response.json().catch(() => ({}));
      throw new Refused(told.error ?? `The device answers with an error (${response.status}).`, response.status);
    }
    const is_json = response.headers.get("Content-Type")?.startsWith("application/json");
    const content = await (is_json ? response.json() : response.blob());
    return { content, response };
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("The device does not answer.", 0);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", give_up);
  }
}

export const get = async (path, options) => (await ask(path, options)).content;

export function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return get(path, { method: "POST", headers, body: JSON.stringify(body) });
}

function pause(for_ms) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      resolve();
    };
    const timer = setTimeout(end, for_ms);
    window.addEventListener("online", end);
  });
}

// Calls `once(signal)` again and again while the tab is shown and `wanted()`; what is under way then is given up when it
// is not. What fails is told to `failed`, and tried again ever more seldom, but at once when the browser is online again.
export async function again(once, failed, wanted = () => true) {
  const shown = () => !document.hidden && wanted();
  let pause_ms = FIRST_PAUSE_MS;
  let woken;
  let giving_up = new AbortController();
  const look = () => (shown() ? woken?.() : giving_up.abort());
  document.addEventListener("visibilitychange", look);
  window.addEventListener("hashchange", look); // another view
  for (;;) {
    if (!shown()) await new Promise((resolve) => (woken = resolve));
    giving_up = new AbortController();
    try {
      await once(giving_up.signal);
      pause_ms = FIRST_PAUSE_MS;
    } catch (error) {
      if (giving_up.signal.aborted) continue;
      if (!(error instanceof Refused)) reportError(error); // a fault of the page's
      failed(error);
      await pause(pause_ms);
      pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS);
    }
  }
}
