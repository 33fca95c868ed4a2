import { strict as assert } from 'node:assert';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { buildWithLarder } from '../builder/larder-build.js';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { runOurs } from './tools.js';

const expressions = `
let
  shell = name: text: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" text ]; PATH = "/usr/bin:/bin";
  };
in rec {
  leaf = shell "leaf" ''echo "building leaf"; echo '@nix {"action":"setPhase","phase":"buildPhase"}'; echo leaf > $out'';
  top = shell "top-level" "cat \${leaf} > $out";
  failing = shell "failing" "echo oh no; exit 3";
  needing = shell "needing" "cat \${failing}";
}
`;

async function openStore(): Promise<{ nix: Nix; file: string }> {
  const nix = await Nix.create({ storeDir: 'diverted' });
  const file = nix.scratch.join('expressions.nix');
  await writeFile(file, expressions);
  return { nix, file };
}

interface LogRecord {
  readonly action: string;
  readonly id?: number;
  readonly type?: number;
  readonly level?: number;
  readonly [field: string]: unknown;
}

const progress = 105;
const setExpected = 106;
const chatty = 4;

/**
 * What such a log says, to compare: activities by the order they began in, without colours. Nix tells sums more often
 * than they change, and queries that went on anyway: these are left out.
 */
function readLog(stderr: string): LogRecord[] {
  const numbers = new Map<number, number>();
  const left = new Set<number>();
  return stderr
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      assert.ok(line.startsWith('@nix '), line);
      const text = line.slice('@nix '.length).replace(/\\u001b\[[0-9;]*m/g, '');
      const record = JSON.parse(text) as LogRecord;
      if (record.action === 'result' && (record.type === progress || record.type === setExpected)) return [];
      if (record.action === 'start' && record.level! >= chatty) left.add(record.id!);
      if (record.id === undefined) return [record];
      if (left.has(record.id)) return [];
      if (!numbers.has(record.id)) numbers.set(record.id, numbers.size);
      return [{ ...record, id: numbers.get(record.id)! }];
    });
}

/** The last sums over builds, or over copies. */
function lastSums(stderr: string, activity: number): unknown {
  const records = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line.slice('@nix '.length)) as LogRecord);
  const { id } = records.find((record) => record.action === 'start' && record.type === activity)!;
  return records.filter((record) => record.id === id && record.type === progress).at(-1)!.fields;
}

const json = ['--log-format', 'internal-json', '--no-out-link'];

test('--log-format internal-json tells what Nix tells, record by record', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const hook = nix.scratch.join('hook');
  await writeFile(hook, '#!/bin/sh\necho hooked\n', { mode: 0o755 });
  const clear = () => nix.run('nix-store', ['--gc']);
  for (const args of [
    ['-A', 'top'],
    ['-A', 'leaf', '--check', '--post-build-hook', hook],
    ['-A', 'needing'],
    ['-A', 'needing', '--dry-run'],
  ]) {
    if (!args.includes('--check')) await clear();
    const stock = await nix.try('nix-build', [file, ...json, ...args]);
    if (!args.includes('--check')) await clear();
    const ours = await runOurs(nix, 'nix-build', [file, ...json, ...args]);
    assert.equal(ours.status, stock.status, ours.stderr);
    assert.deepEqual(readLog(ours.stderr), readLog(stock.stderr), args.join(' '));
  }
});

test('what is fetched is told in internal-json with its bytes, and the sums come out', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const path = await nix.run('nix-build', [file, '-A', 'leaf', '--no-out-link']);
  const cache = `file://${nix.scratch.join('binary-cache')}`;
  await nix.run('nix', ['copy', '--to', cache, path]);
  const args = [file, '-A', 'leaf', ...json, '--substituters', cache, '--no-require-sigs'];
  await nix.run('nix-store', ['--delete', path]);
  const stock = await nix.try('nix-build', args);
  await nix.run('nix-store', ['--delete', path]);
  const ours = await runOurs(nix, 'nix-build', args);
  assert.equal(ours.status, 0, ours.stderr);
  assert.deepEqual(readLog(ours.stderr), readLog(stock.stderr));
  const copies = 103;
  assert.deepEqual(lastSums(ours.stderr, copies), [1, 1, 0, 0]);
});

test('evaluations, warnings and mistakes speak the form that was asked for', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix } = await openStore();
  await using _ = nix;
  const expression = 'builtins.trace "seen" (throw "no ü")';
  const got = await runOurs(nix, 'nix-instantiate', ['--eval', '-E', expression, ...json.slice(0, 2)]);
  assert.equal(got.status, 1);
  const messages = readLog(got.stderr).map(({ msg }) => msg as string);
  assert.equal(messages[0], 'trace: seen');
  assert.match(messages[1]!, /error: no ü$/);
  const lines = ['--eval', '-E', 'builtins.trace "two\\nlines" 1', ...json.slice(0, 2)];
  for (const time of ['evaluated', 'remembered']) {
    const { stderr } = await runOurs(nix, 'nix-instantiate', lines);
    assert.deepEqual(
      readLog(stderr).map(({ msg }) => msg),
      ['trace: two\nlines'],
      time,
    );
  }
  const missing = `${nix.storeDir.path}/${'a'.repeat(32)}-none`;
  const absent = await runOurs(nix, 'nix-store', ['-r', missing, ...json.slice(0, 2)]);
  assert.equal(absent.status, 1);
  assert.match(absent.stderr, /^@nix .*"raw_msg":"path '.*-none' /m);
});

test('raw and bar are as Nix has them where there is no terminal', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  for (const format of ['raw', 'bar', 'bar-with-logs']) {
    const args = [file, '-A', 'needing', '--no-out-link', '--log-format', format];
    const expected = await nix.try('nix-build', args);
    const got = await runOurs(nix, 'nix-build', args);
    assert.equal(got.stderr.replace('nix-store -l', 'nix log'), expected.stderr, format);
  }
});

test("larder build takes Nix's forms too", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const structured = await buildWithLarder(nix, [file, '-A', 'top', '--log-format', 'internal-json']);
  assert.equal(structured.status, 0, structured.stderr);
  assert.ok(readLog(structured.stderr).some(({ fields }) => JSON.stringify(fields) === '["buildPhase"]'));
  const builds = 104;
  assert.deepEqual(lastSums(structured.stderr, builds), [2, 2, 0, 0]);
  await nix.run('nix-store', ['--gc']);
  const raw = await buildWithLarder(nix, [file, '-A', 'leaf', '--log-format', 'raw']);
  assert.equal(raw.status, 0, raw.stderr);
  assert.doesNotMatch(raw.stderr, /building leaf/);
  await nix.run('nix-store', ['--gc']);
  const logs = await buildWithLarder(nix, [file, '-A', 'leaf', '--log-format', 'raw-with-logs']);
  assert.match(logs.stderr, /^building leaf$/m);
});
