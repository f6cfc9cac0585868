// The server's clock, as far as this page knows it.

let skew = 0; // how far the server's clock is ahead of the reader's, in milliseconds

export const clock = () => Date.now() + skew;

export function setSkew(milliseconds) {
  skew = milliseconds;
}
