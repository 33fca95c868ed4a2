import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { makeContentAddressedPath } from '@larder/signing/content-address';
import { type Hash, type HashAlgorithm, parseHash } from '@larder/signing/hash';
import { type StorePath, storeNameFault } from '@larder/signing/store-path';
import { openResumable } from '@larder/substituter/http/resumable-body';
import { addPath } from '@larder/substituter/local-store/add-path';
import { parseArguments } from './arguments.js';
import { notSupported, print, printLines, usageError } from './messages.js';
import { ToolSession } from './session.js';
import { parseAlgorithm } from './store-add.js';
import type { ToolContext } from './tool-context.js';

const help = `Usage: nix-prefetch-url [OPTION…] URL [HASH]

Fetches a file into the store and prints its hash, as Nix's own nix-prefetch-url does. With a hash, a file that is
there already is not fetched again.

  --type ALGORITHM       md5, sha1, sha256 (unless it is told otherwise) or sha512
  --name NAME            the name in the store; the URL's last part without it
  --print-path           print the store path too
  --unpack               unpack the archive that it is, and add the tree
  --executable           make it executable

Not there: -A, and mirror:// URLs.
`;

interface PrefetchRequest {
  algorithm: HashAlgorithm;
  name: string | undefined;
  printPath: boolean;
  unpack: boolean;
  executable: boolean;
  show: 'help' | 'version' | undefined;
}

/** `nix-prefetch-url`. */
export async function run(argv: readonly string[], context: ToolContext): Promise<number> {
  const request: PrefetchRequest = {
    algorithm: 'sha256',
    name: undefined,
    printPath: context.environment.PRINT_PATH === '1',
    unpack: false,
    executable: false,
    show: undefined,
  };
  const args: string[] = [];
  const common = parseArguments(argv, (arg, next) => {
    if (takeOption(request, arg, next)) return true;
    if (arg.startsWith('-')) return false;
    args.push(arg);
    return true;
  });
  if (request.show === 'version') {
    const { printVersion } = await import('./version.js');
    return printVersion(context, common.verbosity);
  }
  if (request.show === 'help') {
    print(help);
    return 0;
  }
  const [url, hash] = args;
  if (url === undefined) throw usageError('you must specify a URL');
  if (args.length > 2) throw usageError('too many arguments');
  await using session = new ToolSession(common, context.environment);
  const expected = hash === undefined ? undefined : parseHash(hash, request.algorithm);
  const found = await prefetch(session, url, { request, expected });
  const full = (await session.store()).storeDir.format(found.path);
  if (!request.printPath) session.say(`path is '${full}'`);
  // As Nix: MD5 is always written in base-16.
  printLines([
    found.hash.format(found.hash.algorithm === 'md5' ? 'base16' : 'nix32', { prefix: false }),
    ...(request.printPath ? [full] : []),
  ]);
  return 0;
}

function takeOption(request: PrefetchRequest, arg: string, next: () => string): boolean {
  switch (arg) {
    case '--help':
    case '--version':
      request.show = arg.slice(2) as 'help' | 'version';
      return true;
    case '--type':
      request.algorithm = parseAlgorithm(next());
      return true;
    case '--print-path':
      request.printPath = true;
      return true;
    case '--unpack':
    case '--executable':
      request[arg.slice(2) as 'unpack' | 'executable'] = true;
      return true;
    case '--name':
      request.name = next();
      return true;
    case '--attr':
    case '-A':
      throw notSupported("'nix-prefetch-url -A'", 'give the URL, or use an installed Nix');
    default:
      return false;
  }
}

interface Prefetch {
  readonly request: PrefetchRequest;
  readonly expected: Hash | undefined;
}

async function prefetch(
  session: ToolSession,
  url: string,
  { request, expected }: Prefetch,
): Promise<{ readonly path: StorePath; readonly hash: Hash }> {
  const { unpack, executable, algorithm } = request;
  const name = request.name ?? basename(url);
  if (storeNameFault(name) !== undefined)
    throw usageError(`cannot figure out file name for '${url}': give one with --name`);
  const store = await session.store();
  const method = unpack || executable ? 'recursive' : 'flat';
  if (expected !== undefined) {
    const path = makeContentAddressedPath(store.storeDir, name, { method, hash: expected });
    if ((await store.queryPathInfo(path)) !== undefined) return { path, hash: expected };
  }
  const directory = mkdtempSync(`${tmpdir()}/nix-prefetch-url-`);
  try {
    const file = `${directory}/tmp`;
    await download(session, url, { file, executable });
    const tree = unpack ? await unpackInto(file, `${directory}/unpacked`) : file;
    const { storePath, ca } = await addPath(store, tree, { name, method, algorithm, signal: session.signal });
    const { hash } = ca!;
    if (expected !== undefined && !hash.equals(expected)) {
      throw new Error(
        `hash mismatch for '${url}':\n  specified: ${expected.format('sri')}\n     got:    ${hash.format('sri')}`,
      );
    }
    return { path: storePath, hash };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function download(
  session: ToolSession,
  text: string,
  { file, executable }: { readonly file: string; readonly executable: boolean },
): Promise<void> {
  if (!URL.canParse(text)) throw usageError(`'${text}' is not a URL`);
  const url = new URL(text);
  const { signal } = session;
  const bytes =
    url.protocol === 'file:'
      ? await openFile(url)
      : openResumable((await session.client()).http, url, { signal });
  const target = createWriteStream(file, { flags: 'wx', mode: executable ? 0o700 : 0o600 });
  await pipeline(Readable.from(bytes, { objectMode: false }), target, { signal });
}

async function openFile(url: URL): Promise<AsyncIterable<Uint8Array>> {
  const { createReadStream } = await import('node:fs');
  const { fileURLToPath } = await import('node:url');
  return createReadStream(fileURLToPath(url));
}

/** Unpacks an archive; gives what it holds, alone or in a directory. */
async function unpackInto(file: string, directory: string): Promise<string> {
  const { unpackArchive } = await import('@larder/builder/fetch/unpack');
  return unpackArchive(file, directory);
}
