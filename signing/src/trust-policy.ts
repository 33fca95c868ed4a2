import { LarderError } from './errors.js';
import { formatFingerprint } from './fingerprint.js';
import type { PublicKey } from './key.js';
import { parseSignature } from './signature.js';
import { storePathName } from './store-path.js';
import type { Attestation, Judgement, JudgeOptions, Trust } from './trust.js';

/** A key with what it is trusted for. */
export interface PolicyKey {
  readonly key: PublicKey;
  /** Whose it is: keys of one owner count once. */
  readonly owner: string;
  /** URIs of the caches whose paths it may sign; any without them. */
  readonly caches?: readonly string[];
  /** Patterns of the names it may sign (`*`, `?`), as in `linux-*`; any without them. */
  readonly names?: readonly string[];
  /** Milliseconds since the epoch: trusted from then on, and until then. */
  readonly validFrom?: number;
  readonly validUntil?: number;
  /** Its signatures count for nothing, whenever they were made. */
  readonly revoked?: boolean;
}

/** How many owners must have signed the paths with these names. */
export interface PolicyRule {
  readonly names: readonly string[];
  readonly signatures: number;
}

export interface TrustPolicyOptions {
  readonly keys: readonly PolicyKey[];
  /** The first rule that fits a path's name holds. */
  readonly rules: readonly PolicyRule[];
  /** For names that no rule fits. */
  readonly signatures: number;
  /** Where the policy is written down. */
  readonly origin: string;
}

/** A key's signature, and whether it counts. */
interface Finding {
  readonly entry: PolicyKey;
  /** Why it does not. */
  readonly fault?: string;
}

/**
 * Trust with conditions: keys for some caches, names or times only, keys that were revoked, and paths that several
 * owners must have signed. A content-addressed path needs no signature under any policy.
 */
export class TrustPolicy implements Trust {
  readonly advice: string;
  readonly #keys: ReadonlyMap<string, PolicyKey>;
  readonly #rules: readonly { readonly fits: (name: string) => boolean; readonly signatures: number }[];
  readonly #signatures: number;

  /** @throws `trust-policy-invalid` for a rule that the keys cannot fulfil */
  constructor({ keys, rules, signatures, origin }: TrustPolicyOptions) {
    this.advice = `So says the policy in ${origin}; 'larder trust show' explains it.`;
    this.#keys = new Map(keys.map((entry) => [entry.key.name, entry]));
    this.#rules = rules.map((rule) => ({ fits: matcher(rule.names), signatures: rule.signatures }));
    this.#signatures = signatures;
    const owners = new Set(keys.filter(({ revoked }) => revoked !== true).map(({ owner }) => owner));
    const most = Math.max(signatures, ...rules.map((rule) => rule.signatures));
    if (most > owners.size) {
      throw new LarderError(
        'trust-policy-invalid',
        `the policy in ${origin} asks for ${most} signatures and has keys of ${owners.size} owners that are not revoked: ` +
          'nothing could ever be trusted',
      );
    }
  }

  names(): string[] {
    return [...this.#keys.values()].filter(({ revoked }) => revoked !== true).map(({ key }) => key.name);
  }

  /** How many owners must have signed a path of this name. */
  signaturesFor(name: string): number {
    return this.#rules.find(({ fits }) => fits(name))?.signatures ?? this.#signatures;
  }

  judge(attestations: readonly Attestation[], { storeDir, at = Date.now() }: JudgeOptions): Judgement {
    const first = attestations[0];
    if (first === undefined) return { accepted: false, fault: 'nobody says anything of it' };
    const name = storePathName(first.info.storePath);
    const text = formatFingerprint(first.info, storeDir);
    const findings = attestations.flatMap(({ info, source, isStore }) =>
      this.#examine(text, info.signatures, { name, at, cache: isStore ? undefined : source }),
    );
    const good = findings.filter(({ fault }) => fault === undefined);
    const owners = new Set(good.map(({ entry }) => entry.owner));
    const wanted = this.signaturesFor(name);
    if (owners.size >= wanted) return { accepted: true, fault: '' };
    return { accepted: false, fault: faultOf(wanted, [...owners], findings) };
  }

  verifyText(text: string, signatures: readonly string[]): string[] {
    const findings = this.#examine(text, signatures, { at: Date.now() });
    return findings.filter(({ fault }) => fault === undefined).map(({ entry }) => entry.key.name);
  }

  /** Of the signatures, those by keys of the policy, each key once. */
  #examine(
    text: string,
    signatures: readonly string[],
    context: { readonly name?: string; readonly cache?: string; readonly at: number },
  ): Finding[] {
    const findings = new Map<string, Finding>();
    for (const each of signatures) {
      const signature = parseSignature(each);
      const entry = this.#keys.get(signature.keyName);
      if (entry === undefined) continue;
      const fault = entry.key.verify(text, signature) ? limitOf(entry, context) : 'does not verify';
      if (fault === undefined || !findings.has(signature.keyName))
        findings.set(signature.keyName, { entry, fault });
    }
    return [...findings.values()];
  }
}

/** Why a true signature by this key does not count, if it does not. */
function limitOf(
  entry: PolicyKey,
  { name, cache, at }: { readonly name?: string; readonly cache?: string; readonly at: number },
): string | undefined {
  if (entry.revoked === true) return 'is revoked';
  if (entry.validFrom !== undefined && at < entry.validFrom)
    return `counts from ${formatDate(entry.validFrom)}`;
  if (entry.validUntil !== undefined && at >= entry.validUntil)
    return `counted until ${formatDate(entry.validUntil)}`;
  if (name !== undefined && entry.names !== undefined && !matcher(entry.names)(name))
    return `is for ${entry.names.join(', ')} only`;
  if (cache !== undefined && entry.caches !== undefined && !entry.caches.some((uri) => isSame(uri, cache)))
    return `is for paths of ${entry.caches.join(', ')} only`;
  return undefined;
}

function isSame(left: string, right: string): boolean {
  const plain = (uri: string): string => uri.replace(/\?.*$/, '').replace(/\/+$/, '');
  return plain(left) === plain(right);
}

function formatDate(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

function faultOf(wanted: number, owners: readonly string[], findings: readonly Finding[]): string {
  const enough = `${wanted} ${wanted === 1 ? 'signature is' : 'signatures are'} asked for`;
  const has = owners.length === 0 ? 'none counts' : `only ${owners.join(', ')} signed`;
  const others = findings.flatMap(({ entry, fault }) =>
    fault === undefined ? [] : [`${entry.key.name} ${fault}`],
  );
  return [`${enough} and ${has}`, ...others].join('; ');
}

/** Whether a name fits one of some patterns: `*` is any text, `?` any one character. */
function matcher(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const source = pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*/g, '.*')
      .replace(/\?/g, '.');
    return new RegExp(`^${source}$`, 's');
  });
  return (name) => expressions.some((expression) => expression.test(name));
}
