// What each kind of event changes on the page (docs/socket.md). Values, times and states are
// written from the event; what takes more than that is the page itself, fetched again.

import { clock } from "./clock.js";
import { isOverdue } from "./formatting.js";
import { setText } from "./times.js";
import { all, main, seconds, timeOf, write } from "./dom.js";
import {
  mark,
  setAttributeHeard,
  setFlag,
  setHeard,
  showDecision,
  showOrder,
  showValue,
  updateAllFreshness,
  updateFreshness,
} from "./render.js";
import { page, refreshIn } from "./refresh.js";
import { report, settle } from "./commands.js";

// The latest events, for a page that was written before them and arrives after them.
const recent = [];
export const isPage = (name) => main.dataset.page === name;
const isThis = (device) => isPage("device") && Number(main.dataset.device) === device;

export const handlers = {
  readings({ device, gateway, body }, isNews) {
    const { at, values } = body;
    showAnswered(gateway, at);
    const heard = [...all(`[data-device="${device}"][data-freshness]`)];
    if (!heard.length || heard.some((element) => at < Number(element.dataset.heard))) return;
    for (const [pk, answer] of Object.entries(values)) {
      const [value, observed] = Array.isArray(answer) ? answer : [answer, at];
      showValue(pk, value, isNews);
      setAttributeHeard(pk, at, observed);
    }
    if (
      !Object.keys(values).length ||
      body.none ||
      heard.some(({ dataset }) => dataset.freshness === "stale")
    )
      refreshIn(200, 3000);
    else heard.forEach((element) => setHeard(element, at));
    // Counts, and the order of the list, are the server's.
    if (heard.map(updateFreshness).some(Boolean)) refreshIn(200, 3000);
    if (isPage("device")) lazily();
  },
  device({ device, body }, isNews) {
    const row = document.getElementById(`device-${device}`);
    if (isThis(device)) showName(body);
    else if (!row) isPage("device") || refreshIn(200, 2000);
    else showDevice(row, body, isNews);
  },
  "device removed"({ device }) {
    document.getElementById(`device-${device}`)?.remove();
    if (!isPage("device") || isThis(device)) refreshIn(100, 2000);
  },
  gateway({ gateway, body }) {
    const served = [...all(`[data-gateway="${gateway}"]`)];
    if (isPage("device") && !served.length) return;
    for (const element of served)
      if ("freshness" in element.dataset) setFlag(element, "failing", body.failures > 0);
    updateAllFreshness();
    refreshIn(100, isPage("status") ? 1500 : 300);
  },
  "gateway removed": () => refreshIn(100, 2000),
  command({ device, body }, isNews) {
    for (const place of all(`[data-told="${body.attribute}"]`)) {
      const shown = Number(place.querySelector("[data-command]")?.dataset.command ?? 0);
      if (body.id >= shown) showOrder(settle(place, body), body);
      if (isNews) report(place, body);
    }
    if (isThis(device)) refreshIn(0, 300);
  },
  run({ body }) {
    const running = document.getElementById("running");
    if (!running) return;
    const words = {
      running: `A ${body.task} is running.`,
      broken: `The last ${body.task} stopped on an error.`,
    };
    running.textContent = words[body.outcome] ?? "";
    if (body.task === "poll" && body.outcome === "done") showPoll(body);
    else if (body.outcome !== "running" && body.outcome !== "done") refreshIn(100, 2000);
  },
  plan({ device }) {
    if (isThis(device)) refreshIn(0, 300);
  },
};

function showName({ name }) {
  setText(main.querySelector("h1"), name);
  refreshIn(0, 300);
}

function showDevice(row, body, isNews) {
  const name = row.querySelector("h2 a");
  // The gateway of a part stands over all of its hardware.
  const isSaid = row.matches(".part") || body.gateway.name === body.name;
  const where = [body.place.name, isSaid ? "" : body.gateway.name]
    .filter(Boolean)
    .join(" · ");
  const isOther =
    name.textContent !== body.name || row.querySelector(".where").textContent !== where;
  const isPaused = body.freshness === "paused";
  if (isOther || isPaused !== "paused" in row.dataset) refreshIn(500, 5000); // the rest
  if (isOther && isNews) mark(name);
  setText(name, body.name);
  setText(row.querySelector(".where"), where);
  setFlag(row, "paused", isPaused);
  showDecision(row, body);
  updateFreshness(row);
}

function showAnswered(gateway, at) {
  const answered = main.querySelector(`#gateway-${gateway} .answered`);
  if (answered && at > seconds(answered.querySelector("time")?.dateTime))
    write(answered, timeOf(at));
}

function showPoll({ started_at, finished_at, seconds: took }) {
  const [polled, lasted, next] = ["polled", "took", "next"].map((id) =>
    document.getElementById(id),
  );
  if (!polled || !lasted || main.querySelector("p.notice.bad")) return refreshIn(100, 2000);
  if (seconds(finished_at) < seconds(polled.querySelector("time").dateTime)) return;
  write(polled, timeOf(seconds(finished_at)));
  lasted.textContent = took.toFixed(1);
  write(next, "Next ", timeOf(seconds(started_at) + Number(next.dataset.pace), "due"), ".");
}

export function showDue() {
  const next = document.getElementById("next");
  const time = next?.querySelector("time");
  if (!time) return;
  const words = isOverdue(Date.parse(time.dateTime), clock()) ? "The next was due " : "Next ";
  if (next.firstChild.data !== words) next.firstChild.data = words;
}

export function applyAll(events, isNews = true) {
  page.isReplaying = !isNews;
  for (const event of events) handlers[event.kind]?.(event, isNews);
  page.isReplaying = false;
}

export function remember(news) {
  recent.push(...news);
  recent.splice(0, recent.length - 1000);
}

// After the page was written anew: it may be older than the events that arrived since.
export function applyAgain(last) {
  applyAll(
    recent.filter(({ id }) => !(id <= last)),
    false,
  );
}

// Charts and small drawings may be a little late.
function lazily() {
  const rested = performance.now() - page.refreshedAt;
  refreshIn(Math.max(1000, 30000 - rested), Math.max(10000, 40000 - rested));
}
