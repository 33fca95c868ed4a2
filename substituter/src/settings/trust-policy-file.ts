import { readFileSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import { PublicKey } from '@larder/signing/key';
import { type PolicyKey, TrustPolicy, type TrustPolicyOptions } from '@larder/signing/trust-policy';
import { parse as parseToml } from 'smol-toml';
import { z } from 'zod';

const time = z.date().transform((date) => date.getTime());
const names = z.array(z.string().min(1)).min(1);
const count = z.number().int().min(1);

const keySchema = z.strictObject({
  key: z.string(),
  owner: z.string().min(1).optional(),
  caches: names.optional(),
  names: names.optional(),
  'valid-from': time.optional(),
  'valid-until': time.optional(),
});

/** The file's form; `deploy/README.md` has an example with every key. */
const fileSchema = z.strictObject({
  signatures: count.default(1),
  'nix-conf-keys': z.boolean().default(false),
  keys: z.array(keySchema).default([]),
  rules: z.array(z.strictObject({ names, signatures: count })).default([]),
  revoked: z.array(z.string()).default([]),
});

/**
 * Reads a trust policy from a TOML file. `nixConfKeys` are the keys of nix.conf, which count without limits if the
 * policy says so.
 * @throws `trust-policy-invalid` naming the file and what is wrong in it
 */
export function readTrustPolicy(file: string, nixConfKeys: readonly string[]): TrustPolicy {
  return new TrustPolicy(loadTrustPolicy(file, nixConfKeys));
}

/** The same, as what it is made of. @throws `trust-policy-invalid` */
export function loadTrustPolicy(file: string, nixConfKeys: readonly string[]): TrustPolicyOptions {
  return parseTrustPolicy(readText(file), { origin: file, nixConfKeys });
}

/** What a policy's text says. @throws `trust-policy-invalid` */
export function parseTrustPolicy(
  text: string,
  { origin, nixConfKeys }: { readonly origin: string; readonly nixConfKeys: readonly string[] },
): TrustPolicyOptions {
  const { keys, rules, signatures, revoked, ...rest } = parseFile(text, origin);
  const named = keys.map((entry): PolicyKey => {
    const key = PublicKey.parse(entry.key);
    return {
      key,
      owner: entry.owner ?? key.name,
      caches: entry.caches,
      names: entry.names,
      validFrom: entry['valid-from'],
      validUntil: entry['valid-until'],
      revoked: isRevoked(key, revoked),
    };
  });
  const taken = new Set<string>();
  for (const { key } of named) {
    if (taken.has(key.name)) throw invalid(origin, `two keys are named ${key.name}: give each its own name`);
    taken.add(key.name);
  }
  const others = (rest['nix-conf-keys'] ? nixConfKeys : [])
    .map((each) => PublicKey.parse(each))
    .filter(({ name }) => !taken.has(name))
    .map((key): PolicyKey => ({ key, owner: key.name, revoked: isRevoked(key, revoked) }));
  return { keys: [...named, ...others], rules, signatures, origin };
}

/** A key is revoked by its name, or by its whole text where another one has the name. */
function isRevoked(key: PublicKey, revoked: readonly string[]): boolean {
  return revoked.includes(key.name) || revoked.includes(key.format());
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new LarderError('trust-policy-invalid', `cannot read the trust policy ${file}`, { cause: error });
  }
}

function parseFile(text: string, origin: string): z.output<typeof fileSchema> {
  let value: unknown;
  try {
    value = parseToml(text);
  } catch (error) {
    throw invalid(origin, (error as Error).message, error);
  }
  const { data, error } = fileSchema.safeParse(value);
  if (data !== undefined) return data;
  const faults = error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
  throw invalid(origin, faults.join('; '), error);
}

function invalid(origin: string, why: string, cause?: unknown): LarderError {
  return new LarderError('trust-policy-invalid', `the trust policy ${origin} is not valid: ${why}`, {
    cause,
    fields: { file: origin },
  });
}
