import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { SecretKey } from '@larder/signing/key';
import { ServerError } from '../errors.js';
import { writePrivateFile } from '../private-file.js';

const CIPHER = 'aes-256-gcm';
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const SEAL_KEY_SIZE = 32;

/**
 * Encrypts secret signing keys for the database, which replicas share and backups copy: who reads only the database
 * cannot sign. The seal key is a file of its own; every replica needs the same one (`keys.seal_key_file`).
 */
export class KeySeal {
  readonly #key: Buffer;

  private constructor(key: Buffer) {
    this.#key = key;
  }

  /**
   * Reads the seal key, 32 bytes in base-64. With `create`, a missing file is made.
   * @throws `key-unsealable` naming the file
   */
  static async open(file: string, { create }: { readonly create: boolean }): Promise<KeySeal> {
    if (create) await writePrivateFile(file, `${randomBytes(SEAL_KEY_SIZE).toString('base64')}\n`);
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new ServerError('key-unsealable', `cannot read the seal key ${file}`, { cause: error });
    });
    const key = Buffer.from(text.trim(), 'base64');
    if (key.length !== SEAL_KEY_SIZE)
      throw new ServerError('key-unsealable', `${file} is no seal key: it must hold 32 bytes in base-64`);
    return new KeySeal(key);
  }

  /** 32 bytes for another purpose, which tell nothing of the seal key: the same for all replicas. */
  deriveKey(purpose: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#key, '', `larder ${purpose}`, SEAL_KEY_SIZE));
  }

  seal(secret: SecretKey): Buffer {
    const nonce = randomBytes(NONCE_SIZE);
    const cipher = createCipheriv(CIPHER, this.#key, nonce);
    // The name is bound to it: a sealed key cannot be passed off as another.
    cipher.setAAD(Buffer.from(secret.name));
    const sealed = Buffer.concat([cipher.update(secret.format(), 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
  }

  /** @throws `key-unsealable` when it was sealed with another seal key, or tampered with */
  unseal(name: string, sealed: Uint8Array): SecretKey {
    const bytes = Buffer.from(sealed);
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE_SIZE));
      decipher.setAAD(Buffer.from(name));
      decipher.setAuthTag(bytes.subarray(NONCE_SIZE, NONCE_SIZE + TAG_SIZE));
      const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_SIZE + TAG_SIZE)), decipher.final()]);
      return SecretKey.parse(text.toString('utf8'));
    } catch (error) {
      throw new ServerError(
        'key-unsealable',
        `the signing key '${name}' was sealed with another seal key; point keys.seal_key_file to the one in use ` +
          'when it was made',
        { cause: error, fields: { key: name } },
      );
    }
  }
}
