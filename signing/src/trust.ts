import { LarderError } from './errors.js';
import { formatFingerprint } from './fingerprint.js';
import { PublicKey, type SecretKey } from './key.js';
import { isContentAddressed, type PathInfo, type SignedPathInfo } from './path-info.js';
import { parseSignature } from './signature.js';
import type { StoreDir } from './store-path.js';

/** The public keys a user trusts. One valid signature by any of them is enough. */
export class TrustedKeys {
  readonly #keys: ReadonlyMap<string, PublicKey>;

  constructor(keys: Iterable<PublicKey>) {
    this.#keys = new Map([...keys].map((key) => [key.name, key]));
  }

  /** Parses `name:base64` texts. @throws `key-malformed` */
  static parse(texts: Iterable<string>): TrustedKeys {
    return new TrustedKeys([...texts].map((text) => PublicKey.parse(text)));
  }

  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  names(): string[] {
    return [...this.#keys.keys()];
  }

  /** The names of the trusted keys with a valid signature on `info`, each once. */
  verify(info: SignedPathInfo & { readonly signatures: readonly string[] }, storeDir: StoreDir): string[] {
    return this.verifyText(formatFingerprint(info, storeDir), info.signatures);
  }

  /** The same for any signed text, such as a realisation's fingerprint. */
  verifyText(text: string, signatures: readonly string[]): string[] {
    const good = new Set<string>();
    for (const each of signatures) {
      const signature = parseSignature(each);
      if (this.#keys.get(signature.keyName)?.verify(text, signature) === true) good.add(signature.keyName);
    }
    return [...good];
  }
}

export interface TrustOptions {
  readonly storeDir: StoreDir;
  readonly trusted: TrustedKeys;
  /** False accepts any path whose bytes match its NarHash. */
  readonly requireSignatures: boolean;
  /** Names the cache or store in a refusal. */
  readonly source: string;
}

/**
 * Accepts a path that is content-addressed or signed by a trusted key, and returns why.
 * @throws `signature-untrusted` naming the path, its source, the keys seen and the keys trusted.
 */
export function checkTrust(
  info: PathInfo,
  options: TrustOptions,
): 'content-addressed' | 'signed' | 'not-required' {
  if (isContentAddressed(info, options.storeDir)) return 'content-addressed';
  if (options.trusted.verify(info, options.storeDir).length > 0) return 'signed';
  if (!options.requireSignatures) return 'not-required';
  const path = options.storeDir.format(info.storePath);
  const seen = [...new Set(info.signatures.map((text) => parseSignature(text).keyName))];
  const trusted = options.trusted.names();
  const forged = seen.filter((name) => trusted.includes(name));
  const fault =
    seen.length === 0
      ? 'it has no signature'
      : forged.length > 0
        ? `its signature by ${forged.join(', ')} does not verify`
        : `it is signed by ${seen.join(', ')}, which is not trusted`;
  throw new LarderError(
    'signature-untrusted',
    `${path} from ${options.source} is refused: ${fault}; trusted keys: ${trusted.join(', ') || 'none'}. ` +
      'Name the key with --trusted-public-keys, or accept unsigned paths with --no-require-sigs.',
    { fields: { path, source: options.source, keysSeen: seen, keysTrusted: trusted } },
  );
}

/** Adds a signature by each key that has none on the path yet; other keys' signatures stay as they are. */
export function signPathInfo<Info extends PathInfo>(
  info: Info,
  keys: Iterable<SecretKey>,
  storeDir: StoreDir,
): Info {
  const fingerprint = formatFingerprint(info, storeDir);
  const signatures = new Set(info.signatures);
  for (const key of keys) signatures.add(key.sign(fingerprint));
  return { ...info, signatures: [...signatures] };
}
