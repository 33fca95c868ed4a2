import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { freePort } from '../engines/scratch.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { makePackages } from './packages.js';
import { playRebuild } from './rebuild.js';
import { Stage } from './stage.js';
import { copyTampered } from './tamper.js';
import { formatTree } from './tree-view.js';

const preferredPort = 8080;

/**
 * Plays the demo. Returns the exit code; without `--once` not before somebody ends it. `--short` leaves the whole system
 * out.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { once: { type: 'boolean', default: false }, short: { type: 'boolean', default: false } },
  });
  await using larder = await Larder.create();
  const stage = new Stage(larder, { colors: process.stdout.isTTY });
  stage.abbreviate(larder.scratch.path, '$DEMO');
  const port = await pickPort();
  await using server = await play({ larder, stage, port }, values.short);
  const [key = ''] = await server.publicKeys();
  stage.heading(values.once ? 'What stock Nix would need' : 'Yours to try');
  stage.say('These lines of nix.conf make stock Nix fetch from it:');
  stage.quote(
    [
      `extra-substituters = ${server.cache}`,
      `extra-trusted-public-keys = ${key}`,
      // Only to publish, or where a cache is private.
      `netrc-file = ${larder.scratch.join('netrc')}`,
    ].join('\n'),
  );
  if (values.once) {
    stage.say('\nDone: everything went as it should.');
    return 0;
  }
  stage.say(`\nThe server stays up at ${server.url} until you press Ctrl-C.`);
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  stage.say('\nThe server ends; nothing is left behind.');
  return 0;
}

interface Cast {
  readonly larder: Larder;
  readonly stage: Stage;
  readonly port: number;
}

async function play({ larder, stage, port }: Cast, isShort: boolean): Promise<LarderServer> {
  const place = (name: string): string => larder.scratch.join(name);
  const here = `local?root=${place('machine-a')}`;
  const there = `local?root=${place('machine-b')}`;

  stage.heading('A cache server comes up on an empty folder');
  const server = await startServer({ larder, stage, port });
  try {
    stage.heading('A signing key is made');
    const key = await stage.run(['key', 'generate', '--name', 'demo-1', '--out', place('demo-1.secret')]);
    stage.abbreviate(key, '$KEY');

    stage.heading('Real paths go into a store: executables, symbolic links, references to one another');
    const profile = await makePackages(larder, place('machine-a'));
    const closure = (await stage.run(['store', 'query', '--requisites', '--store', here, profile])).split(
      '\n',
    );
    const program = closure.find((path) => path.endsWith('-hello-2.12')) ?? '';
    stage.say(`What is in ${program}:`);
    stage.quote(await formatTree(`${place('machine-a')}${program}`));

    stage.heading('They are signed, and pushed to the server');
    await stage.run(['sign', '--key-file', place('demo-1.secret'), '-r', '--store', here, profile]);
    await stage.run(['push', server.cache, '--store', here, '--token-file', server.tokenFile, profile]);
    await stage.run(['path-info', '--store', server.cache, '-rsh', profile]);

    stage.heading('A second, empty store fetches them, trusting that key and nothing else');
    const trust = ['--trusted-public-keys', key];
    await stage.run(['copy', '--from', server.cache, '--to', there, ...trust, profile]);
    await stage.run(['verify', '--all', '--store', there, ...trust]);
    stage.say(`What arrived as ${program}:`);
    stage.quote(await formatTree(`${place('machine-b')}${program}`));

    await refuseTampered({ larder, stage, server, program, trust });
    if (!isShort) await playRebuild({ larder, stage, server });
    const token = await server.token();
    await writeNetrc(place('netrc'), token);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function startServer({ larder, stage, port }: Cast): Promise<LarderServer> {
  const data = larder.scratch.join('cache');
  stage.command(['serve', '--data', data, '--listen', `127.0.0.1:${port}`]);
  const server = await LarderServer.start(larder, { data, port });
  const [key = ''] = await server.publicKeys();
  stage.say(`It serves the public cache ${server.cache}: an index in SQLite, files in a folder.`);
  stage.say(`It made itself a signing key, ${key},`);
  stage.say(`and an admin token, in ${server.tokenFile} for you alone.`);
  return server;
}

interface Tampered {
  readonly larder: Larder;
  readonly stage: Stage;
  readonly server: LarderServer;
  readonly program: string;
  readonly trust: readonly string[];
}

async function refuseTampered({ larder, stage, server, program, trust }: Tampered): Promise<void> {
  const original = { bucket: `${server.data}/storage/main`, path: program };
  const tree = `${larder.scratch.join('machine-a')}${program}`;
  const copy = (mirror: string) => [
    'copy',
    '--from',
    `file://${mirror}`,
    '--to',
    `local?root=${larder.scratch.join('machine-c')}`,
    ...trust,
    program,
  ];

  stage.heading('A mirror whose program somebody replaced is refused');
  const crude = larder.scratch.join('crude-mirror');
  await copyTampered({ ...original, tree, target: crude, coverUp: false });
  await stage.runRefused(copy(crude), /hash/i);
  stage.say('One who is careful makes the metadata fit as well. The signature no longer does:');
  const careful = larder.scratch.join('careful-mirror');
  await copyTampered({ ...original, tree, target: careful, coverUp: true });
  await stage.runRefused(copy(careful), /signature/);
}

async function writeNetrc(file: string, token: string): Promise<void> {
  await writeFile(file, `machine 127.0.0.1 login larder password ${token}\n`, { mode: 0o600 });
}

/** The port people expect, where it is free. */
async function pickPort(): Promise<number> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(preferredPort, '127.0.0.1', () => server.close(() => resolve(true)));
  });
  return free ? preferredPort : freePort();
}
