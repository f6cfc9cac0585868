// Charts that can be read with the pointer and the arrow keys.

import { local } from "./formatting.js";

// The labels of round UTC times move to where those clock times are in the reader's zone.
function moveTicks(chart, start, end) {
  const shift = (new Date(end).getTimezoneOffset() * 60000 * 100) / (end - start);
  for (const tick of chart.querySelectorAll("[data-place]")) {
    const place = Number(tick.dataset.place) + shift;
    for (const name of tick.tagName === "line" ? ["x1", "x2"] : ["x"])
      tick.setAttribute(name, `${place}%`);
    if (place < 0 || place > 100) tick.setAttribute("display", "none");
    else tick.removeAttribute("display");
  }
  chart.querySelector(".zone").textContent =
    `of ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
}

const GAP = "nothing heard";

export function makeReadable(chart, place) {
  const [start, end] = [chart.dataset.start, chart.dataset.end].map(
    (seconds) => Number(seconds) * 1000,
  );
  const plot = chart.querySelector(".plot");
  const reading = chart.querySelector(".told");
  const hits = [...chart.querySelectorAll(".hits rect")].map((rect, index) => {
    const time = start + ((end - start) * index) / 240;
    const title = rect.querySelector("title");
    const words = title.textContent.slice(title.textContent.indexOf(" UTC: ") + 6);
    title.remove();
    const when = local(time, {
      weekday: "short",
      day: "numeric",
      month: "short",
      hour: "2-digit",
      minute: "2-digit",
    });
    return { rect, words: `${when}: ${words}` };
  });
  let at =
    place ||
    Number(plot.dataset.at) ||
    Math.max(
      0,
      hits.findLastIndex(({ words }) => !words.endsWith(GAP)),
    );

  function read(index, shown = true) {
    hits[at].rect.classList.remove("read");
    at = Math.max(0, Math.min(hits.length - 1, index));
    hits[at].rect.classList.toggle("read", shown);
    reading.textContent = hits[at].words;
    plot.setAttribute("aria-valuenow", at);
    plot.setAttribute("aria-valuetext", hits[at].words);
  }

  plot.tabIndex = 0;
  for (const [name, value] of Object.entries({
    role: "slider",
    "aria-label": `${plot.dataset.label} over time, read with the arrow keys`,
    "aria-valuemin": 0,
    "aria-valuemax": hits.length - 1,
  }))
    plot.setAttribute(name, value);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    read(Math.floor(((event.clientX - box.left) / box.width) * hits.length));
  });
  plot.addEventListener("keydown", (event) => {
    const stride = event.shiftKey ? 10 : 1;
    const goes = {
      ArrowLeft: at - stride,
      ArrowRight: at + stride,
      PageDown: at - 24,
      PageUp: at + 24,
      Home: 0,
      End: hits.length - 1,
    };
    if (!(event.key in goes)) return;
    event.preventDefault();
    read(goes[event.key]);
  });
  moveTicks(chart, start, end);
  read(at, false);
}

// As the server wrote it, by which a later one is known to be the same.
export const served = new WeakMap();

export function beginChart(chart) {
  served.set(chart, chart.outerHTML);
  makeReadable(chart);
}
