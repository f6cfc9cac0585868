// Who else is at the pages of this device. Its own page hears of it through events.js; a page with
// a form, which must not change under the hand, through a socket of its own.

import { handlers } from "./events.js";

const present = document.getElementById("present");

const presenceChanged = ({ device, body }, isNews) => {
  if (!isNews || Number(present.dataset.present) !== device) return;
  present.textContent = presentText(body, present.dataset.me);
  present.hidden = !present.textContent;
};

// `me` is empty without a log-in: then nobody is named, and one of them is the reader.
function presentText({ count, changing, present: people = [] }, me) {
  const named = people.filter(({ name }) => name !== me && name !== "somebody");
  const isCounted = !me || count > people.length || people.some(({ name }) => name === me);
  const others = count - Number(isCounted) - named.length;
  const words = named.map(({ name, changing }) => (changing ? `${name} (changing it)` : name));
  if (others > 0)
    words.push(
      othersText(others, named.length) + (me || !changing ? "" : ` (${changing} changing it)`),
    );
  return words.length ? `Also here: ${words.join(", ")}.` : "";
}

function othersText(others, named) {
  if (named) return others === 1 ? "1 other" : `${others} others`;
  return others === 1 ? "1 person" : `${others} people`;
}

function stayToChange(pause) {
  const address = new URL(present.dataset.socket, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  const send = (message) => socket.send(JSON.stringify(message));
  const device = Number(present.dataset.present);
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (Array.isArray(message))
      message
        .filter(({ kind }) => kind === "presence")
        .forEach((event) => presenceChanged(event, true));
    else if (message.ping) send({ pong: {} });
    else if (message.hello) {
      pause = 1000;
      send({ subscribe: { to: { device } } });
      send({ resume: { after: message.hello.last } });
      send({ here: { device, changing: true } });
    }
  };
  socket.onclose = ({ code }) => {
    present.hidden = true;
    if (code !== 4401)
      setTimeout(stayToChange, pause * (0.5 + Math.random() / 2), Math.min(2 * pause, 30000));
  };
}

if (present) handlers.presence = presenceChanged;
if (present?.dataset.socket) stayToChange(1000);
