// The elements of the page, found and written.

import { localise } from "./times.js";

export const main = document.getElementById("main");
export const all = (selector, part = main) => part.querySelectorAll(selector);
export const copy = (template, selector) =>
  document.getElementById(template).content.querySelector(selector).cloneNode(true);
export const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const seconds = (text) => (text ? Date.parse(text) / 1000 : 0);

export function announce(text) {
  const said = document.getElementById("said");
  said.textContent = "";
  setTimeout(() => (said.textContent = text), 50);
}

export function timeOf(at, kind = "ago") {
  const time = document.createElement("time");
  time.dateTime = new Date(at * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  time.dataset[kind] = "";
  return time;
}

export function write(element, ...parts) {
  element.replaceChildren(...parts);
  localise(element);
}
