import {
  createPrivateKey,
  createPublicKey,
  sign as edSign,
  verify as edVerify,
  type KeyObject,
} from 'node:crypto';
import nacl from 'tweetnacl';
import { LarderError } from './errors.js';
import { formatSignature, parseNamedBase64, type Signature } from './signature.js';

/** DER headers that turn raw Ed25519 keys into what node:crypto reads (RFC 8410). */
const PKCS8_HEADER = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_HEADER = Buffer.from('302a300506032b6570032100', 'hex');

/** A named Ed25519 public key, `name:base64` of 32 bytes, as `trusted-public-keys` lists them. */
export class PublicKey {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly #key: KeyObject;

  /** @throws `key-malformed` when there are not 32 bytes. */
  constructor(name: string, bytes: Uint8Array) {
    checkSize(bytes, nacl.sign.publicKeyLength, `public key '${name}'`);
    this.name = name;
    this.bytes = bytes;
    this.#key = createPublicKey({ key: Buffer.concat([SPKI_HEADER, bytes]), format: 'der', type: 'spki' });
  }

  /** @throws `key-malformed` */
  static parse(text: string): PublicKey {
    const { name, bytes } = parseNamedBase64(text.trim(), `public key '${text.trim().slice(0, 80)}'`);
    return new PublicKey(name, bytes);
  }

  format(): string {
    return `${this.name}:${Buffer.from(this.bytes).toString('base64')}`;
  }

  /** Whether `signature` was made over the UTF-8 of `text` with this key's secret half. */
  verify(text: string, signature: Signature): boolean {
    return signature.keyName === this.name && edVerify(null, Buffer.from(text), this.#key, signature.bytes);
  }
}

/** A named Ed25519 secret key in libsodium's layout (32 bytes of seed, 32 of public key), as Nix's key files hold it. */
export class SecretKey {
  readonly name: string;
  readonly #bytes: Uint8Array;
  readonly #key: KeyObject;

  /** @throws `key-malformed` when there are not 64 bytes or the halves do not belong together. */
  constructor(name: string, bytes: Uint8Array) {
    checkSize(bytes, nacl.sign.secretKeyLength, `secret key '${name}'`);
    const seed = bytes.subarray(0, nacl.sign.seedLength);
    const own = nacl.sign.keyPair.fromSeed(seed).publicKey;
    if (!nacl.verify(own, bytes.subarray(nacl.sign.seedLength))) {
      throw new LarderError(
        'key-malformed',
        `secret key '${name}' is damaged: its public half is not its own`,
      );
    }
    this.name = name;
    this.#bytes = bytes;
    this.#key = createPrivateKey({ key: Buffer.concat([PKCS8_HEADER, seed]), format: 'der', type: 'pkcs8' });
  }

  /**
   * Makes a new key. By custom the name is the cache's host and a number: `cache.example.org-1`.
   * @throws `key-malformed` for a name with a colon or white space.
   */
  static generate(name: string): SecretKey {
    if (name === '' || /[:\s]/.test(name)) {
      throw new LarderError(
        'key-malformed',
        `'${name}' cannot name a key: use characters other than colons and spaces`,
      );
    }
    return new SecretKey(name, nacl.sign.keyPair().secretKey);
  }

  /** @throws `key-malformed`; the message never carries the key itself. */
  static parse(text: string): SecretKey {
    const { name, bytes } = parseNamedBase64(text.trim(), 'secret key');
    return new SecretKey(name, bytes);
  }

  /** The text of a key file. Secret. */
  format(): string {
    return `${this.name}:${Buffer.from(this.#bytes).toString('base64')}`;
  }

  publicKey(): PublicKey {
    return new PublicKey(this.name, this.#bytes.slice(nacl.sign.seedLength));
  }

  /** Signs the UTF-8 of `text`; gives `name:base64`. */
  sign(text: string): string {
    return formatSignature({ keyName: this.name, bytes: edSign(null, Buffer.from(text), this.#key) });
  }
}

function checkSize(bytes: Uint8Array, size: number, what: string): void {
  if (bytes.length === size) return;
  const hint = bytes.length === nacl.sign.secretKeyLength ? ' (this looks like a secret key)' : '';
  throw new LarderError('key-malformed', `${what} has ${bytes.length} bytes instead of ${size}${hint}`);
}
