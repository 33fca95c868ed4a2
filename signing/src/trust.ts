import { LarderError } from './errors.js';
import { formatFingerprint } from './fingerprint.js';
import { PublicKey, type SecretKey } from './key.js';
import { isContentAddressed, type PathInfo, type SignedPathInfo } from './path-info.js';
import { parseSignature } from './signature.js';
import type { StoreDir } from './store-path.js';

/** What one source says of a path. */
export interface Attestation {
  readonly info: PathInfo;
  /** The URI of the cache or store. */
  readonly source: string;
  /** Whether the source is a store: it does not know which caches its paths came from. */
  readonly isStore?: boolean;
}

export interface JudgeOptions {
  readonly storeDir: StoreDir;
  /** The moment at which the signatures must count, in milliseconds since the epoch. Default: now. */
  readonly at?: number;
}

export interface Judgement {
  readonly accepted: boolean;
  /** Why not, as the end of a sentence: `it has no signature`. */
  readonly fault: string;
}

/** Decides whose word is enough for a path. */
export interface Trust {
  /** Judges what sources say of one path; all of them name the same NarHash, size and references. */
  judge(attestations: readonly Attestation[], options: JudgeOptions): Judgement;
  /** The names of the keys that count and have a valid signature on a text, such as a realisation's fingerprint. */
  verifyText(text: string, signatures: readonly string[]): string[];
  /** The names of the keys. */
  names(): string[];
  /** What somebody whose path was refused can do, as a sentence. */
  readonly advice: string;
}

/** The public keys a user trusts. One valid signature by any of them is enough. */
export class TrustedKeys implements Trust {
  readonly advice =
    'Name the key with --trusted-public-keys, or accept unsigned paths with --no-require-sigs.';
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

  judge(attestations: readonly Attestation[], { storeDir }: JudgeOptions): Judgement {
    const accepted = attestations.some(({ info }) => this.verify(info, storeDir).length > 0);
    return { accepted, fault: accepted ? '' : this.#faultOf(attestations) };
  }

  #faultOf(attestations: readonly Attestation[]): string {
    const seen = signerNames(attestations);
    const forged = seen.filter((name) => this.#keys.has(name));
    if (seen.length === 0) return 'it has no signature';
    if (forged.length > 0) return `its signature by ${forged.join(', ')} does not verify`;
    return `it is signed by ${seen.join(', ')}, which is not trusted`;
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

/** The names of the keys that signed, whether truly or not, each once. */
export function signerNames(attestations: readonly Attestation[]): string[] {
  const signatures = attestations.flatMap(({ info }) => info.signatures);
  return [...new Set(signatures.map((text) => parseSignature(text).keyName))];
}

export interface TrustOptions extends JudgeOptions {
  readonly trusted: Trust;
  /** False accepts any path whose bytes match its NarHash. */
  readonly requireSignatures: boolean;
  /** Names the cache or store in a refusal. */
  readonly source: string;
  /** Whether the source is a store and not a cache. */
  readonly isStore?: boolean;
  /** What other sources say of the same contents. */
  readonly others?: readonly Attestation[];
}

/**
 * Accepts a path that is content-addressed or that those signed whose word is enough, and returns why.
 * @throws `signature-untrusted` naming the path, its source, the keys seen and the keys trusted.
 */
export function checkTrust(
  info: PathInfo,
  options: TrustOptions,
): 'content-addressed' | 'signed' | 'not-required' {
  if (isContentAddressed(info, options.storeDir)) return 'content-addressed';
  const { source, isStore } = options;
  const attestations = [{ info, source, isStore }, ...(options.others ?? [])];
  const { accepted, fault } = options.trusted.judge(attestations, options);
  if (accepted) return 'signed';
  if (!options.requireSignatures) return 'not-required';
  const path = options.storeDir.format(info.storePath);
  const trusted = options.trusted.names();
  const sources = attestations.map((each) => each.source);
  throw new LarderError(
    'signature-untrusted',
    `${path} from ${sources.join(', ')} is refused: ${fault}; trusted keys: ${trusted.join(', ') || 'none'}. ` +
      options.trusted.advice,
    { fields: { path, source, keysSeen: signerNames(attestations), keysTrusted: trusted } },
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
