/**
 * Nix strings are byte strings. Inside the evaluator each is a JavaScript string with one char per byte
 * (`latin1`), so that lengths, substrings, comparison and regular expressions work on bytes as Nix's do.
 * These two functions are the border to ordinary text.
 */

const beyondAscii = /[^\0-\x7f]/;

/** Ordinary text to its UTF-8 bytes, one char per byte. */
export function toByteText(text: string): string {
  return beyondAscii.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

/** Bytes (one char per byte) to ordinary text; invalid UTF-8 becomes the replacement character. */
export function fromByteText(bytes: string): string {
  return beyondAscii.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes;
}

/** The bytes themselves, for hashing and writing. */
export function byteTextToBuffer(bytes: string): Buffer {
  return Buffer.from(bytes, 'latin1');
}

/** The characters Nix's messages use beyond ASCII, as bytes. */
export const GUILLEMET_OPEN = '\xc2\xab';
export const GUILLEMET_CLOSE = '\xc2\xbb';
export const ELLIPSIS = '\xe2\x80\xa6';
