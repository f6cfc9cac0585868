// The page's connection to the server: its state, what the reader is shown of it, and its end.

import { announce, main } from "./dom.js";

export const link = {
  socket: null,
  last: Number(main.dataset.last) || null,
  failures: 0,
  isOpen: false,
  takesOrders: false,
  isOver: false,
  answers: new Map(),
  devices: new Set(),
};

const states = document.getElementById("connection");

export function showLink(state, title) {
  states.hidden = false;
  if (states.dataset.link !== state) states.textContent = state;
  states.dataset.link = state;
  states.title = title;
  document.documentElement.classList.toggle("live", state === "live");
}

export function logInIsOver() {
  link.isOver = true;
  link.socket?.close();
  showLink("log-in over", "The page is as it was when your log-in ended");
  const way = document.createElement("a");
  way.href = `/login/?next=${encodeURIComponent(location.pathname + location.search)}`;
  way.textContent = "log in again";
  states.replaceChildren("Your log-in is over: ", way);
  announce("Your log-in is over.");
}

export function send(message) {
  if (link.socket?.readyState === WebSocket.OPEN) link.socket.send(JSON.stringify(message));
}
