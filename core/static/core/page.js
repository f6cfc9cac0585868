"use strict";
// Without this script every page works. With it, times are in the reader's zone and stay true, and charts can be read with arrows.

let skew = 0; // how far the server's clock is ahead of the reader's, in milliseconds
const clock = () => Date.now() + skew;

function tell() {
  for (const element of document.querySelectorAll("time[data-ago]")) say(element, ago(Date.parse(element.dateTime), clock()));
}

function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// Brings the times in a part of a page to the reader's zone.
function localise(part) {
  for (const element of part.querySelectorAll("time")) {
    const time = new Date(element.dateTime);
    element.title = whole(time);
    if ("ago" in element.dataset) say(element, ago(time, clock()));
    else if ("clock" in element.dataset) say(element, exact(time));
    else say(element, momentText(time));
  }
}

function momentText(time) {
  const day = time.toDateString() === new Date(clock()).toDateString() ? {} : { day: "numeric", month: "short" };
  return local(time, { ...day, hour: "2-digit", minute: "2-digit" });
}

// The labels of round UTC times move to where those clock times are in the reader's zone.
function moveTicks(chart, start, end) {
  const shift = (new Date(end).getTimezoneOffset() * 60000 * 100) / (end - start);
  for (const tick of chart.querySelectorAll("[data-place]")) {
    const place = Number(tick.dataset.place) + shift;
    for (const name of tick.tagName === "line" ? ["x1", "x2"] : ["x"]) tick.setAttribute(name, `${place}%`);
    if (place < 0 || place > 100) tick.setAttribute("display", "none");
    else tick.removeAttribute("display");
  }
  chart.querySelector(".zone").textContent = `of ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
}

const GAP = "nothing heard";

function readable(chart, place) {
  const [start, end] = [chart.dataset.start, chart.dataset.end].map((seconds) => Number(seconds) * 1000);
  const plot = chart.querySelector(".plot");
  const told = chart.querySelector(".told");
  const hits = [...chart.querySelectorAll(".hits rect")].map((rect, place) => {
    const time = start + ((end - start) * place) / 240;
    const title = rect.querySelector("title");
    const words = title.textContent.slice(title.textContent.indexOf(" UTC: ") + 6);
    title.remove();
    const when = local(time, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    return { rect, words: `${when}: ${words}` };
  });
  let at = place || Number(plot.dataset.at) || Math.max(0, hits.findLastIndex(({ words }) => !words.endsWith(GAP)));

  function read(place, shown = true) {
    hits[at].rect.classList.remove("read");
    at = Math.max(0, Math.min(hits.length - 1, place));
    hits[at].rect.classList.toggle("read", shown);
    told.textContent = hits[at].words;
    plot.setAttribute("aria-valuenow", at);
    plot.setAttribute("aria-valuetext", hits[at].words);
  }

  plot.tabIndex = 0;
  for (const [name, value] of Object.entries({
    role: "slider", "aria-label": `${plot.dataset.label} over time, read with the arrow keys`, "aria-valuemin": 0, "aria-valuemax": hits.length - 1,
  })) plot.setAttribute(name, value);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    read(Math.floor(((event.clientX - box.left) / box.width) * hits.length));
  });
  plot.addEventListener("keydown", (event) => {
    const stride = event.shiftKey ? 10 : 1;
    const goes = { ArrowLeft: at - stride, ArrowRight: at + stride, PageDown: at - 24, PageUp: at + 24, Home: 0, End: hits.length - 1 };
    if (!(event.key in goes)) return;
    event.preventDefault();
    read(goes[event.key]);
  });
  moveTicks(chart, start, end);
  read(at, false);
}

// As the server wrote it, by which a later one is known to be the same.
const served = new WeakMap();

function begin(chart) {
  served.set(chart, chart.outerHTML);
  readable(chart);
}

document.querySelectorAll(".chart").forEach(begin);
localise(document);
setInterval(tell, 5000);

// A rule that is chosen brings its own fields.
document.querySelectorAll("form[data-chooses] select").forEach((select) => select.addEventListener("change", () => select.form.requestSubmit()));

// One press, one order: a second press while the first is on its way would only replace it.
document.addEventListener("submit", (event) => {
  const pressed = event.submitter;
  if (!pressed || event.target.method !== "post" || event.defaultPrevented) return;
  setTimeout(() => {
    pressed.disabled = true;
    pressed.setAttribute("aria-busy", "true");
  });
});
addEventListener("pageshow", () => document.querySelectorAll("[aria-busy]").forEach((button) => {
  button.disabled = false;
  button.removeAttribute("aria-busy");
}));

// Of the vendors' hints, only that of the chosen one.
const vendor = document.querySelector("select[name=vendor]");
if (vendor) {
  const choose = () => document.querySelectorAll("[data-vendor]").forEach((hint) => (hint.hidden = hint.dataset.vendor !== vendor.value));
  vendor.addEventListener("change", choose);
  choose();
}
