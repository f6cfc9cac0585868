"use strict";
// A form marked data-in-place is sent without leaving the page, and the page that answers is merged into this one. Its value, where
// it has one, is how many seconds the server may take: asking a device and ordering end at a deadline of their own, which is later
// where a vendor wants pauses between calls.

const ANSWER_SECONDS = 20;
const READ_SECONDS = 10;
const MOST_MESSAGES = 3;

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !event.submitter || !("inPlace" in form.dataset)) return;
  event.preventDefault();
  if (!form.querySelector("[aria-busy]")) sendInPlace(form, event.submitter); // one press, one request
}, { capture: true });

async function sendInPlace(form, button) {
  const began = performance.now();
  button.setAttribute("aria-busy", "true"); // not disabled: that takes the focus away
  const { response, text } = await post(form, button).catch((error) => {
    console.debug("The form was not answered", error);
    return {};
  });
  release(button);
  if (!response) return complain(NO_ANSWER);
  if (isElsewhere(response)) return logInIsOver();
  const fresh = parsed(text);
  if (!response.ok || !response.redirected) return complain(refusal(response, fresh));
  if (!fresh.querySelector("#messages .error")) all("input, select", form).forEach(adopt);
  take(fresh, began);
}

async function post(form, button) {
  const body = new FormData(form);
  if (button.name) body.append(button.name, button.value);
  const signal = AbortSignal.timeout(1000 * (Number(form.dataset.inPlace) || ANSWER_SECONDS));
  const response = await fetch(form.action, { method: "POST", body, signal });
  return { response, text: await response.text() };
}

// What a page that refuses says, in one line.
function refusal({ status }, fresh) {
  const words = [...all("h1, h1 + p", fresh)].map((part) => part.textContent.trim());
  if (status < 500 && fresh.getElementById("main") && words.length === 2) return words.join(". ");
  return `The server's answer was no page (${status}). Look whether it took effect before you press again.`;
}

function complain(words) {
  inform([{ words, level: "error" }]);
  refreshIn(0, 1000);
}

// Messages lie over the page, wherever it is scrolled to: what is good news until it was read, what is not until it is closed.

const messages = document.getElementById("messages");

function showMessages(fresh) {
  inform([...all("#messages li", fresh)].map((line) => ({ words: line.textContent, level: line.className })));
}

function inform(news) {
  if (!news.length) return;
  if (!messages.classList.contains("over")) messages.replaceChildren(); // of the form that led to this page
  messages.classList.add("over");
  for (const one of news) addMessage(one);
  while (messages.children.length > MOST_MESSAGES) messages.firstChild.remove();
  announce(news.map(({ words }) => words).join(" "));
}

function addMessage({ words, level }) {
  const line = document.createElement("li");
  const text = Object.assign(document.createElement("span"), { textContent: words });
  const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Close" });
  close.addEventListener("click", () => line.remove());
  line.className = level;
  line.append(text, close);
  for (const shown of [...messages.children]) if (shown.firstChild.textContent === words) shown.remove();
  messages.append(line);
  if (level !== "error") leaveWhenRead(line);
}

function leaveWhenRead(line) {
  let left = READ_SECONDS;
  const counting = setInterval(() => {
    if (!document.hidden && !line.matches(":hover, :focus-within")) left -= 1;
    if (left > 0 && line.isConnected) return;
    line.remove();
    clearInterval(counting);
  }, 1000);
}
