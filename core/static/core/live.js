"use strict";
// Follows /ws/events/ (docs/socket.md). Values, times and states are written from events; what takes more than that is the page
// itself, fetched again. Where there is no socket the page fetches itself each 30 s.

const FALLBACK_SECONDS = 30;
const FAILURES_UNTIL_FALLBACK = 3;
const HIDDEN_SECONDS = 300;
const SLOW_REFRESH_SECONDS = 900;
const LONGEST_PAUSE = 30000;

const link = { socket: null, last: Number(main.dataset.last) || null, failures: 0, isOpen: false, isOver: false, answers: new Map(), devices: new Set() };
const told = []; // the latest events, for a page that was written before them and arrives after them
const isPage = (name) => main.dataset.page === name;
const isThis = (device) => isPage("device") && Number(main.dataset.device) === device;

// What an event changes

const TELL = {
  readings({ device, gateway, body }, isNews) {
    const { at, values } = body;
    showAnswered(gateway, at);
    const heard = [...all(`[data-device="${device}"][data-freshness]`)];
    if (!heard.length || heard.some((element) => at < Number(element.dataset.heard))) return;
    for (const [pk, told] of Object.entries(values)) {
      const [value, observed] = Array.isArray(told) ? told : [told, at];
      showValue(pk, value, isNews);
      hearAttribute(pk, at, observed);
    }
    if (!Object.keys(values).length || body.none || heard.some(({ dataset }) => dataset.freshness === "stale")) refreshIn(200, 3000);
    else heard.forEach((element) => hear(element, at));
    if (heard.map(judge).some(Boolean)) refreshIn(200, 3000); // counts, and the order of the list
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
    for (const element of served) if ("freshness" in element.dataset) setFlag(element, "failing", body.failures > 0);
    judgeAll();
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
    const words = { running: `A ${body.task} is running.`, broken: `The last ${body.task} stopped on an error.` };
    running.textContent = words[body.outcome] ?? "";
    if (body.task === "poll" && body.outcome === "done") showPoll(body);
    else if (body.outcome !== "running" && body.outcome !== "done") refreshIn(100, 2000);
  },
  plan({ device }) {
    if (isThis(device)) refreshIn(0, 300);
  },
};

function showName({ name }) {
  say(main.querySelector("h1"), name);
  refreshIn(0, 300);
}

function showDevice(row, body, isNews) {
  const name = row.querySelector("h2 a");
  const where = [body.place.name, body.gateway.name === body.name ? "" : body.gateway.name].filter(Boolean).join(" · ");
  const isOther = name.textContent !== body.name || row.querySelector(".where").textContent !== where;
  const isPaused = body.freshness === "paused";
  if (isOther || isPaused !== "paused" in row.dataset) refreshIn(500, 5000); // whatever else is not written here
  if (isOther && isNews) mark(name);
  say(name, body.name);
  say(row.querySelector(".where"), where);
  setFlag(row, "paused", isPaused);
  showDecision(row, body);
  judge(row);
}

function showAnswered(gateway, at) {
  const answered = main.querySelector(`#gateway-${gateway} .answered`);
  if (answered && at > seconds(answered.querySelector("time")?.dateTime)) write(answered, timeOf(at));
}

function showPoll({ started_at, finished_at, seconds: took }) {
  const [polled, lasted, next] = ["polled", "took", "next"].map((id) => document.getElementById(id));
  if (!polled || !lasted || main.querySelector("p.notice.bad")) return refreshIn(100, 2000);
  if (seconds(finished_at) < seconds(polled.querySelector("time").dateTime)) return;
  write(polled, timeOf(seconds(finished_at)));
  lasted.textContent = took.toFixed(1);
  write(next, "Next ", timeOf(seconds(started_at) + Number(next.dataset.pace)), ".");
}

function showDue() {
  const next = document.getElementById("next");
  const time = next?.querySelector("time");
  const words = time && Date.parse(time.dateTime) > clock() ? "Next " : "The next was due ";
  if (time && next.firstChild.data !== words) next.firstChild.data = words;
}

function tellAll(events, isNews = true) {
  page.isRetelling = !isNews;
  for (const event of events) TELL[event.kind]?.(event, isNews);
  page.isRetelling = false;
}

// After the page was written anew: it may be older than what was told since.
function tellAgain(last) {
  tellAll(told.filter(({ id }) => !(id <= last)), false);
  if (link.isOpen && subscribe()) refreshIn(0, 500); // what happened to a device before it was subscribed to is in the page
}

// Charts and small drawings may be a little late.
function lazily() {
  const rested = performance.now() - page.refreshedAt;
  refreshIn(Math.max(1000, 30000 - rested), Math.max(10000, 40000 - rested));
}

// The connection

const states = document.getElementById("connection");

function showLink(state, title) {
  states.hidden = false;
  if (states.dataset.link !== state) states.textContent = state;
  states.dataset.link = state;
  states.title = title;
  document.documentElement.classList.toggle("live", state === "live");
}

function logInIsOver() {
  link.isOver = true;
  link.socket?.close();
  showLink("log-in over", "The page is as it was when your log-in ended");
  const way = document.createElement("a");
  way.href = `/login/?next=${encodeURIComponent(location.pathname + location.search)}`;
  way.textContent = "log in again";
  states.replaceChildren("Your log-in is over: ", way);
  announce("Your log-in is over.");
}

function send(message) {
  if (link.socket?.readyState === WebSocket.OPEN) link.socket.send(JSON.stringify(message));
}

function connect() {
  clearTimeout(link.retry);
  if (link.isOver || document.hidden || link.socket) return;
  const address = new URL(main.dataset.socket, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  link.socket = socket;
  socket.onmessage = ({ data }) => hearSocket(JSON.parse(data));
  socket.onclose = ({ code }) => lost(socket, code);
  link.watchdog = setTimeout(() => hangUp(socket), 15000);
}

// A connection that died without a word, as when a laptop slept, is only noticed by its silence.
function hangUp(socket) {
  socket.close();
  lost(socket, 1006);
}

function hearSocket(message) {
  clearTimeout(link.watchdog);
  link.watchdog = setTimeout(() => hangUp(link.socket), (link.heartbeat ?? 30) * 2500);
  if (Array.isArray(message)) return hearEvents(message);
  if (message.hello) return greet(message.hello);
  if (message.ping) {
    send({ pong: {} });
    if (message.ping.last) link.last = Math.max(link.last, message.ping.last);
  } else if (message.over) {
    link.last = null; // from now on, and the page anew
    link.socket.close();
    lost(link.socket, 1012);
  } else if ("ref" in message) answer(message);
}

function hearEvents(events) {
  const news = events.filter(({ id }) => id > link.last);
  if (!news.length) return;
  link.last = news.at(-1).id;
  told.push(...news);
  told.splice(0, told.length - 1000);
  tellAll(news);
}

function greet({ last, heartbeat_seconds }) {
  link.heartbeat = heartbeat_seconds;
  link.failures = 0;
  link.isOpen = true;
  if (link.last === null) refreshIn(0, 500); // written before this connection: what came between is in the page that comes
  link.last ??= last;
  send({ subscribe: { to: main.dataset.topic } });
  link.devices.clear();
  subscribe();
  send({ resume: { after: link.last } });
  if (isPage("device")) send({ here: { device: Number(main.dataset.device) } }); // see present.js
  showLink("live", "Changes appear here as they happen");
}

// To the devices that the page shows now. Returns whether there are new ones.
function subscribe() {
  if (main.dataset.topic === "all") return false;
  const shown = new Set([...all("[data-device]")].map(({ dataset }) => Number(dataset.device)));
  const fresh = [...shown].filter((pk) => !link.devices.has(pk));
  const gone = [...link.devices].filter((pk) => !shown.has(pk));
  if (fresh.length) send({ subscribe: { to: { device: fresh } } });
  if (gone.length) send({ unsubscribe: { to: { device: gone } } });
  link.devices = shown;
  return fresh.length > 0;
}

function lost(socket, code) {
  if (link.socket !== socket) return;
  letGo();
  if (code === 4401) return logInIsOver();
  if (link.isOver || document.hidden) return;
  link.failures += 1;
  if (link.failures < FAILURES_UNTIL_FALLBACK) showLink("reconnecting", "The connection was lost: what is missed comes afterwards");
  else fallBack();
  const pause = code === 1013 ? LONGEST_PAUSE : Math.min(LONGEST_PAUSE, 500 * 2 ** link.failures);
  link.retry = setTimeout(connect, pause * (0.5 + Math.random() / 2));
}

function fallBack() {
  showLink(`not live: refreshed each ${FALLBACK_SECONDS} s`, "There is no lasting connection to the server");
}

function tick() {
  showDue();
  if (judgeAll()) refreshIn(500, 4000);
  const age = (performance.now() - page.refreshedAt) / 1000;
  const longest = link.isOpen ? SLOW_REFRESH_SECONDS : FALLBACK_SECONDS;
  if (age > longest && (link.isOpen || !main.dataset.socket || link.failures >= FAILURES_UNTIL_FALLBACK)) keepUp();
}

function hide() {
  link.socket?.close();
  letGo();
}

function letGo() {
  clearTimeout(link.watchdog);
  link.socket = null;
  link.isOpen = false;
  const present = document.getElementById("present");
  if (present) present.hidden = true; // until the server says again who is here
}

function start() {
  const [loaded] = performance.getEntriesByType("navigation");
  // A page that comes out of the browser's own store tells an old time.
  if (loaded && loaded.type !== "back_forward") skew = Number(main.dataset.now) * 1000 - performance.timeOrigin - loaded.responseStart;
  if (main.dataset.socket) connect();
  else fallBack();
  setInterval(tick, 1000);
  addEventListener("pagehide", hide);
  addEventListener("pageshow", ({ persisted }) => persisted && main.dataset.socket && connect());
  addEventListener("online", () => main.dataset.socket && connect());
  let hiding = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(hide, HIDDEN_SECONDS * 1000);
    else if (main.dataset.socket) connect();
  });
}

if (main.dataset.topic) start();
