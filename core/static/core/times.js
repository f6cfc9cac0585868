// Times in the reader's zone, which stay true as they pass.

import { ago, clockText, due, fullText, local } from "./formatting.js";
import { clock } from "./clock.js";

export function updateTimes() {
  for (const element of document.querySelectorAll("time:is([data-ago], [data-due])"))
    setText(element, relativeText(element));
}

function relativeText({ dateTime, dataset }) {
  const words = "due" in dataset ? due : ago;
  return words(Date.parse(dateTime), clock());
}

export function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// Brings the times in a part of a page to the reader's zone, and says which it is.
export function localise(part) {
  for (const element of part.querySelectorAll(".zone"))
    setText(element, `of ${Intl.DateTimeFormat().resolvedOptions().timeZone}`);
  for (const element of part.querySelectorAll("time")) {
    const time = new Date(element.dateTime);
    element.title = fullText(time);
    if ("ago" in element.dataset || "due" in element.dataset)
      setText(element, relativeText(element));
    else if ("clock" in element.dataset) setText(element, clockText(time));
    else setText(element, momentText(time));
  }
}

function momentText(time) {
  const day =
    time.toDateString() === new Date(clock()).toDateString()
      ? {}
      : { day: "numeric", month: "short" };
  return local(time, { ...day, hour: "2-digit", minute: "2-digit" });
}
