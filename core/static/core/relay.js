// A small client of Pusher's protocol (version 7), for pages that follow events through a hosted
// relay (docs/relay.md). The service may lose or repeat messages: what is missed is fetched from us.

import { all, main } from "./dom.js";
import { link, logInIsOver } from "./socket.js";

const PAGE_OF_EVENTS = 1000;
const QUIET_SECONDS = 60;
const SETTLED_SECONDS = 5;
const PONG_SECONDS = 15;
const ANSWER_SECONDS = 20;
const REFUSED = 1013; // as if our own server were full: the page tries again after a long pause

const relay = {
  id: "", // what the service calls this connection
  page: null, // what live.js does with what comes
  channels: new Map(), // by name: whether the service said that it is subscribed to
  newest: new Map(), // by gateway: the id of the last event
  waiting: [], // events that came while others were fetched
  asked: new Set(), // gateways whose channels were asked for
};

export function openRelay(page) {
  const socket = new WebSocket(main.dataset.socket);
  Object.assign(relay, { id: "", page, isFetching: false, isMore: false, isPinged: false });
  for (const kept of [relay.channels, relay.newest, relay.asked]) kept.clear();
  relay.waiting.length = 0;
  const beat = setInterval(() => watch(socket), 1000);
  socket.onmessage = ({ data }) => receive(socket, JSON.parse(data));
  socket.onclose = ({ code }) => {
    clearInterval(beat);
    clearTimeout(relay.again);
    // From 4000 to 4099: it will not be better when we come again at once, as with a wrong key.
    page.lost(socket, code >= 4000 && code < 4100 ? REFUSED : code);
  };
  return socket;
}

const isNow = (socket) => link.socket === socket;
const say = (socket, event, data) => socket.send(JSON.stringify({ event, data }));

function receive(socket, { event, channel, data }) {
  if (!isNow(socket)) return;
  relay.heardAt = performance.now();
  relay.isPinged = false;
  const body = typeof data === "string" && data ? JSON.parse(data) : data;
  if (event === "pusher:connection_established") {
    relay.id = body.socket_id;
    subscribe(socket);
  } else if (event === "pusher:ping") say(socket, "pusher:pong", {});
  else if (event === "pusher:error" && body.code >= 4000) socket.close();
  else if (event === "pusher:subscription_error") socket.close();
  else if (event === "pusher_internal:subscription_succeeded") joined(socket, channel);
  else if (event === "events") take(body);
  else if (event === "fetch" && body.id > link.last) fetchIn(socket, Math.random() * 500);
  else if (event === "over") startOver(socket);
}

// To the channels of this time: they change every few minutes, and each time we are asked who we are.
async function subscribe(socket) {
  clearTimeout(relay.again);
  const shown = new Set([...all("[data-gateway]")].map(({ dataset }) => dataset.gateway));
  for (const pk of shown) relay.asked.add(Number(pk));
  const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  const body = new URLSearchParams({ socket_id: relay.id, csrfmiddlewaretoken: token });
  for (const pk of shown) body.append("gateway", pk);
  const told = await asked(socket, "/relay/", { method: "POST", body });
  if (!told) return;
  const names = Object.keys(told.channels);
  for (const name of relay.channels.keys()) {
    if (names.includes(name)) continue;
    say(socket, "pusher:unsubscribe", { channel: name });
    relay.channels.delete(name);
  }
  for (const name of names) {
    relay.asked.add(Number(name.split("-").at(-1)));
    if (relay.channels.has(name)) continue;
    relay.channels.set(name, false);
    say(socket, "pusher:subscribe", { channel: name, auth: told.channels[name] });
  }
  // Not all pages in the same moment.
  const pause = told.again_seconds + Math.random() * 60;
  relay.again = setTimeout(() => isNow(socket) && subscribe(socket), pause * 1000);
}

function joined(socket, channel) {
  if (!relay.channels.has(channel)) return;
  relay.channels.set(channel, true);
  if ([...relay.channels.values()].every(Boolean)) fetchMissed(socket);
}

function take(events) {
  relay.eventAt = performance.now();
  if (relay.isFetching || !link.isOpen) relay.waiting.push(...events);
  else show(events);
}

// In each channel events come in order, so one that is not newer came before.
function show(events) {
  const news = events.filter(({ id, gateway }) => {
    if (id <= link.last || id <= relay.newest.get(gateway)) return false;
    relay.newest.set(gateway, id);
    return true;
  });
  if (news.length) relay.page.show(news);
  const added = news.filter(({ gateway }) => gateway && !relay.asked.has(gateway));
  for (const { gateway } of added) relay.asked.add(gateway);
  if (added.length) subscribe(link.socket);
}

// The page may show gateways that it did not before.
export function pageChanged() {
  const shown = [...all("[data-gateway]")].map(({ dataset }) => Number(dataset.gateway));
  if (link.isOpen && shown.some((pk) => !relay.asked.has(pk))) subscribe(link.socket);
}

function fetchIn(socket, pause) {
  setTimeout(() => isNow(socket) && fetchMissed(socket), pause);
}

// What came after link.last. Until it is here, what comes by the relay waits.
async function fetchMissed(socket) {
  if (relay.isFetching) return void (relay.isMore = true);
  relay.isFetching = true;
  relay.fetchedAt = performance.now();
  const after = link.last === null ? "" : `&after=${link.last}`;
  const found = await asked(socket, `/api/v1/events/?limit=${PAGE_OF_EVENTS}${after}`);
  relay.isFetching = false;
  if (!found || !isNow(socket)) return;
  if (found.isGone || found.results.length === PAGE_OF_EVENTS) return startOver(socket);
  show(found.results);
  link.last = Math.max(link.last, found.last);
  relay.settling = null;
  if (!link.isOpen) relay.page.open();
  if (!after) relay.page.startOver();
  show(relay.waiting.splice(0));
  if (relay.isMore) {
    relay.isMore = false;
    fetchMissed(socket);
  }
}

// Too much was missed: the page is fetched anew, and events from now on.
function startOver(socket) {
  link.last = null;
  relay.newest.clear();
  relay.waiting.length = 0;
  fetchMissed(socket);
}

async function asked(socket, address, options) {
  try {
    const signal = AbortSignal.timeout(ANSWER_SECONDS * 1000);
    const response = await fetch(address, { cache: "no-store", signal, ...options });
    if (!isNow(socket)) return null;
    if (response.status === 401 || response.status === 403) return void logInIsOver();
    if (response.status === 410) return { isGone: true };
    if (response.ok) return await response.json();
  } catch (error) {
    console.debug("The server did not answer", error);
  }
  if (isNow(socket)) socket.close();
  return null;
}

// Each second. Where nothing is heard, the service is asked whether it is there, and we are asked for
// what it did not bring.
function watch(socket) {
  if (!isNow(socket) || !link.isOpen) return;
  const now = performance.now();
  const quiet = (now - relay.heardAt) / 1000;
  if (quiet > QUIET_SECONDS + PONG_SECONDS) return relay.page.hangUp(socket);
  if (quiet > QUIET_SECONDS && !relay.isPinged) {
    relay.isPinged = true;
    say(socket, "pusher:ping", {});
  }
  if (now - Math.max(relay.eventAt ?? 0, relay.fetchedAt) > QUIET_SECONDS * 1000)
    fetchMissed(socket);
  settle(now);
}

// Up to an event that came a while ago all have come, in whatever channel.
function settle(now) {
  if (relay.settling && now - relay.settling.at < SETTLED_SECONDS * 1000) return;
  if (relay.settling) link.last = Math.max(link.last, relay.settling.id);
  relay.settling = { at: now, id: Math.max(0, ...relay.newest.values()) };
}
