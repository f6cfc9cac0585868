// Text for values, times and states: the same as core/formatting.py and freshness() of
// core/models/device.py write.

const STEPS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

const MOMENT_SECONDS = 5; // what is nearer than this is now

export function ago(time, now) {
  const distance = Math.abs(now - time) / 1000;
  if (distance < MOMENT_SECONDS) return "just now";
  const [size, unit] = STEPS.find(([size]) => distance >= size);
  const words = `${Math.floor(distance / size)} ${unit}`;
  return time > now ? `in ${words}` : `${words} ago`;
}

// When what is awaited comes, such as the next poll.
export const due = (time, now) =>
  Math.abs(now - time) < MOMENT_SECONDS * 1000 ? "in a moment" : ago(time, now);
export const isOverdue = (time, now) => now - time >= MOMENT_SECONDS * 1000;

export const local = (time, options) => new Intl.DateTimeFormat("en-GB", options).format(time);
export const clockText = (time) =>
  local(time, {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
export const fullText = (time) => local(time, { dateStyle: "medium", timeStyle: "long" });

// `format(100)` is the number to its last digit, `format(places)` rounded. Half-way Python goes to
// the even digit, this language up.
function evenly(format, places) {
  const [head, exponent = ""] = format(100).split("e");
  const point = head.indexOf(".") + 1;
  const kept = head.slice(0, places ? point + places : point - 1);
  const isTie = /^50*$/.test(head.slice(point + places));
  return isTie && "02468".includes(kept.at(-1))
    ? kept + (exponent && `e${exponent}`)
    : format(places);
}

export function numberText(number) {
  const size = Math.abs(number);
  const sign = number < 0 ? "-" : "";
  if (size >= 1e9 || (size > 0 && size < 0.001)) return sign + fourDigits(size);
  const places = size >= 10000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  const [units, rest = ""] = evenly((digits) => size.toFixed(digits), places).split(".");
  const fraction = rest.replace(/0+$/, "");
  return sign + units.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction && `.${fraction}`);
}

function fourDigits(size) {
  const [digits, exponent] = evenly((places) => size.toExponential(places), 3).split("e");
  const shown = digits.replace(/\.?0+$/, "");
  if (Number(exponent) >= -4 && Number(exponent) < 4) return String(Number(`${shown}e${exponent}`));
  return `${shown}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

export function valueText(value, unit = "") {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "on" : "off";
  const text = typeof value === "number" ? numberText(value) : value;
  return unit ? `${text}${unit === "%" || unit === "°" ? "" : " "}${unit}` : text;
}

const DAY_SECONDS = 86400;

// Times in seconds; `heard` and `measured` are 0 where there is none, `silence` where it is asked:
// after so long without a message, a device that pushes is stale.
export function freshness(facts, now, lateAfter) {
  const { heard, measured, silence, isAvailable, isFailing, isPaused } = facts;
  if (isPaused) return "paused";
  if (!heard) return isFailing ? "unreachable" : "never";
  if (!isAvailable) return "unreachable";
  if (silence && now - heard > silence) return "stale";
  if (!silence && now - heard > lateAfter) return isFailing ? "unreachable" : "late";
  return measured && now - measured > DAY_SECONDS ? "stale" : "fresh";
}
