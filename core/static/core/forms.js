// A form marked data-in-place is sent without leaving the page, and the page that answers is merged
// into this one. Its value, where it has one, is how many seconds the server may take: asking a
// device and ordering end at a deadline of their own, which is later where a vendor wants pauses
// between calls.

import { all } from "./dom.js";
import { inform } from "./messages.js";
import { logInIsOver } from "./socket.js";
import { isElsewhere, parsed, refreshIn, take } from "./refresh.js";
import { adopt, NO_ANSWER, release } from "./commands.js";

const ANSWER_SECONDS = 20;

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (event.defaultPrevented || !event.submitter || !("inPlace" in form.dataset)) return;
    event.preventDefault();
    // One press, one request.
    if (!form.querySelector("[aria-busy]")) sendInPlace(form, event.submitter);
  },
  { capture: true },
);

async function sendInPlace(form, button) {
  const began = performance.now();
  button.setAttribute("aria-busy", "true"); // not disabled: that takes the focus away
  const { response, text, arrived } = await post(form, button).catch((error) => {
    console.debug("The form was not answered", error);
    return {};
  });
  release(button);
  if (!response) return complain(NO_ANSWER);
  if (isElsewhere(response)) return logInIsOver();
  const fresh = parsed(text);
  if (!response.ok || !response.redirected) return complain(refusal(response, fresh));
  if (!fresh.querySelector("#messages .error")) all("input, select", form).forEach(adopt);
  take(fresh, began, arrived);
}

async function post(form, button) {
  const body = new FormData(form);
  if (button.name) body.append(button.name, button.value);
  const signal = AbortSignal.timeout(1000 * (Number(form.dataset.inPlace) || ANSWER_SECONDS));
  const response = await fetch(form.action, { method: "POST", body, signal });
  const arrived = Date.now();
  return { response, text: await response.text(), arrived };
}

// What a page that refuses says, in one line.
function refusal({ status }, fresh) {
  const words = [...all("h1, h1 + p", fresh)].map((part) => part.textContent.trim());
  if (status < 500 && fresh.getElementById("main") && words.length === 2) return words.join(". ");
  const advice = "Look whether it took effect before you press again.";
  return `The server's answer was no page (${status}). ${advice}`;
}

function complain(words) {
  inform([{ words, level: "error" }]);
  refreshIn(0, 1000);
}
