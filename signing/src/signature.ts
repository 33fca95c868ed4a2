import { LarderError } from './errors.js';

/** A detached Ed25519 signature and the name of the key that made it. */
export interface Signature {
  readonly keyName: string;
  /** 64 bytes. */
  readonly bytes: Uint8Array;
}

export const SIGNATURE_SIZE = 64;

/**
 * Splits Nix's `name:base64` form of keys and signatures.
 * @throws `key-malformed` saying what is wrong, with `what` naming the thing.
 */
export function parseNamedBase64(
  text: string,
  what: string,
): { readonly name: string; readonly bytes: Uint8Array } {
  const colon = text.indexOf(':');
  if (colon <= 0) throw malformed(what, "it has no name before a colon ('name:base64')");
  const encoded = text.slice(colon + 1);
  const bytes = Buffer.from(encoded, 'base64');
  if (encoded === '' || bytes.toString('base64') !== encoded)
    throw malformed(what, 'what follows the colon is not base-64');
  const name = text.slice(0, colon);
  if (/\s/.test(name)) throw malformed(what, 'its name has white space in it');
  return { name, bytes };
}

/**
 * Parses `keyname:base64`.
 * @throws `signature-malformed` naming the text.
 */
export function parseSignature(text: string): Signature {
  try {
    const { name, bytes } = parseNamedBase64(text, `signature '${text}'`);
    if (bytes.length !== SIGNATURE_SIZE) {
      throw malformed(
        `signature '${text}'`,
        `it has ${bytes.length} bytes, a signature has ${SIGNATURE_SIZE}`,
      );
    }
    return { keyName: name, bytes };
  } catch (error) {
    if (!(error instanceof LarderError)) throw error;
    throw new LarderError('signature-malformed', error.message, { fields: { signature: text } });
  }
}

export function formatSignature(signature: Signature): string {
  return `${signature.keyName}:${Buffer.from(signature.bytes).toString('base64')}`;
}

function malformed(what: string, why: string): LarderError {
  return new LarderError('key-malformed', `${what} is malformed: ${why}`);
}
