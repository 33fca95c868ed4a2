import { mkdir, open } from 'node:fs/promises';
import { SeededRandom } from '../closures/random.js';
import { Larder, larderExecutable } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';
import { measure, peakMemory } from './measure.js';
import type { Row } from './report.js';

const megabyte = 2 ** 20;
const size = 4096 * megabyte;
/** MB of peak resident memory that no process may exceed. */
const limit = 300;

/** One path with one file of 4 GiB through push, server and copy: memory must not grow with it. */
export async function benchMemory(): Promise<readonly Row[]> {
  await using nix = await Nix.create();
  await using target = await Nix.create();
  await using larder = await Larder.create();
  await using server = await LarderServer.start(larder);
  const tree = nix.scratch.join('big');
  await mkdir(tree);
  await writeBigFile(`${tree}/file`);
  const [path = ''] = await nix.add(tree);
  const push = await measure({
    command: process.execPath,
    args: [
      ...[larderExecutable, 'push', server.cache, path, '--store', `local?root=${nix.root}`],
      ...['--token-file', server.tokenFile],
    ],
    env: larder.env,
  });
  const received = await peakMemory(server.pid);
  const [key = ''] = await server.publicKeys();
  const to = ['--to', `local?root=${target.root}`, '--trusted-public-keys', key];
  const copy = await measure({
    command: process.execPath,
    args: [larderExecutable, 'copy', '--from', server.cache, ...to, path],
    env: larder.env,
  });
  const served = await peakMemory(server.pid);
  return [
    row('A NAR of 4 GiB: larder push', push.memory, push.seconds),
    row('A NAR of 4 GiB: the server receives it', received),
    row('A NAR of 4 GiB: larder copy', copy.memory, copy.seconds),
    row('A NAR of 4 GiB: the server sends it', served),
  ];
}

function row(what: string, memory: number, seconds?: number): Row {
  return {
    what,
    larder: seconds === undefined ? '' : `${seconds.toFixed(1)} s`,
    reference: `at most ${limit} MB`,
    ratio: memory / limit,
    aim: 1,
    memory: `${memory.toFixed(0)} MB`,
  };
}

/** An eighth of it is noise and text; the rest are holes, which cost time to nobody but count as bytes all the same. */
async function writeBigFile(path: string): Promise<void> {
  const random = new SeededRandom('big');
  const text = random.words(4 * megabyte);
  const file = await open(path, 'w');
  for (let position = 0; position < size; position += 64 * megabyte) {
    const noise = random.bytes(4 * megabyte);
    await file.write(noise, 0, noise.length, position);
    await file.write(text, 0, text.length, position + 32 * megabyte);
  }
  await file.truncate(size);
  await file.close();
}
