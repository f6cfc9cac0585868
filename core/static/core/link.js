// The code of a link stands behind the #, which browsers send nowhere. It is taken out of the address,
// so that it stays in no history.
const form = document.querySelector("#link");
const code = location.hash.slice(1);
if (form && code) {
  const field = form.elements.code;
  field.value = code;
  field.closest(".field")?.setAttribute("hidden", "");
  history.replaceState(null, "", location.pathname);
}
