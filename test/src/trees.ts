import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, open, symlink, writeFile } from 'node:fs/promises';

/** A tree that is hard to get right. */
export interface HardTree {
  readonly name: string;
  /** Makes it at a path that does not exist yet. */
  readonly make: (path: string) => Promise<void>;
}

const deepLevels = 500;

/** Trees that archives, stores and caches trip over; each is a case of its own. */
export const hardTrees: readonly HardTree[] = [
  { name: 'an empty file', make: (path) => writeFile(path, '') },
  { name: 'an empty directory', make: (path) => mkdir(path).then(() => undefined) },
  { name: 'an executable', make: (path) => writeFile(path, '#!/bin/sh\nexit 0\n', { mode: 0o755 }) },
  { name: 'a dangling symlink', make: (path) => symlink('../no/such/place', path) },
  { name: 'empty things in directories', make: emptyThings },
  { name: 'files around the padding of eight', make: paddings },
  { name: 'directories five hundred deep', make: deep },
  { name: 'names that sort badly', make: sortedNames },
  { name: 'names that are no text', make: exoticNames },
  { name: 'modes that archives leave out', make: modes },
  { name: 'symlinks of every kind', make: symlinks },
  { name: 'a big sparse file', make: sparse },
  { name: 'a directory with a thousand entries', make: wide },
];

async function emptyThings(path: string): Promise<void> {
  await mkdir(`${path}/a/b/c`, { recursive: true });
  await mkdir(`${path}/d`);
  await writeFile(`${path}/a/empty`, '');
  await writeFile(`${path}/a/b/empty-too`, '', { mode: 0o755 });
}

async function paddings(path: string): Promise<void> {
  await mkdir(path);
  for (const size of [0, 1, 7, 8, 9, 15, 16, 4095, 4096, 65_535, 65_536, 65_537, 1_048_577]) {
    await writeFile(`${path}/${size}`, Buffer.alloc(size, size % 251));
  }
}

function deep(path: string): Promise<void> {
  mkdirSync(path);
  let directory = path;
  for (let level = 0; level < deepLevels; level += 1) {
    directory += '/d';
    mkdirSync(directory);
  }
  writeFileSync(`${directory}/bottom`, 'reached\n');
  return Promise.resolve();
}

async function sortedNames(path: string): Promise<void> {
  await mkdir(path);
  // Byte order, not the order of a locale, nor that of UTF-16 (which puts U+FFFD after U+1F600).
  const names = [
    'a',
    'B',
    'a.b',
    'a-b',
    'a_b',
    'ab',
    'Z',
    'é',
    'e',
    '10',
    '9',
    '\uFFFD',
    '\u{1F600}',
    '~',
    '!',
  ];
  for (const name of names) await writeFile(`${path}/${name}`, name);
  await mkdir(`${path}/a b`);
  await writeFile(`${path}/a b/x`, '');
}

function exoticNames(path: string): Promise<void> {
  mkdirSync(path);
  const inside = (name: Buffer): Buffer => Buffer.concat([Buffer.from(`${path}/`), name]);
  const names = [
    Buffer.from([0xff, 0xfe, 0x80]),
    Buffer.from([0xc3, 0x28]),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.from('line\nbreak'),
    Buffer.from('tab\tand\x01control\x7f'),
    Buffer.from('quote"back\\slash\'$(x) `y`'),
    Buffer.from('-rf'),
    Buffer.from('...'),
    Buffer.from('.hidden'),
    Buffer.from('x'.repeat(255)),
    Buffer.from('日本語 ñ עברית'),
  ];
  for (const name of names) writeFileSync(inside(name), name);
  mkdirSync(inside(Buffer.from([0xfe, 0x2e])));
  symlinkSync(Buffer.from([0x2f, 0xff, 0x80]), inside(Buffer.from([0xfd])));
  return Promise.resolve();
}

async function modes(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  // Only the owner's execute bit counts.
  for (const mode of [0o400, 0o444, 0o500, 0o555, 0o644, 0o755, 0o611, 0o4755]) {
    const file = await open(`${path}/mode-${mode.toString(8)}`, 'w');
    await file.writeFile(`${mode}`);
    await file.chmod(mode);
    await file.close();
  }
}

async function symlinks(path: string): Promise<void> {
  await mkdir(`${path}/dir`, { recursive: true });
  const targets = {
    absolute: '/etc/passwd',
    dot: '.',
    up: '../..',
    loop: 'loop',
    directory: 'dir/',
    long: 'x/'.repeat(1000),
  };
  for (const [name, target] of Object.entries(targets)) await symlink(target, `${path}/${name}`);
}

async function sparse(path: string): Promise<void> {
  await mkdir(path);
  const file = await open(`${path}/sparse`, 'w');
  const size = 96 * 1024 * 1024;
  await file.write('start', 0);
  await file.write('middle', size / 2 + 3);
  await file.truncate(size + 5);
  await file.close();
}

async function wide(path: string): Promise<void> {
  await mkdir(path);
  for (let index = 0; index < 1000; index += 1) await writeFile(`${path}/entry-${index}`, `${index}\n`);
}
