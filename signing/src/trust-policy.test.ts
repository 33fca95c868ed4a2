import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseHash } from './hash.js';
import { SecretKey } from './key.js';
import type { PathInfo } from './path-info.js';
import { parseStorePath, StoreDir } from './store-path.js';
import { checkTrust, signPathInfo } from './trust.js';
import { type PolicyKey, TrustPolicy, type TrustPolicyOptions } from './trust-policy.js';

const storeDir = new StoreDir('/nix/store');
const info: PathInfo = {
  storePath: parseStorePath(`${'0'.repeat(32)}-linux-6.1`),
  narHash: parseHash(`sha256:${'0'.repeat(52)}`),
  narSize: 20,
  references: [],
  signatures: [],
};
const [alice, bob, bob2] = ['alice-1', 'bob-1', 'bob-2'].map((name) => SecretKey.generate(name)) as [
  SecretKey,
  SecretKey,
  SecretKey,
];

function entry(secret: SecretKey, limits: Partial<PolicyKey> = {}): PolicyKey {
  return { key: secret.publicKey(), owner: secret.name, ...limits };
}

function policyOf(options: Partial<TrustPolicyOptions>): TrustPolicy {
  return new TrustPolicy({ keys: [], rules: [], signatures: 1, origin: 'policy.toml', ...options });
}

/** What happens to a path that these signed and that comes from `source`. */
function judge(
  policy: TrustPolicy,
  signers: readonly SecretKey[],
  { source = 'https://cache.example.org', ...more }: { source?: string; isStore?: boolean; at?: number } = {},
): string {
  const signed = signPathInfo(info, signers, storeDir);
  try {
    return checkTrust(signed, { storeDir, trusted: policy, requireSignatures: true, source, ...more });
  } catch (error) {
    return (error as Error).message;
  }
}

describe('a trust policy', () => {
  test('wants as many owners as its rule for the name says; keys of one owner count once', () => {
    const policy = policyOf({
      keys: [entry(alice), entry(bob, { owner: 'bob' }), entry(bob2, { owner: 'bob' })],
      rules: [{ names: ['gcc-*', 'linux-?.*'], signatures: 2 }],
    });
    assert.equal(policy.signaturesFor('linux-6.1'), 2);
    assert.equal(policy.signaturesFor('linux-headers-6.1'), 1);
    assert.equal(judge(policy, [alice, bob]), 'signed');
    assert.match(judge(policy, [bob, bob2]), /2 signatures are asked for and only bob signed/);
    assert.match(judge(policy, []), /2 signatures are asked for and none counts.*policy\.toml/);
  });

  test('counts what other sources say of the same contents', () => {
    const policy = policyOf({ keys: [entry(alice), entry(bob)], signatures: 2 });
    const others = [{ info: signPathInfo(info, [bob], storeDir), source: 'https://other.example.org' }];
    const options = { storeDir, trusted: policy, requireSignatures: true, source: 'x' };
    const signed = signPathInfo(info, [alice], storeDir);
    assert.throws(() => checkTrust(signed, options), { code: 'signature-untrusted' });
    assert.equal(checkTrust(signed, { ...options, others }), 'signed');
  });

  test('trusts keys for some names, caches and times only', () => {
    const names = policyOf({ keys: [entry(alice, { names: ['hello-*'] })] });
    assert.match(judge(names, [alice]), /alice-1 is for hello-\* only/);
    const caches = policyOf({ keys: [entry(alice, { caches: ['https://cache.example.org/'] })] });
    assert.equal(judge(caches, [alice]), 'signed');
    const elsewhere = { source: 'https://elsewhere.example.org' };
    assert.match(judge(caches, [alice], elsewhere), /for paths of https:\/\/cache\.example\.org\/ only/);
    assert.equal(judge(caches, [alice], { ...elsewhere, isStore: true }), 'signed');
    const [from, until] = [Date.UTC(2025, 0, 1), Date.UTC(2026, 0, 1)];
    const times = policyOf({ keys: [entry(alice, { validFrom: from, validUntil: until })] });
    assert.equal(judge(times, [alice], { at: from }), 'signed');
    assert.match(judge(times, [alice], { at: from - 1 }), /alice-1 counts from 2025-01-01/);
    assert.match(judge(times, [alice], { at: until }), /alice-1 counted until 2026-01-01/);
  });

  test('a revoked or forged signature counts for nothing', () => {
    const policy = policyOf({ keys: [entry(alice, { revoked: true }), entry(bob)] });
    assert.match(judge(policy, [alice]), /alice-1 is revoked.*trusted keys: bob-1/);
    const forged = { ...signPathInfo(info, [bob], storeDir), narSize: 21 };
    const options = { storeDir, trusted: policy, requireSignatures: true, source: 'x' };
    assert.throws(() => checkTrust(forged, options), /bob-1 does not verify/);
    const text = 'a realisation';
    assert.deepEqual(policy.verifyText(text, [alice.sign(text), bob.sign(text)]), ['bob-1']);
  });

  test('one that nothing could fulfil is refused', () => {
    const keys = [entry(bob, { owner: 'bob' }), entry(bob2, { owner: 'bob' })];
    assert.throws(() => policyOf({ keys, signatures: 2 }), { code: 'trust-policy-invalid' });
  });
});
