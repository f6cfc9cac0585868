// What an event changes on the page. Each of these may run twice, and late: what is shown already
// is never put back.

import { freshness, valueText } from "./formatting.js";
import { clock } from "./clock.js";
import { all, copy, main, seconds, timeOf, upper, write } from "./dom.js";
import { isTyped } from "./merge.js";
import { isSlider, moveTo } from "./sliders.js";

const lateAfter = Number(main.dataset.late);
const LONGEST_IN_LIST = 48; // as in status.html

// Values

export function showValue(pk, value, isNews) {
  for (const element of all(`[data-value="${pk}"]`)) {
    const text = valueText(value, element.dataset.unit);
    if (!showText(element, text)) continue;
    if (isNews) mark(element);
    for (const form of all(`form[data-order="${pk}"]`)) follow(form, value);
  }
  if (typeof value !== "string" && value !== null)
    all(`[data-spark="${pk}"]`).forEach((spark) => extend(spark, Number(value)));
}

// In the list a long text is shortened: it is whole on hover, and on the device's own page.
// Returns whether it is another one.
function showText(element, text) {
  const isShort = element.tagName !== "DD" || text.length <= LONGEST_IN_LIST;
  const shown = isShort ? text : `${text.slice(0, LONGEST_IN_LIST - 1)}…`;
  if (isShort) element.removeAttribute("title");
  else element.title = text;
  const isOther = element.textContent !== shown;
  if (isOther) element.textContent = shown;
  return isOther;
}

// A short fade, where the reader has nothing against it: see style.css.
export function mark(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // so that it begins again
  element.classList.add("changed");
}

// A button says what it would do now; a field that nobody touched holds the value.
function follow(form, value) {
  if (form.dataset.kind === "boolean")
    return offer(form, value === null ? [true, false] : [!value]);
  const field = form.elements.value;
  if (isSlider(field)) field.reported = value;
  if (isTyped(field) || value === null) return;
  if (isSlider(field)) return moveTo(field, value);
  const text = typeof value === "number" ? String(Number(value.toPrecision(12))) : String(value);
  if (field.tagName === "SELECT")
    for (const option of field.options)
      option.defaultSelected = option.selected = option.value === text;
  else field.value = field.defaultValue = text;
}

function offer(form, values) {
  const buttons = [...all("button", form)];
  const texts = values.map((value) => valueText(value));
  if (buttons.map((button) => button.value).join() === texts.join()) return;
  values.forEach((value, place) => {
    const button = buttons[place] ?? form.appendChild(buttons[0].cloneNode(true));
    button.value = texts[place];
    button.firstChild.data = value ? form.dataset.on : form.dataset.off;
    button.changedAt = Date.now();
  });
  buttons.slice(values.length).forEach((button) => button.remove());
}

// The last of the samples of a sparkline is now: sparkline() of core/charts.py.
function extend(spark, value) {
  const line = spark.querySelector("path");
  let [low, high] = [Number(spark.dataset.low), Number(spark.dataset.high)];
  const points = [...line.getAttribute("d").matchAll(/(M|H)([\d.]+)[ V]([\d.]+)(?:h0)?/g)].map(
    ([, step, x, y]) => {
      return { step, x, value: high === low ? low : low + ((95 - Number(y)) / 90) * (high - low) };
    },
  );
  if (points.at(-1)?.x === "100") points.pop();
  // Of 48 samples the last but one; else there is a gap.
  const isNext = points.length && Number(points.at(-1).x) > 97;
  points.push({ step: isNext ? "H" : "M", x: "100", value });
  [low, high] = [Math.min(low, value), Math.max(high, value)];
  Object.assign(spark.dataset, { low, high });
  const short = (number) => number.toFixed(1).replace(/\.0$/, "");
  line.setAttribute(
    "d",
    points
      .map(({ step, x, value }) => {
        const y = short(high === low ? 50 : 95 - (90 * (value - low)) / (high - low));
        return step === "M" ? `M${x} ${y}h0` : `H${x}V${y}`;
      })
      .join(""),
  );
  const said = (number) =>
    valueText(spark.dataset.kind === "boolean" ? Boolean(number) : number, spark.dataset.unit);
  const range = [...new Set([said(low), said(high)])].join(" to ");
  const words = `${spark.dataset.label}, last day: ${range}`;
  spark.setAttribute("aria-label", words);
  spark.querySelector("title").textContent = words;
}

// Freshness

function stateOf({ dataset }) {
  const facts = {
    heard: Number(dataset.heard),
    measured: Number(dataset.measured),
    silence: Number(dataset.silence ?? 0),
    isAvailable: !("unavailable" in dataset),
  };
  return freshness(
    { ...facts, isFailing: "failing" in dataset, isPaused: "paused" in dataset },
    clock() / 1000,
    lateAfter,
  );
}

// Returns whether anything went from one state to another.
export function updateFreshness(element) {
  const state = stateOf(element);
  const before = element.dataset.freshness;
  const because = element.querySelector(".because");
  if (state === before) return false;
  element.dataset.freshness = state;
  element.classList.replace(`state-${before}`, `state-${state}`);
  const sign = copy("states", `[data-state="${state}"]`);
  element.querySelector(".state").replaceWith(sign);
  if (because) because.textContent = reason(element, state, sign.title);
  return true;
}

function reason(element, state, means) {
  if (state === "fresh") return "";
  if (!element.matches(".device")) return `(${means})`;
  if (state !== "unreachable") return upper(means);
  return "failing" in element.dataset
    ? "Its gateway does not answer"
    : "Its gateway cannot reach it";
}

export function updateAllFreshness() {
  return [...all("[data-freshness]")].map(updateFreshness).some(Boolean);
}

export function setFlag(element, name, isSet) {
  if (isSet) element.dataset[name] = "";
  else delete element.dataset[name];
}

export function setHeard(element, at) {
  if (at < Number(element.dataset.heard)) return;
  element.dataset.heard = at;
  setFlag(element, "unavailable", false);
  setFlag(element, "failing", false);
  const heard = element.querySelector(".heard");
  if (heard) write(heard, "heard ", timeOf(at));
}

export function setAttributeHeard(pk, at, observed) {
  const element = document.getElementById(`attribute-${pk}`);
  if (!element || at < Number(element.dataset.heard)) return;
  setHeard(element, at);
  const parts = [
    "measured ",
    timeOf(observed),
    ...(at === observed ? [] : [", heard ", timeOf(at)]),
  ];
  write(element.querySelector(".measured"), ...parts);
  updateFreshness(element);
}

// Orders

export function showOrder(place, command) {
  const line = document.createElement("p");
  const step = copy("steps", `[data-step="${command.state}"]`);
  const order = document.createElement("b");
  order.textContent = `${place.dataset.name}${valueText(command.value, place.dataset.unit)}`;
  line.className = `order ${step.className}`.trim();
  line.dataset.command = command.id;
  const error = step.className === "loud" && command.error ? [`. ${command.error}`] : [];
  write(
    line,
    "Ordered ",
    order,
    `: ${step.textContent}, `,
    timeOf(seconds(command.requested_at)),
    ...error,
  );
  place.replaceChildren(line);
}

// What the reader did and has no number yet.
export function showPressed(place, words, isLoud = false) {
  const line = document.createElement("p");
  line.className = isLoud ? "order loud" : "order open";
  line.textContent = words;
  place.replaceChildren(line);
}

// What a rule decided, or that a person's word holds

export function showDecision(row, { decision, hold }) {
  const line = document.createElement("p");
  line.className = hold ? "decision held" : "decision";
  if (hold) {
    const until = hold.held_until
      ? ["until ", timeOf(seconds(hold.held_until), "moment")]
      : ["until released"];
    write(line, copy("held-icon", "svg"), " held ", ...until, hold.reason ? `: ${hold.reason}` : "");
  } else if (decision?.reason) {
    const at = document.createElement("span");
    at.className = "muted";
    at.append(timeOf(seconds(decision.decided_at)));
    write(line, `${decision.reason} `, at);
  }
  const before = row.querySelector(".decision");
  if (before?.textContent === line.textContent) return;
  before?.remove();
  if (line.childNodes.length) row.querySelector(".who").append(line);
}
