// Follows /ws/events/ (docs/socket.md), or a hosted relay (relay.js). Where there is no socket the
// page fetches itself each 30 s.

import { all, main } from "./dom.js";
import { updateAllFreshness } from "./render.js";
import { link, logInIsOver, send, showLink } from "./socket.js";
import { keepUp, page, refreshIn, whenMerged } from "./refresh.js";
import { answer } from "./commands.js";
import { openRelay, pageChanged } from "./relay.js";
import { applyAgain, applyAll, isPage, remember, showDue } from "./events.js";

const FALLBACK_SECONDS = 30;
const FAILURES_UNTIL_FALLBACK = 3;
const HIDDEN_SECONDS = 300;
const SLOW_REFRESH_SECONDS = 900;
const LONGEST_PAUSE = 30000;
const isRelayed = "relay" in main.dataset;

function connect() {
  clearTimeout(link.retry);
  if (link.isOver || document.hidden || link.socket) return;
  const socket = isRelayed
    ? openRelay({ open, show, startOver: () => refreshIn(0, 500), hangUp, lost })
    : openSocket();
  link.socket = socket;
  link.watchdog = setTimeout(() => hangUp(socket), 15000);
}

function openSocket() {
  const address = new URL(main.dataset.socket, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  socket.onclose = ({ code }) => lost(socket, code);
  return socket;
}

// A connection that died without a word, as when a laptop slept, is only noticed by its silence.
function hangUp(socket) {
  socket.close();
  lost(socket, 1006);
}

function receive(message) {
  clearTimeout(link.watchdog);
  link.watchdog = setTimeout(() => hangUp(link.socket), (link.heartbeat ?? 30) * 2500);
  if (Array.isArray(message)) return receiveEvents(message);
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

function receiveEvents(events) {
  const news = events.filter(({ id }) => id > link.last);
  if (!news.length) return;
  link.last = news.at(-1).id;
  show(news);
}

function show(news) {
  remember(news);
  applyAll(news);
}

function greet({ last, heartbeat_seconds }) {
  link.heartbeat = heartbeat_seconds;
  link.takesOrders = true;
  // The page was written before this connection: what came between is in the page that is fetched.
  if (link.last === null) refreshIn(0, 500);
  link.last ??= last;
  send({ subscribe: { to: main.dataset.topic } });
  link.devices.clear();
  subscribe();
  send({ resume: { after: link.last } });
  if (isPage("device")) send({ here: { device: Number(main.dataset.device) } }); // see presence.js
  open();
}

function open() {
  if (isRelayed) clearTimeout(link.watchdog); // relay.js has its own
  link.failures = 0;
  link.isOpen = true;
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

whenMerged((last) => {
  applyAgain(last);
  // What happened to a device before it was subscribed to is in the page.
  if (isRelayed) pageChanged();
  else if (link.isOpen && subscribe()) refreshIn(0, 500);
});

function lost(socket, code) {
  if (link.socket !== socket) return;
  letGo();
  if (code === 4401) return logInIsOver();
  if (link.isOver || document.hidden) return;
  link.failures += 1;
  if (link.failures < FAILURES_UNTIL_FALLBACK)
    showLink("reconnecting", "The connection was lost: what is missed comes afterwards");
  else showFallback();
  const pause = code === 1013 ? LONGEST_PAUSE : Math.min(LONGEST_PAUSE, 500 * 2 ** link.failures);
  link.retry = setTimeout(connect, pause * (0.5 + Math.random() / 2));
}

function showFallback() {
  showLink(
    `not live: refreshed each ${FALLBACK_SECONDS} s`,
    "There is no lasting connection to the server",
  );
}

function tick() {
  showDue();
  if (updateAllFreshness()) refreshIn(500, 4000);
  const age = (performance.now() - page.refreshedAt) / 1000;
  const longest = link.isOpen ? SLOW_REFRESH_SECONDS : FALLBACK_SECONDS;
  if (
    age > longest &&
    (link.isOpen || !main.dataset.socket || link.failures >= FAILURES_UNTIL_FALLBACK)
  )
    keepUp();
}

export function hide() {
  link.socket?.close();
  letGo();
}

function letGo() {
  clearTimeout(link.watchdog);
  link.socket = null;
  link.isOpen = link.takesOrders = false;
  const present = document.getElementById("present");
  if (present) present.hidden = true; // until the server says again who is here
}

function start() {
  if (main.dataset.socket) connect();
  else showFallback();
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
