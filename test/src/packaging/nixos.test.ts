import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { loadConfig } from '@larder/cache-server/config';
import { configSchema } from '@larder/cache-server/config-schema';
import { parse, stringify } from 'smol-toml';
import { needsComponent } from '../engines/components.js';
import { nixpkgsLibrary } from '../engines/config.js';
import type { Scratch } from '../engines/scratch.js';
import { Larder } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { fixture, packaged, repository } from './packaging.js';

interface Evaluated {
  readonly services: Readonly<
    Partial<Record<'larder' | 'larder-proxy', { readonly serviceConfig: Readonly<Record<string, unknown>> }>>
  >;
  readonly nix: { readonly substituters?: readonly string[] };
  readonly ports: readonly number[];
  readonly keys: readonly string[];
}

const evaluate = (settings: string): string =>
  `import ${fixture('nixos/evaluate.nix')} { settings = ${settings}; }`;

const proxied = (options: string): string =>
  `import ${fixture('nixos/evaluate.nix')} { proxy = ${options}; }`;

const configured = `{
  enable = true;
  openFirewall = true;
  sealKeyFile = "/run/secrets/seal";
  environmentFile = "/run/secrets/env";
  settings = {
    listen = "[::]:9000";
    public_url = "https://cache.example.org";
    storage = { engine = "s3"; bucket = "b"; part_size = "16 MiB"; path_style = true; };
    database = { engine = "postgresql"; url = "postgres:///larder"; connections = 4; };
    uploads.compression_level = 9;
  };
}`;

async function byLarder(larder: Larder, expression: string): Promise<Evaluated> {
  return JSON.parse(await larder.run(['eval', '--json', '--expr', expression])) as Evaluated;
}

/** The `larder.toml` the unit starts the server with. */
async function configOf({ services }: Evaluated, scratch: Scratch): ReturnType<typeof loadConfig> {
  const [, json = ''] =
    /--config larder\.toml:(.*)$/.exec(String(services.larder?.serviceConfig.ExecStart)) ?? [];
  const file = scratch.join('larder.toml');
  await writeFile(file, stringify(JSON.parse(json) as Record<string, unknown>));
  return loadConfig({ file, environment: {} });
}

test('services.larder makes a unit and a configuration that the server loads', async () => {
  await using larder = await Larder.create();
  const system = await byLarder(larder, evaluate(configured));
  const config = await configOf(system, larder.scratch);
  assert.deepEqual(config.listen, { host: '::', port: 9000 });
  assert.deepEqual(system.ports, [9000]);
  assert.equal(config.keys.seal_key_file, '/run/credentials/larder.service/seal-key');
  assert.equal(config.uploads.compression_level, 9);
  const { serviceConfig } = system.services.larder ?? {};
  assert.deepEqual(serviceConfig?.LoadCredential, ['seal-key:/run/secrets/seal']);
  assert.equal(serviceConfig?.EnvironmentFile, '/run/secrets/env');

  const plain = await byLarder(larder, evaluate('{ enable = true; }'));
  assert.deepEqual(plain.ports, []);
  assert.equal((await configOf(plain, larder.scratch)).data, '/var/lib/larder');
  assert.equal(plain.services.larder?.serviceConfig.EnvironmentFile, undefined);
  assert.deepEqual((await byLarder(larder, evaluate('{ }'))).services, {});
});

test('stock Nix evaluates the module to the same', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using larder = await Larder.create();
  await using nix = await Nix.create();
  const theirs = await nix.run('nix-instantiate', [
    '--eval',
    '--strict',
    '--json',
    '--expr',
    evaluate(configured),
  ]);
  assert.deepEqual(JSON.parse(theirs), await byLarder(larder, evaluate(configured)));
});

test("nixpkgs' own module system evaluates it to the same", async (t) => {
  const nixpkgsLib = nixpkgsLibrary();
  if (nixpkgsLib === undefined) return t.skip('LARDER_NIXPKGS_LIB names no copy of nixpkgs/lib');
  await using larder = await Larder.create();
  const theirs = evaluate(configured).replace('{ settings', `{ nixpkgsLib = ${nixpkgsLib}; settings`);
  assert.deepEqual(await byLarder(larder, theirs), await byLarder(larder, evaluate(configured)));
});

test('settings are typed: mistakes are found while the configuration is evaluated', async () => {
  await using larder = await Larder.create();
  for (const [settings, message] of [
    ['{ limits.nar = "5 gigabytes"; }', /services\.larder\.settings\.limits\.nar/],
    ['{ uploads.compression_level = 40; }', /compression_level.*whole number from 1 to 19/s],
    ['{ storage.engine = "ftp"; }', /storage\.engine/],
    ['{ timeouts.idl = "3 s"; }', /timeouts\.idl' does not exist/],
  ] as const) {
    const expression = evaluate(`{ enable = true; settings = ${settings}; }`);
    const { status, stderr } = await larder.try(['eval', '--json', '--expr', expression]);
    assert.equal(status, 1, settings);
    assert.match(stderr, message);
  }
});

test('every key of larder.toml is an option', async () => {
  await using larder = await Larder.create();
  const { keys } = await byLarder(larder, evaluate('{ enable = true; }'));
  assert.deepEqual(
    [...keys].sort(),
    [...new Set(keysOf(configSchema.toJSONSchema({ io: 'input' }) as JsonSchema))].sort(),
  );
});

test('the units have the hardening of those in systemd/', async () => {
  await using larder = await Larder.create();
  const expression = `import ${fixture('nixos/evaluate.nix')} {
    settings.enable = true; proxy.enable = true; proxy.from = [ "https://cache.example.org" ];
  }`;
  const { services } = await byLarder(larder, expression);
  for (const name of ['larder', 'larder-proxy'] as const) {
    const unit = await readFile(packaged(`systemd/${name}.service`), 'utf8');
    const { serviceConfig = {} } = services[name] ?? {};
    assert.deepEqual(linesOf(serviceConfig), linesOfUnit(unit), name);
  }
});

/** What depends on where things are, and on which secrets there are. */
const places = ['ExecStart', 'Environment', 'EnvironmentFile', 'LoadCredential'];

function linesOf(serviceConfig: Readonly<Record<string, unknown>>): string[] {
  const lines = Object.entries(serviceConfig).flatMap(([key, value]) => {
    if (places.includes(key)) return [];
    if (key === 'RestrictAddressFamilies') return [`${key}=${(value as string[]).join(' ')}`];
    const values = Array.isArray(value) ? (value as string[]) : [value];
    return values.map((each) => `${key}=${each === true ? 'yes' : String(each)}`);
  });
  return lines.sort();
}

function linesOfUnit(unit: string): string[] {
  const [, section = ''] = /\[Service\]\n(.*)\n\[Install\]/s.exec(unit) ?? [];
  return section
    .split('\n')
    .filter((line) => /^\w+=/.test(line) && !places.includes(line.slice(0, line.indexOf('='))))
    .sort();
}

test('services.larder-proxy makes a unit, and Nix asks it', async (t) => {
  await using larder = await Larder.create();
  const plain = await byLarder(larder, proxied('{ enable = true; }'));
  assert.deepEqual(plain.nix.substituters, ['http://127.0.0.1:8730']);
  assert.deepEqual(plain.ports, []);
  const shared = proxied(`{
    enable = true;
    openFirewall = true;
    useForNix = false;
    listen = "0.0.0.0:9999";
    from = [ "https://cache.example.org/a%20b" "https://cache.nixos.org" ];
    size = "100GiB";
    trustedPublicKeys = [ "a:b" "c:d" ];
    policyFile = /etc/larder/trust.toml;
    keyFile = "/run/secrets/key";
    netrcFile = "/run/secrets/netrc";
  }`);
  const { services, ports, nix } = await byLarder(larder, shared);
  assert.deepEqual([ports, nix], [[9999], {}]);
  const { ExecStart: command, LoadCredential: secrets } = services['larder-proxy']?.serviceConfig ?? {};
  assert.deepEqual(secrets, ['key:/run/secrets/key', 'netrc:/run/secrets/netrc']);
  assert.match(String(command), /"--from" "https:\/\/cache\.example\.org\/a%%20b" "--from"/);
  // The verb takes what the unit gives it: it gets as far as the key, which is not on this machine.
  const given = [...String(command).matchAll(/"([^"]*)"/g)].map(([, word = '']) => word.replace('%%', '%'));
  const { status, stderr } = await larder.try(['proxy', ...given]);
  assert.equal(status, 1);
  assert.match(stderr, /\/run\/credentials\/larder-proxy\.service\/key/);
  if (!needsComponent(t, 'nix')) return;
  await using stock = await Nix.create();
  const theirs = await stock.run('nix-instantiate', ['--eval', '--strict', '--json', '--expr', shared]);
  assert.deepEqual(JSON.parse(theirs), await byLarder(larder, shared));
});

test('the lock file gets an address for every module', async () => {
  await using larder = await Larder.create();
  const expression = `(import ${packaged('nixos/lock.nix')} (builtins.fromJSON (builtins.readFile ${repository}package-lock.json))).packages`;
  const packages = JSON.parse(await larder.run(['eval', '--json', '--expr', expression])) as Record<
    string,
    { resolved?: string; link?: boolean; version: string }
  >;
  const modules = Object.entries(packages).filter(
    ([path, { link }]) => /node_modules/.test(path) && link !== true,
  );
  assert.ok(modules.length > 100);
  for (const [path, { resolved, version }] of modules)
    assert.match(
      resolved ?? '',
      /^https:\/\/registry\.npmjs\.org\/(@[^/]+\/)?[^/]+\/-\/[^/]+\.tgz$/,
      `${path} ${version}`,
    );
  assert.equal(
    packages['node_modules/@aws-sdk/client-s3']?.resolved,
    `https://registry.npmjs.org/@aws-sdk/client-s3/-/client-s3-${packages['node_modules/@aws-sdk/client-s3']?.version}.tgz`,
  );
});

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** `a.b` for every key, the alternatives of a table joined. */
function keysOf(schema: JsonSchema, prefix = ''): string[] {
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives?.some(({ properties }) => properties !== undefined) === true)
    return alternatives.flatMap((each) => keysOf(each, prefix));
  if (schema.properties === undefined) return [prefix];
  return Object.entries(schema.properties).flatMap(([key, inner]) =>
    keysOf(inner, prefix === '' ? key : `${prefix}.${key}`),
  );
}

test('larder.example.toml, too, is a configuration of the module', async () => {
  await using larder = await Larder.create();
  const example = parse(await readFile(`${repository}cache-server/larder.example.toml`, 'utf8'));
  const text = JSON.stringify(JSON.stringify(example)).replaceAll('${', '\\${');
  const system = await byLarder(larder, evaluate(`{ enable = true; settings = builtins.fromJSON ${text}; }`));
  const config = await configOf(system, larder.scratch);
  assert.equal(config.limits.nar, 64 * 2 ** 30);
});
