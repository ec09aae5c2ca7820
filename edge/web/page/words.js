// Values as people read them.

const THIN = "\u202f";
const DASH = "–";
const whole = new Intl.NumberFormat("en");
const HELD_BACK = [
  "under-voltage: weak power supply or cable",
  "clock capped",
  "throttled",
  "soft temperature limit",
];
const EARLIER_SHIFT = 16;

export const count = (number) => (number == null ? DASH : whole.format(number));

// With so many digits behind the point; without any, small and large shares are no 0 or 100.
export function percent(share, digits = 0) {
  if (share == null) return DASH;
  if (digits) return `${(share * 100).toFixed(digits)}${THIN}%`;
  if (share > 0 && share < 0.005) return `<1${THIN}%`;
  if (share < 1 && share >= 0.995) return `>99${THIN}%`;
  return `${Math.round(share * 100)}${THIN}%`;
}

export function ms(value) {
  if (value == null) return DASH;
  return value.toFixed(value < 0.095 ? 2 : value < 99.5 ? 1 : 0);
}

export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  if (hours < 1) return `${minutes} min`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

export function bytes(number) {
  if (number < 1e6) return `${Math.ceil(number / 1e3)} kB`;
  return number < 1e9 ? `${(number / 1e6).toFixed(1)} MB` : `${(number / 1e9).toFixed(1)} GB`;
}

// In the browser's time zone; with the date where that is not today's.
export function localTime(when) {
  const date = new Date(when);
  if (Number.isNaN(date.getTime())) return "";
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? time : `${day(date)} ${time}`;
}

function day(date) {
  const year = date.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
}

// What Raspberry Pi throttling bits say of now and of before.
export function heldBack(bits) {
  const words = (shifted) => HELD_BACK.filter((_, bit) => (shifted >> bit) & 1);
  return { now: words(bits), earlier: words(bits >> EARLIER_SHIFT) };
}

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
