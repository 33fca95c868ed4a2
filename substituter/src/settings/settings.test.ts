import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hasCode } from '@larder/signing/errors';
import { loadSettings } from '../config.js';
import { parseNixConf } from './nix-conf.js';

describe('settings', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'larder-settings-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  function write(name: string, text: string): string {
    const path = join(directory, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  test('a value keeps its origin, and later files win over earlier ones', () => {
    const system = write('etc/nix.conf', 'connect-timeout = 7\nhttp-connections = 3\n');
    const user = write('user/nix.conf', '# mine\nconnect-timeout = 9\n');
    const settings = loadSettings({
      HOME: directory,
      NIX_CONF_DIR: join(directory, 'etc'),
      NIX_USER_CONF_FILES: user,
      NIX_CONFIG: 'fallback = true',
    });
    assert.deepEqual(settings.sourced('connect-timeout'), { value: 9, origin: `${user}:2` });
    assert.deepEqual(settings.sourced('http-connections'), { value: 3, origin: `${system}:2` });
    assert.deepEqual(settings.sourced('fallback'), { value: true, origin: 'NIX_CONFIG:1' });
    assert.deepEqual(settings.sourced('require-sigs'), { value: true, origin: 'default' });
  });

  test('of the user files the first named wins', () => {
    const first = write('first.conf', 'connect-timeout = 1\n');
    const second = write('second.conf', 'connect-timeout = 2\nhttp-connections = 2\n');
    const settings = loadSettings({
      HOME: directory,
      NIX_CONF_DIR: '/none',
      NIX_USER_CONF_FILES: `${first}:${second}`,
    });
    assert.equal(settings.get('connect-timeout'), 1);
    assert.equal(settings.get('http-connections'), 2);
  });

  test('include is relative to the including file; !include may miss, include may not', () => {
    write('inc/sub/keys.conf', 'trusted-public-keys = a:AAAA b:BBBB\n');
    const path = write('inc/nix.conf', 'include sub/keys.conf\n!include nothing.conf\n');
    const found = parseNixConf('include sub/keys.conf\n!include nothing.conf\n', path);
    assert.deepEqual(found, [
      {
        name: 'trusted-public-keys',
        value: 'a:AAAA b:BBBB',
        origin: `${join(directory, 'inc/sub/keys.conf')}:1`,
      },
    ]);
    assert.throws(() => parseNixConf('include nothing.conf', path), isInvalid);
  });

  test('files that include each other are an error, not a hang', () => {
    const a = write('loop/a.conf', 'include b.conf\n');
    write('loop/b.conf', 'include a.conf\n');
    assert.throws(() => parseNixConf('include b.conf', a), isInvalid);
  });

  test('lines that Nix refuses are refused, naming file and line', () => {
    for (const line of ['substituters', 'substituters http://x', 'include a b']) {
      assert.throws(() => parseNixConf(`\n${line}`, '/x/nix.conf'), /\/x\/nix\.conf:2/);
    }
  });

  test('extra- appends to what is in force, aliases count, comments end a line', () => {
    const settings = loadSettings({
      HOME: directory,
      NIX_CONF_DIR: '/none',
      NIX_CONFIG:
        'binary-caches = https://one https://two # the two\nextra-substituters = https://three https://one\nextra-sandbox-paths = /a',
    });
    assert.deepEqual(settings.get('substituters'), ['https://one', 'https://two', 'https://three']);
    assert.match(settings.sourced('substituters').origin, /NIX_CONFIG:1, NIX_CONFIG:2/);
    assert.equal(settings.other('sandbox-paths')?.value, '/a');
  });

  test('directories and the store come from the environment as in Nix', () => {
    const settings = loadSettings({
      HOME: directory,
      NIX_STORE_DIR: '/gnu/store/',
      NIX_STATE_DIR: '/s',
      NIX_LOG_DIR: '/l',
      NIX_CONF_DIR: '/c',
      NIX_REMOTE: 'local?root=/r',
    });
    const { storeDir, stateDir, logDir, confDir } = settings.directories;
    assert.deepEqual(
      [storeDir.value, stateDir.value, logDir.value, confDir.value],
      ['/gnu/store', '/s', '/l', '/c'],
    );
    assert.deepEqual(settings.sourced('store'), { value: 'local?root=/r', origin: 'environment NIX_REMOTE' });
    assert.equal(settings.get('netrc-file'), '/c/netrc');
    // The official cache has nothing for another store directory.
    assert.deepEqual(settings.get('substituters'), []);
  });

  test('numbers take units, and what is no number or flag is refused', () => {
    const load = (text: string) => loadSettings({ HOME: directory, NIX_CONF_DIR: '/none', NIX_CONFIG: text });
    assert.equal(load('gc-reserved-space = 4K').get('gc-reserved-space'), 4096);
    assert.throws(() => load('connect-timeout = soon'), /NIX_CONFIG:1.*connect-timeout/);
    assert.throws(() => load('fallback = maybe'), isInvalid);
  });

  test('the command line wins', () => {
    const settings = loadSettings(
      { HOME: directory, NIX_CONF_DIR: '/none', NIX_CONFIG: 'connect-timeout = 3' },
      [{ name: 'connect-timeout', value: '4', origin: 'command line' }],
    );
    assert.deepEqual(settings.sourced('connect-timeout'), { value: 4, origin: 'command line' });
  });
});

function isInvalid(error: unknown): boolean {
  return hasCode(error, 'config-invalid');
}
