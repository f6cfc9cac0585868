// Without this script every page works. With it, times are in the reader's zone, charts can be read
// with arrows, and forms take one press.

import { localise, updateTimes } from "./times.js";
import { beginChart } from "./charts.js";

document.querySelectorAll(".chart").forEach(beginChart);
localise(document);
setInterval(updateTimes, 5000);

// A rule that is chosen brings its own fields.
document
  .querySelectorAll("form[data-chooses] select")
  .forEach((select) => select.addEventListener("change", () => select.form.requestSubmit()));

// One press, one order: a second press while the first is on its way would only replace it.
document.addEventListener("submit", (event) => {
  const pressed = event.submitter;
  if (!pressed || event.target.method !== "post" || event.defaultPrevented) return;
  setTimeout(() => {
    pressed.disabled = true;
    pressed.setAttribute("aria-busy", "true");
  });
});
addEventListener("pageshow", () =>
  document.querySelectorAll("[aria-busy]").forEach((button) => {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }),
);

// Of the vendors' hints, only that of the chosen one.
const vendor = document.querySelector("select[name=vendor]");
if (vendor) {
  const choose = () =>
    document
      .querySelectorAll("[data-vendor]")
      .forEach((hint) => (hint.hidden = hint.dataset.vendor !== vendor.value));
  vendor.addEventListener("change", choose);
  choose();
}
