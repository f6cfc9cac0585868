// The server's clock, as far as this page knows it.

let skew = 0; // how far the server's clock is ahead of the reader's, in milliseconds

export const clock = () => Date.now() + skew;

// A page says at its end when it was written. However long the server took for it, its first byte
// left right then: `arrived` is when that came, by the reader's clock.
export function setClock(page, arrived) {
  const written = Number(page.querySelector("[data-written]")?.dataset.written);
  if (written) skew = written * 1000 - arrived;
}

const [loaded] = performance.getEntriesByType("navigation");
// A page that comes out of the browser's own store tells an old time.
if (loaded && loaded.type !== "back_forward")
  setClock(document, performance.timeOrigin + loaded.responseStart);
