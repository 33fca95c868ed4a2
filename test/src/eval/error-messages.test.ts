import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { mapConcurrently } from '@larder/substituter/concurrency';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { messagesOfNewerNix, messagesOfStockNix } from './error-messages.js';
import { evaluateError } from './in-process.js';

/** The message itself, below what says how evaluation came there. */
function lastMessage(text: string): string | undefined {
  return [...text.matchAll(/^ *error: (.+)$/gm)].at(-1)?.[1];
}

test('wrong programs are told of as Nix tells, and never with what this one is made of', () => {
  for (const [program, message] of [...messagesOfStockNix, ...messagesOfNewerNix]) {
    const text = evaluateError(program);
    assert.equal(lastMessage(text), message, program);
    assert.doesNotMatch(text, /\.[jt]s:\d+|RangeError|TypeError:|undefined is not|\[object/, program);
  }
});

test('what stock Nix says of wrong programs has not been forgotten', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const say = async (program: string): Promise<string | undefined> => {
    const { stderr } = await nix.try('nix-instantiate', ['--eval', '--strict', '-E', program], { cwd: '/' });
    return lastMessage(stripVTControlCharacters(stderr.toString()));
  };
  const agrees = async (programs: typeof messagesOfStockNix): Promise<readonly string[]> => {
    // Not all at once: each opens the store's database, and some would say that another is busy with it.
    const said = await mapConcurrently(programs, 4, ([program]) => say(program));
    return programs.filter(([, message], index) => said[index] === message).map(([program]) => program);
  };
  const stock = messagesOfStockNix.map(([program]) => program);
  assert.deepEqual(await agrees(messagesOfStockNix), stock);
  assert.deepEqual(await agrees(messagesOfNewerNix), [], 'these belong to the other list');
});
