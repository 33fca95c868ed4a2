import { PublicKey } from '@larder/signing/key';
import { type PolicyKey, TrustPolicy, type TrustPolicyOptions } from '@larder/signing/trust-policy';
import { findTrustPolicyFile, loadSettings } from '@larder/substituter/config';
import { loadTrustPolicy } from '@larder/substituter/settings/trust-policy-file';
import type { Command } from 'commander';
import { createVerb } from './command.js';

interface ShowOptions {
  readonly policy?: string;
  readonly json?: boolean;
}

export function createCommand(): Command {
  return createVerb('trust', {
    summary: 'Explain whose signatures count here.',
    examples: [['larder trust show', 'the keys and rules in force']],
  }).addCommand(
    createVerb('show', {
      summary: 'Explain the trust policy in force: keys, what each is trusted for, and rules.',
      examples: [
        ['larder trust show', 'whose signatures this machine accepts, and for what'],
        ['larder trust show --policy ./trust.toml', 'check a policy before it is installed'],
      ],
    })
      .option('--policy <file>', 'the trust policy in this file rather than the one configured')
      .option('--json', 'as JSON')
      .action(runShow),
  );
}

function runShow({ policy, json }: ShowOptions): void {
  const found = loadPolicy(policy);
  // Whether it could ever be fulfilled is for the policy itself to say.
  new TrustPolicy(found);
  process.stdout.write(json === true ? formatJson(found) : formatText(found));
}

/** The policy, or what the keys of nix.conf amount to where there is none. */
function loadPolicy(named: string | undefined): TrustPolicyOptions {
  const settings = loadSettings();
  const nixConfKeys = settings.get('trusted-public-keys');
  const file = named ?? findTrustPolicyFile();
  if (file !== undefined) return loadTrustPolicy(file, nixConfKeys);
  const { origin } = settings.sourced('trusted-public-keys');
  const keys = nixConfKeys.map((each) => PublicKey.parse(each)).map((key) => ({ key, owner: key.name }));
  return {
    keys,
    rules: [],
    signatures: keys.length === 0 ? 0 : 1,
    origin: `trusted-public-keys (${origin})`,
  };
}

function formatText({ keys, rules, signatures, origin }: TrustPolicyOptions): string {
  const lines = [`Policy: ${origin}`, ...keys.map(describeKey)];
  for (const rule of rules) lines.push(`  ${rule.names.join(', ')}: ${count(rule.signatures)}`);
  lines.push(`  ${rules.length > 0 ? 'everything else' : 'every path'}: ${count(signatures)}`);
  lines.push('A path that is content-addressed needs no signature.');
  return `${lines.join('\n')}\n`;
}

function describeKey({ key, owner, caches, names, validFrom, validUntil, revoked }: PolicyKey): string {
  const limits = [
    ...(revoked === true ? ['revoked'] : []),
    ...(owner === key.name ? [] : [`of ${owner}`]),
    ...(caches === undefined ? [] : [`from ${caches.join(', ')}`]),
    ...(names === undefined ? [] : [`for ${names.join(', ')}`]),
    ...(validFrom === undefined ? [] : [`since ${day(validFrom)}`]),
    ...(validUntil === undefined ? [] : [`until ${day(validUntil)}`]),
  ];
  return `  ${key.name}${limits.length === 0 ? '' : `: ${limits.join('; ')}`}`;
}

function count(signatures: number): string {
  return signatures === 1 ? 'one owner must have signed' : `${signatures} owners must have signed`;
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

function formatJson({ keys, ...rest }: TrustPolicyOptions): string {
  const shown = keys.map(({ key, ...limits }) => ({ name: key.name, key: key.format(), ...limits }));
  return `${JSON.stringify({ ...rest, keys: shown }, undefined, 2)}\n`;
}
