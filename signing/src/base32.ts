import { LarderError } from './errors.js';

/** Nix's alphabet: digits and lower-case letters without e, o, t and u. */
const ALPHABET = '0123456789abcdfghijklmnpqrsvwxyz';

const VALUES = new Int8Array(128).fill(-1);
for (let value = 0; value < ALPHABET.length; value++) VALUES[ALPHABET.charCodeAt(value)] = value;

/** How many characters Nix base-32 needs for `size` bytes. */
export function base32Length(size: number): number {
  return Math.ceil((size * 8) / 5);
}

/** Whether every character of `text` belongs to Nix's base-32 alphabet. */
export function isBase32(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if ((VALUES[text.charCodeAt(index)] ?? -1) < 0) return false;
  }
  return true;
}

/**
 * Formats bytes in Nix base-32: the bytes are read as one little-endian number, whose most significant
 * five bits come first. Format: the Nix manual, "Store path", and `libutil/base-nix-32`.
 */
export function formatBase32(bytes: Uint8Array): string {
  let text = '';
  for (let position = base32Length(bytes.length) - 1; position >= 0; position--) {
    const bit = position * 5;
    const index = bit >> 3;
    const shift = bit & 7;
    const low = bytes[index] ?? 0;
    const high = bytes[index + 1] ?? 0;
    text += ALPHABET[((low >> shift) | (high << (8 - shift))) & 31];
  }
  return text;
}

/**
 * Parses Nix base-32 into the bytes it stands for.
 * @throws `base32-malformed` for a character outside the alphabet or for bits that fall outside whole bytes.
 */
export function parseBase32(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  for (let index = 0; index < text.length; index++) {
    const value = VALUES[text.charCodeAt(text.length - 1 - index)] ?? -1;
    if (value < 0) throw malformed(text, `'${text[text.length - 1 - index]}' is not in Nix's alphabet`);
    const bit = index * 5;
    const at = bit >> 3;
    const wide = value << (bit & 7);
    if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) | (wide & 0xff);
    else if ((wide & 0xff) !== 0)
      throw malformed(text, 'its first character carries bits beyond the last byte');
    const carry = wide >> 8;
    if (carry === 0) continue;
    if (at + 1 >= bytes.length)
      throw malformed(text, 'its first character carries bits beyond the last byte');
    bytes[at + 1] = (bytes[at + 1] ?? 0) | carry;
  }
  return bytes;
}

function malformed(text: string, why: string): LarderError {
  return new LarderError('base32-malformed', `'${text}' is not Nix base-32: ${why}`, { fields: { text } });
}
