import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { LarderError } from '@larder/signing/errors';
import { PublicKey, SecretKey } from '@larder/signing/key';
import { readNar } from '@larder/signing/nar-reader';
import { restoreNar } from '@larder/signing/nar-restore';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { needsComponent } from './engines/components.js';
import { makeScratch } from './engines/scratch.js';
import { Nix } from './oracle/nix.js';
import { defaultStoreDir } from './store-dir.js';

/** Bytes of an archive: a string stands for its length, its latin-1 bytes and their padding. */
type Token = string | { readonly hex: string };

interface MalformedNar {
  readonly name: string;
  readonly tokens: readonly Token[];
  readonly message: string;
  /** What Nix 2.8 does: it is laxer in places. */
  readonly nix: 'refuses' | 'accepts';
}

interface MalformedText {
  readonly name: string;
  readonly text: string;
  readonly message: string;
}

function readCorpus(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../corpus/${file}`, import.meta.url), 'utf8'));
}

const nars = readCorpus('nar.json') as readonly MalformedNar[];
const narinfos = readCorpus('narinfo.json') as {
  readonly good: string;
  readonly malformed: readonly MalformedText[];
};
const keys = readCorpus('keys.json') as Readonly<Record<'public' | 'secret', readonly MalformedText[]>>;

describe('the corpus of malformed archives', () => {
  for (const { name, tokens, message, nix: verdict } of nars) {
    const bytes = encode(tokens);
    test(`${name}: refused as nar-malformed, wherever chunks are cut`, async () => {
      for (const size of [1, 5, 8, 13, bytes.length + 1]) {
        await assert.rejects(drain(readNar(cut(bytes, size))), isError('nar-malformed', message));
      }
    });

    test(`${name}: restoring refuses it and leaves nothing outside the target`, async () => {
      await using scratch = await makeScratch('corpus');
      await assert.rejects(
        restoreNar(cut(bytes, 64), scratch.join('inside')),
        isError('nar-malformed', message),
      );
      assert.equal(existsSync(scratch.join('x')), false);
    });

    // Newer Nix accepts less than 2.8, never more.
    if (verdict === 'accepts') continue;
    test(`${name}: Nix refuses it too`, async (t) => {
      if (!needsComponent(t, 'nix')) return;
      await using nix = await Nix.create();
      const target = nix.scratch.join('restored');
      const { status } = await nix.try('nix-store', ['--restore', target], { input: bytes });
      assert.notEqual(status, 0);
    });
  }
});

describe('the corpus of malformed narinfos', () => {
  test('the one they are all made from is good', () => {
    const info = parseNarInfo(narinfos.good, defaultStoreDir);
    assert.equal(formatNarInfo(info, defaultStoreDir), narinfos.good);
  });

  for (const { name, text, message } of narinfos.malformed) {
    test(`a narinfo ${name}`, () => {
      assert.throws(
        () => parseNarInfo(text, defaultStoreDir, 'x.narinfo'),
        isError('narinfo-malformed', message),
      );
    });
  }
});

describe('the corpus of malformed keys', () => {
  for (const { name, text, message } of keys.public) {
    test(`a public key: ${name}`, () => {
      assert.throws(() => PublicKey.parse(text), isError('key-malformed', message));
    });
  }

  for (const { name, text, message } of keys.secret) {
    test(`a secret key: ${name}, and the message does not show it`, () => {
      const body = text.slice(text.indexOf(':') + 1).trim();
      assert.throws(
        () => SecretKey.parse(text),
        (error) => {
          isError('key-malformed', message)(error);
          return body === '' || !(error as Error).message.includes(body);
        },
      );
    });
  }
});

function isError(code: string, message: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LarderError, `${String(error)} is no LarderError`);
    assert.equal(error.code, code);
    assert.match(error.message, new RegExp(message));
    return true;
  };
}

function encode(tokens: readonly Token[]): Buffer {
  return Buffer.concat(
    tokens.map((token) => {
      if (typeof token !== 'string') return Buffer.from(token.hex, 'hex');
      const bytes = Buffer.from(token, 'latin1');
      const field = Buffer.alloc(8 + Math.ceil(bytes.length / 8) * 8);
      field.writeBigUInt64LE(BigInt(bytes.length));
      bytes.copy(field, 8);
      return field;
    }),
  );
}

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function drain(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of source);
}
