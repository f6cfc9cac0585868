// Sliders order what they are moved to, once they have rested; each is a form with a button too. From
// the first touch until it is known what became of the order they stay where they were put.

import { all } from "./dom.js";
import { valueText } from "./formatting.js";

const REST = 500; // in which a finger or a key goes on

export const isSlider = (field) => field.type === "range";

// What it says beside it and to a screen reader.
function say(field, value) {
  const text = valueText(value, field.dataset.unit);
  field.nextElementSibling.textContent = text;
  field.setAttribute("aria-valuetext", text);
}

export function moveTo(field, value) {
  if (value === null) return;
  field.value = field.defaultValue = String(value);
  say(field, value);
}

// It follows the value again, unless it is on its way to somewhere else.
export function letGo(field) {
  if (field.isMoving) return;
  setTouched(field, false);
  moveTo(field, field.reported ?? Number(field.defaultValue));
}

export function letGoAll(attribute) {
  for (const field of all(`form[data-order="${attribute}"] input[type="range"]`)) letGo(field);
}

// Nothing that is fetched meanwhile is written over it, nor over what it says.
function setTouched(field, isTouched) {
  field.isTouched = field.nextElementSibling.isPending = isTouched;
}

const movedOf = ({ target }) => isSlider(target) && target.form?.dataset.order;

document.addEventListener("input", (event) => {
  if (!movedOf(event)) return;
  clearTimeout(event.target.rested);
  event.target.isMoving = true;
  setTouched(event.target, true);
  say(event.target, Number(event.target.value));
});

document.addEventListener("change", (event) => {
  if (movedOf(event)) orderWhenRested(event.target);
});

// One order at a time: while the one before is not answered yet, this one waits.
function orderWhenRested(field) {
  clearTimeout(field.rested);
  field.rested = setTimeout(() => {
    const button = field.form?.querySelector("button");
    if (!button) return;
    if (button.hasAttribute("aria-busy")) return orderWhenRested(field);
    field.isMoving = false;
    field.form.requestSubmit(button);
  }, REST);
}
