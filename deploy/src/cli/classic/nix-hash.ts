import { createReadStream, lstatSync } from 'node:fs';
import { formatBase32 } from '@larder/signing/base32';
import { compressHash, type Hash, type HashAlgorithm, hashStream, parseHash } from '@larder/signing/hash';
import { dumpNar } from '@larder/signing/nar-writer';
import { loadSettings } from '@larder/substituter/config';
import { parseArguments } from './arguments.js';
import { print, printLines } from './messages.js';
import { parseAlgorithm } from './store-add.js';
import type { ToolContext } from './tool-context.js';
import { printVersion } from './version.js';

const help = `Usage: nix-hash [--flat] [--base32] [--truncate] [--type ALGORITHM] PATH…
       nix-hash --to-base16 HASH…
       nix-hash --to-base32 HASH…

Prints hashes of files and trees as Nix's own nix-hash does; MD5 in base-16 unless it is told otherwise.
`;

interface HashRequest {
  algorithm: HashAlgorithm;
  flat: boolean;
  base32: boolean;
  truncate: boolean;
  convert: 'base16' | 'nix32' | undefined;
  show: 'help' | 'version' | undefined;
}

/** `nix-hash`. */
export async function run(argv: readonly string[], context: ToolContext): Promise<number> {
  const request: HashRequest = {
    algorithm: 'md5',
    flat: false,
    base32: false,
    truncate: false,
    convert: undefined,
    show: undefined,
  };
  const args: string[] = [];
  const common = parseArguments(
    argv,
    (arg, next) => takeOption(request, arg, next) || takeArgument(args, arg),
  );
  if (request.show === 'version') return printVersion(context, common.verbosity);
  if (request.show === 'help') {
    print(help);
    return 0;
  }
  if (request.convert !== undefined) {
    const { algorithm, convert } = request;
    printLines(args.map((text) => parseHash(text, algorithm).format(convert, { prefix: false })));
    return 0;
  }
  const caseHack =
    loadSettings(context.environment, common.settings).other('use-case-hack')?.value === 'true';
  for (const file of args) printLines([await hashFile(file, request, caseHack)]);
  return 0;
}

function takeArgument(args: string[], arg: string): boolean {
  if (arg.startsWith('-')) return false;
  args.push(arg);
  return true;
}

function takeOption(request: HashRequest, arg: string, next: () => string): boolean {
  switch (arg) {
    case '--help':
      request.show = 'help';
      return true;
    case '--version':
      request.show = 'version';
      return true;
    case '--flat':
    case '--base32':
    case '--truncate':
      request[arg.slice(2) as 'flat' | 'base32' | 'truncate'] = true;
      return true;
    case '--type':
      request.algorithm = parseAlgorithm(next());
      return true;
    case '--to-base16':
      request.convert = 'base16';
      return true;
    case '--to-base32':
      request.convert = 'nix32';
      return true;
    default:
      return false;
  }
}

async function hashFile(file: string, request: HashRequest, caseHack: boolean): Promise<string> {
  lstatSync(file); // Its error is the one that names the file as Nix does.
  const source = request.flat ? createReadStream(file) : archive(file, caseHack);
  const { hash } = await hashStream(request.algorithm, source);
  return format(hash, request);
}

async function* archive(file: string, caseHack: boolean): AsyncGenerator<Uint8Array> {
  yield* dumpNar(file, { caseHack });
}

/** Of a hash longer than a store path's, `--truncate` leaves as much as that. */
function format(hash: Hash, { base32, truncate }: HashRequest): string {
  if (!truncate || hash.bytes.length <= 20)
    return hash.format(base32 ? 'nix32' : 'base16', { prefix: false });
  const bytes = compressHash(hash.bytes, 20);
  return base32 ? formatBase32(bytes) : Buffer.from(bytes).toString('hex');
}
