// Messages lie over the page, wherever it is scrolled to: good news until it was
// read, bad news until it is closed.

import { all, announce } from "./dom.js";

const READ_SECONDS = 10;
const MOST_MESSAGES = 3;
const messages = document.getElementById("messages");

export function showMessages(fresh) {
  inform(
    [...all("#messages li", fresh)].map((line) => ({
      words: line.textContent,
      level: line.className,
    })),
  );
}

export function inform(news) {
  if (!news.length) return;
  // Until then the messages are of the form that led to this page.
  if (!messages.classList.contains("over")) messages.replaceChildren();
  messages.classList.add("over");
  for (const one of news) addMessage(one);
  while (messages.children.length > MOST_MESSAGES) messages.firstChild.remove();
  announce(news.map(({ words }) => words).join(" "));
}

function addMessage({ words, level }) {
  const line = document.createElement("li");
  const text = Object.assign(document.createElement("span"), { textContent: words });
  const close = Object.assign(document.createElement("button"), {
    type: "button",
    className: "quiet",
    textContent: "Close",
  });
  close.addEventListener("click", () => line.remove());
  line.className = level;
  line.append(text, close);
  for (const shown of [...messages.children])
    if (shown.firstChild.textContent === words) shown.remove();
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
