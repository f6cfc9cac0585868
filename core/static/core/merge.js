// Puts what the server wrote anew in the place of what is shown, changing only what differs: focus,
// selection, place, open details and whatever was typed stay.

import { makeReadable, served } from "./charts.js";

// A slider is, from its first touch until it is known what became of its order: sliders.js.
export function isTyped(field) {
  if (field.type === "range") return Boolean(field.isTouched);
  if (field === document.activeElement) return true;
  if (field.tagName === "SELECT")
    return [...field.options].some((option) => option.selected !== option.defaultSelected);
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  return field.type !== "hidden" && field.value !== field.defaultValue;
}

function mergeAttributes(shown, fresh) {
  for (const { name } of [...shown.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && shown.tagName === "DETAILS"))
      shown.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (shown.getAttribute(name) !== value && !(name === "open" && shown.tagName === "DETAILS"))
      shown.setAttribute(name, value);
  }
}

export function merge(shown, fresh) {
  if (
    shown.isEqualNode(fresh) ||
    shown.isPending ||
    shown.hasAttribute("aria-busy") ||
    "keep" in shown.dataset
  )
    return;
  if (shown.matches(".chart")) return mergeChart(shown, fresh);
  if (shown.matches("input, select, textarea") && isTyped(shown)) return;
  mergeAttributes(shown, fresh);
  if (shown.matches("input:not([type=checkbox])")) shown.value = fresh.value;
  if (shown.matches("[data-steady]:is(:hover, :focus-within)")) keepOrder(shown, fresh);
  mergeChildren(shown, fresh);
}

// Nothing moves away under a hand that is about to press it.
function keepOrder(shown, fresh) {
  const places = new Map([...shown.children].map((child, place) => [child.id, place]));
  const place = (child) => places.get(child.id) ?? Infinity;
  const sorted = [...fresh.children].sort((one, other) =>
    place(one) === place(other) ? 0 : place(one) - place(other),
  );
  fresh.replaceChildren(...sorted);
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id : "");
const isAlike = (one, other) =>
  one.nodeName === other.nodeName &&
  !keyOf(one) &&
  (one.nodeType !== Node.ELEMENT_NODE || one.classList[0] === other.classList[0]);

function mergeChildren(shown, fresh) {
  const wanted = [...fresh.childNodes];
  const keys = new Set(wanted.map(keyOf));
  const keyed = new Map(
    [...shown.children]
      .filter((child) => child.id && keys.has(child.id))
      .map((child) => [child.id, child]),
  );
  const loose = [...shown.childNodes].filter((node) => !keyed.has(keyOf(node)));
  let at = shown.firstChild;
  for (const node of wanted) {
    let same = keyed.get(keyOf(node));
    if (!same && !keyOf(node)) {
      const place = loose.findIndex((one) => isAlike(one, node));
      if (place >= 0) [same] = loose.splice(place, 1);
    }
    if (same && same === at) at = at.nextSibling;
    else move(shown, same ?? document.importNode(node, true), at);
    if (same) mergeNode(same, node);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function move(parent, node, before) {
  if (node.parentNode === parent && parent.moveBefore)
    parent.moveBefore(node, before); // keeps the focus
  else parent.insertBefore(node, before);
}

function mergeNode(shown, fresh) {
  if (shown.nodeType === Node.ELEMENT_NODE) merge(shown, fresh);
  else if (shown.data !== fresh.data) shown.data = fresh.data;
}

function mergeChart(shown, fresh) {
  const text = served.get(fresh);
  if (served.get(shown) === text) return;
  const plot = shown.querySelector(".plot");
  const isRead = plot === document.activeElement;
  const chart = document.importNode(fresh, true);
  served.set(chart, text);
  shown.replaceWith(chart);
  makeReadable(chart, isRead ? Number(plot.getAttribute("aria-valuenow")) : undefined);
  if (isRead) chart.querySelector(".plot").focus({ preventScroll: true });
}
