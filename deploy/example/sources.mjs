#!/usr/bin/env node
// `node deploy/example/sources.mjs [DIR]`: gathers what the example system is made of into DIR (default: `sources`
// beside this file), from Debian's packages, unpacked and not installed. Afterwards everything works without a network.
// Nothing is done where DIR is complete already.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Kernel modules that the example needs, with what they depend on, in the order to load them. */
const MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'crc32c_generic',
  'ext4',
  '9p',
  '9pnet_virtio',
  'overlay',
  'af_packet',
];

const LIBRARIES = {
  libc6: ['ld-linux-x86-64.so.2', 'libc.so.6'],
  libcrypt1: ['libcrypt.so.1'],
  zlib1g: ['libz.so.1'],
  libtomcrypt1: ['libtomcrypt.so.1'],
  libtommath1: ['libtommath.so.1'],
  libgmp10: ['libgmp.so.10'],
};

/** Gathers the sources into `target`, once: the directory appears whole or not at all. */
export function gatherSources(target) {
  if (existsSync(target)) return target;
  mkdirSync(dirname(target), { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'larder-sources-'));
  const staging = `${target}.${process.pid}`;
  try {
    mkdirSync(staging, { recursive: true });
    busybox(work, staging);
    dropbear(work, staging);
    linux(work, staging);
    renameSync(staging, target);
  } catch (error) {
    // Another process may have been faster.
    if (!existsSync(target)) throw error;
  } finally {
    rmSync(work, { recursive: true, force: true });
    rmSync(staging, { recursive: true, force: true });
  }
  return target;
}

function busybox(work, staging) {
  const { tree, version } = unpack(work, 'busybox-static');
  install(join(tree, 'bin/busybox'), join(staging, 'busybox/bin/busybox'), 0o555);
  writeFileSync(join(staging, 'busybox/version'), version);
}

function dropbear(work, staging) {
  const { tree, version } = unpack(work, 'dropbear-bin');
  for (const program of ['dropbear', 'dropbearkey']) {
    install(find(tree, program), join(staging, 'dropbear/libexec', program), 0o555);
  }
  for (const [name, files] of Object.entries(LIBRARIES)) {
    const library = unpack(work, name);
    for (const file of files) install(find(library.tree, file), join(staging, 'dropbear/lib', file), 0o555);
  }
  writeFileSync(join(staging, 'dropbear/version'), version);
}

function linux(work, staging) {
  const depends = run('apt-cache', ['depends', 'linux-image-amd64']);
  const image = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (image === undefined) throw new Error('apt-cache knows no linux-image-amd64: run apt-get update');
  const { tree } = unpack(work, image);
  const release = image.replace('linux-image-', '');
  install(join(tree, 'boot', `vmlinuz-${release}`), join(staging, 'linux/vmlinuz'), 0o444);
  const files = run('find', [tree, '-name', '*.ko']).trim().split('\n');
  const byName = new Map(files.map((file) => [basename(file, '.ko').replaceAll('-', '_'), file]));
  const order = [];
  for (const name of MODULES) addModule(name.replaceAll('-', '_'), byName, order);
  order.forEach((name, index) => {
    // Numbered, so that their names sort in the order to load them.
    const file = `${String(index).padStart(3, '0')}-${name}.ko`;
    install(byName.get(name), join(staging, 'linux/modules', file), 0o444);
  });
  writeFileSync(join(staging, 'linux/version'), release);
}

function addModule(name, byName, order) {
  // A module that is built into the kernel has no file.
  if (order.includes(name) || !byName.has(name)) return;
  for (const needed of moduleDependencies(byName.get(name))) addModule(needed, byName, order);
  order.push(name);
}

/** Modules name what they depend on in their own `.modinfo` section: `depends=a,b` and `softdep=pre: c`. */
function moduleDependencies(file) {
  const text = readFileSync(file, 'latin1');
  const hard = /\0depends=([^\0]*)\0/.exec(text)?.[1].split(',') ?? [];
  const soft = /\0softdep=pre: ([^\0]*)\0/.exec(text)?.[1].split(' ') ?? [];
  const names = [...hard, ...soft].map((name) => (name === 'crc32c' ? 'crc32c_generic' : name));
  return names.filter((name) => name !== '').map((name) => name.replaceAll('-', '_'));
}

/** Downloads a Debian package and unpacks it: its tree, and its version. */
function unpack(work, name) {
  const directory = join(work, name);
  const tree = join(directory, 'tree');
  mkdirSync(tree, { recursive: true });
  // apt drops to the user _apt for downloads, who may not write to our directory: that is only a warning.
  run('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', name], directory);
  const deb = readdirSync(directory).find((file) => file.endsWith('.deb'));
  run('dpkg-deb', ['--extract', join(directory, deb), tree]);
  return {
    tree,
    version: run('dpkg-deb', ['--field', join(directory, deb), 'Version'])
      .trim()
      .replace(/^\d+:/, ''),
  };
}

function find(tree, name) {
  const [first] = run('find', ['-L', tree, '-name', name, '-type', 'f']).trim().split('\n');
  if (!first) throw new Error(`no ${name} in ${tree}`);
  return first;
}

function install(from, to, mode) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  chmodSync(to, mode);
}

function run(command, args, cwd) {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const target = resolve(process.argv[2] ?? fileURLToPath(new URL('sources', import.meta.url)));
  gatherSources(target);
  process.stdout.write(`${target}\n`);
}
