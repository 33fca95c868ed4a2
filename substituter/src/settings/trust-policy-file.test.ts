import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SecretKey } from '@larder/signing/key';
import { parseTrustPolicy } from './trust-policy-file.js';

const [team, official, old] = ['team-1', 'official-1', 'old-1'].map((name) =>
  SecretKey.generate(name).publicKey().format(),
) as [string, string, string];

function parse(text: string) {
  return parseTrustPolicy(text, { origin: 'trust.toml', nixConfKeys: [official, old] });
}

test('a policy with everything in it', () => {
  const { keys, rules, signatures } = parse(`
    signatures = 1
    nix-conf-keys = true
    revoked = ["old-1"]

    [[keys]]
    key = "${team}"
    owner = "team"
    caches = ["https://cache.example.org/main"]
    names = ["team-*"]
    valid-from = 2025-01-01
    valid-until = 2027-01-01T12:00:00Z

    [[rules]]
    names = ["linux-*"]
    signatures = 2
  `);
  assert.equal(signatures, 1);
  assert.deepEqual(rules, [{ names: ['linux-*'], signatures: 2 }]);
  assert.deepEqual(
    keys.map(({ key, ...limits }) => ({ ...limits, name: key.name })),
    [
      {
        name: 'team-1',
        owner: 'team',
        caches: ['https://cache.example.org/main'],
        names: ['team-*'],
        validFrom: Date.UTC(2025, 0, 1),
        validUntil: Date.UTC(2027, 0, 1, 12),
        revoked: false,
      },
      { name: 'official-1', owner: 'official-1', revoked: false },
      { name: 'old-1', owner: 'old-1', revoked: true },
    ],
  );
});

test('what is wrong is named, with the file', () => {
  const wrong: readonly (readonly [text: string, message: RegExp])[] = [
    ['signatures = 0', /trust\.toml is not valid: signatures: /],
    ['signature = 1', /trust\.toml is not valid: .*signature/],
    ['[[keys]]\nowner = "x"', /keys\.0\.key/],
    ['[[keys]]\nkey = "nonsense"', /public key 'nonsense' is malformed/],
    [`[[keys]]\nkey = "${team}"\n[[keys]]\nkey = "${team}"`, /two keys are named team-1/],
    ['signatures = ', /trust\.toml is not valid: /],
    [`[[keys]]\nkey = "${team}"\nvalid-until = "tomorrow"`, /keys\.0\.valid-until/],
  ];
  for (const [text, message] of wrong) assert.throws(() => parse(text), message, text);
});
