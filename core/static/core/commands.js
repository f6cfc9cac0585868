// Forms that order are sent over our socket while it is open, and show each step; else as any other
// form (forms.js). One press, one order: nothing is ever sent again.

import { all, announce, copy, main } from "./dom.js";
import { showOrder, showPressed } from "./render.js";
import { isSlider, letGo, letGoAll } from "./sliders.js";
import { link, send } from "./socket.js";
import { refreshIn } from "./refresh.js";

const mine = new Set(); // device commands that were ordered here
export const NO_ANSWER = "No answer came. Look whether it took effect before you press again.";

export function settle(place, { state }) {
  const open = ["requested", "sending", "accepted"];
  place.isPending = false;
  // What took the place of an order goes on.
  if (!open.includes(state) && state !== "superseded") letGoAll(place.dataset.told);
  if (!open.includes(state))
    for (const button of all(`form[data-order="${place.dataset.told}"] button`)) release(button);
  return place;
}

// What was typed is ordered: from now on the field follows the value again.
export function adopt(field) {
  if (isSlider(field)) letGo(field);
  else if (field.tagName === "INPUT") field.defaultValue = field.value;
  if (field.tagName === "SELECT")
    for (const option of field.options) option.defaultSelected = option.selected;
}

export function release(button) {
  button.removeAttribute("aria-busy");
}

// Said aloud: what became of the reader's own orders, and of any that failed.
export function report(place, command) {
  const step = copy("steps", `[data-step="${command.state}"]`);
  const isLoud = step.className === "loud";
  if (step.className === "open" || !(isLoud || mine.has(command.id))) return;
  const error = isLoud && command.error ? ` ${command.error}` : "";
  announce(`${place.dataset.whose}: ${step.textContent}.${error}`);
}

function wanted(form, submitter) {
  if (form.dataset.kind === "boolean") return submitter.value === "on";
  const typed = form.elements.value.value;
  return form.dataset.kind === "number" ? Number(typed) : typed;
}

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    const button = event.submitter;
    if (!form.dataset.order || !button) return;
    if (Date.now() - (button.changedAt ?? 0) < 500) {
      event.preventDefault();
      announce("It changed just as you pressed. Look again.");
    } else if (link.takesOrders) {
      event.preventDefault();
      order(form, button);
    }
  },
  { capture: true },
);

function order(form, button) {
  const attribute = Number(form.dataset.order);
  const place = main.querySelector(`[data-told="${attribute}"]`);
  const ref = crypto.getRandomValues(new Uint32Array(1))[0];
  if (button.hasAttribute("aria-busy")) return; // one press, one order
  button.setAttribute("aria-busy", "true"); // not disabled: that takes the focus away
  place.isPending = true;
  showPressed(place, "Pressed");
  const unanswered = setTimeout(() => notAnswered(ref), 10000);
  link.answers.set(ref, { place, button, form, unanswered });
  send({ order: { attribute, value: wanted(form, button) }, ref });
}

export function answer({ ref, ordered, error }) {
  const asked = link.answers.get(ref);
  if (!asked) return;
  link.answers.delete(ref);
  clearTimeout(asked.unanswered);
  if (error) {
    release(asked.button);
    letGoAll(asked.place.dataset.told);
    showPressed(asked.place, `Not ordered. ${error}`, true);
    announce(`Not ordered. ${error}`);
    return;
  }
  mine.add(ordered.id);
  takeOver(asked);
  const shown = Number(asked.place.querySelector("[data-command]")?.dataset.command ?? 0);
  asked.place.isPending = false;
  if (ordered.id > shown) showOrder(asked.place, ordered);
}

// A slider may go on at once: what it is moved to next takes the place of this order.
function takeOver({ button, form }) {
  if (isSlider(form.elements.value)) return release(button);
  setTimeout(release, 5000, button); // as soon as it is known what became of it, else then
  adopt(form.elements.value);
}

// The connection may be lost between an order and its answer. It is never sent again: if it
// arrived, its steps are shown.
function notAnswered(ref) {
  const { place, button } = link.answers.get(ref) ?? {};
  link.answers.delete(ref);
  if (!place) return;
  release(button);
  letGoAll(place.dataset.told);
  if (place.isPending) showPressed(place, NO_ANSWER, true);
  place.isPending = false;
  refreshIn(0, 1000);
}
