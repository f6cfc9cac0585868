// Fetches this page again and merges it into what is shown. Coalesced, and spread by chance: a
// thousand pages that hear of the same change do not ask in the same moment, and where an answer
// takes long the next question waits four times as long.

import { setClock } from "./clock.js";
import { localise } from "./times.js";
import { all, announce, main } from "./dom.js";
import { beginChart, served } from "./charts.js";
import { isTyped, merge } from "./merge.js";
import { updateAllFreshness } from "./render.js";
import { showMessages } from "./messages.js";
import { logInIsOver } from "./socket.js";

const LEAST_REST = 1000;
export const page = {
  isLeaving: false,
  isMissed: false,
  isReplaying: false,
  takenAt: 0,
  refreshedAt: performance.now(),
};
const listeners = []; // called with the id of the last event in the page that was merged
let refreshAt = Infinity;
let refreshTimer = 0;
let restUntil = 0;
let isFetching = false;

export const whenMerged = (listener) => listeners.push(listener);

export function refreshIn(least, most = least) {
  if (page.isReplaying) return; // it was asked for when it was news
  const at = Math.max(performance.now() + least + Math.random() * (most - least), restUntil);
  if (at >= refreshAt) return;
  clearTimeout(refreshTimer);
  refreshAt = at;
  refreshTimer = setTimeout(refreshNow, at - performance.now());
}

export async function refreshNow() {
  refreshAt = Infinity;
  if (page.isLeaving) return;
  if (document.hidden) return void (page.isMissed = true);
  if (isFetching) return refreshIn(LEAST_REST);
  isFetching = true;
  const began = performance.now();
  try {
    await refresh();
  } catch (error) {
    console.debug("The page could not be fetched again", error);
    refreshIn(5000, 30000);
  }
  const took = performance.now() - began;
  restUntil = performance.now() + Math.max(LEAST_REST, 4 * took);
  page.refreshedAt = performance.now();
  isFetching = false;
}

async function refresh() {
  const began = performance.now();
  const response = await fetch(location.href, {
    cache: "no-store",
    signal: AbortSignal.timeout(20000),
  });
  const arrived = Date.now();
  if (isElsewhere(response)) return logInIsOver();
  if (response.status === 404) return showRemoved();
  if (!response.ok) throw new Error(String(response.status));
  take(parsed(await response.text()), began, arrived);
}

export const parsed = (text) => new DOMParser().parseFromString(text, "text/html");
export const isElsewhere = ({ redirected, url }) =>
  redirected && new URL(url).pathname !== location.pathname;

// A page that was asked for at `began`, and whose first byte came at `arrived`, by the reader's
// clock. What was asked for earlier may arrive later: nothing goes back to how it was.
export function take(fresh, began, arrived) {
  const part = fresh.getElementById("main");
  if (page.isLeaving || !part) return;
  showMessages(fresh);
  if (began < page.takenAt && Number(part.dataset.now) < Number(main.dataset.now)) return;
  page.takenAt = performance.now();
  setClock(fresh, arrived);
  put(part);
  // Somebody else may be logged in by now.
  merge(document.querySelector(".account"), fresh.querySelector(".account"));
  document.title = fresh.title;
}

function showRemoved() {
  page.isLeaving = true;
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.append(
    "This was removed. What is below is how it was last. ",
    Object.assign(document.createElement("a"), { href: "/", textContent: "Devices" }),
  );
  main.prepend(notice);
  announce("This was removed.");
}

function put(fresh) {
  for (const chart of all(".chart", fresh)) served.set(chart, chart.outerHTML);
  localise(fresh);
  const focused = document.activeElement;
  const part = focused?.closest("#main [tabindex='-1']"); // takes the focus if what had it is gone
  merge(main, fresh);
  const wanted = focused?.isConnected ? focused : part;
  if (wanted && wanted !== document.activeElement) wanted.focus({ preventScroll: true });
  for (const chart of all(".chart", main)) if (!served.has(chart)) beginChart(chart);
  updateAllFreshness();
  for (const listener of listeners) listener(Number(fresh.dataset.last));
}

// A page that is not live keeps up by itself, unless somebody is typing.
export function keepUp() {
  const isBusy =
    document.activeElement?.matches("input:not([type='range']), select, textarea") ||
    [...all("input, select, textarea")].some(isTyped);
  if (!isBusy) refreshIn(0, 2000);
}

addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  page.isLeaving = true;
  setTimeout(() => (page.isLeaving = false), 30000);
});
addEventListener("pageshow", () => (page.isLeaving = false));
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !page.isMissed) return;
  page.isMissed = false;
  refreshIn(0);
});
