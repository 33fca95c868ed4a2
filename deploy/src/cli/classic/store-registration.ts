import { text } from 'node:stream/consumers';
import { canonicalizeTree } from '@larder/builder/output/canonical-metadata';
import { LarderError } from '@larder/signing/errors';
import { hashStream, parseHash } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { print, printLines } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { followToStorePath, queryValid } from './store-arguments.js';
import { expectNoArguments, readFlags } from './store-flags.js';

/** `nix-store --dump-db`: what is known of all paths, or of those named, in lines that `--load-db` reads. */
export async function dumpDatabase(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  const store = await session.store();
  const paths =
    args.length === 0
      ? (await store.queryAllValidPaths()).sort()
      : args.map((arg) => followToStorePath(arg, store.storeDir));
  for (const path of paths) print(formatRegistration(await queryValid(store, path), store.storeDir));
  return 0;
}

function formatRegistration(info: ValidPathInfo, storeDir: StoreDir): string {
  const lines = [
    storeDir.format(info.storePath),
    info.narHash.format('base16', { prefix: false }),
    String(info.narSize),
    info.deriver === undefined ? '' : storeDir.format(info.deriver),
    String(info.references.length),
    ...info.references.map((path) => storeDir.format(path)),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

/** `nix-store --load-db`. */
export async function loadDatabase(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  expectNoArguments(args);
  await register(session, { again: true, hashGiven: true });
  return 0;
}

/** `nix-store --register-validity`: makes paths valid that somebody put into the store directory. */
export async function registerValidity(
  session: ToolSession,
  { flags, args }: OperationRequest,
): Promise<number> {
  const given = readFlags(flags, ['--reregister', '--hash-given']);
  expectNoArguments(args);
  const again = given.has('--reregister');
  await register(session, { again, hashGiven: given.has('--hash-given'), canonicalise: true });
  return 0;
}

interface RegisterOptions {
  /** Also what is valid already. */
  readonly again: boolean;
  readonly hashGiven: boolean;
  readonly canonicalise?: boolean;
}

async function register(session: ToolSession, options: RegisterOptions): Promise<void> {
  const store = await session.localStore();
  const given = parseRegistrations(await text(process.stdin), store.storeDir, options.hashGiven);
  const valid = await store.queryValidPaths(given.map(({ storePath }) => storePath));
  const infos = new Map<StorePath, ValidPathInfo>();
  for (const registration of given) {
    const { storePath } = registration;
    if (valid.has(storePath) && !options.again) continue;
    const file = store.realPath(storePath);
    if (options.canonicalise === true)
      canonicalizeTree(file, { owner: undefined, seen: new Set(), fsync: false });
    infos.set(
      storePath,
      registration.narHash === undefined
        ? await measure(registration, file)
        : (registration as ValidPathInfo),
    );
  }
  store.register([...infos.values()]);
}

type Registration = Omit<ValidPathInfo, 'narHash'> & Partial<Pick<ValidPathInfo, 'narHash'>>;

async function measure(registration: Registration, file: string): Promise<ValidPathInfo> {
  const { hash, size } = await hashStream('sha256', writeNar(file));
  return { ...registration, narHash: hash, narSize: size };
}

/** Reads the lines of `formatRegistration`, without hash and size unless they are given. */
function parseRegistrations(input: string, storeDir: StoreDir, hashGiven: boolean): Registration[] {
  const lines = input.split('\n');
  const found: Registration[] = [];
  let at = 0;
  const next = (): string => {
    const line = lines[at++];
    if (line === undefined) throw malformed('it ends early');
    return line;
  };
  while (at < lines.length && lines[at] !== '') {
    const storePath = storeDir.parse(next());
    const hash = hashGiven
      ? { narHash: parseHash(next(), 'sha256'), narSize: Number(next()) }
      : { narSize: 0 };
    const deriver = next();
    const count = Number(next());
    if (!Number.isSafeInteger(count)) throw malformed(`'${storePath}' has no number of references`);
    const references = Array.from({ length: count }, () => storeDir.parse(next())).sort();
    found.push({
      storePath,
      ...hash,
      references,
      ...(deriver === '' ? {} : { deriver: storeDir.parse(deriver) }),
      signatures: [],
    });
  }
  return found;
}

function malformed(why: string): LarderError {
  return new LarderError('registration-malformed', `the list of paths cannot be read: ${why}`);
}

/** `nix-store --check-validity`. */
export async function checkValidity(
  session: ToolSession,
  { flags, args }: OperationRequest,
): Promise<number> {
  const printInvalid = readFlags(flags, ['--print-invalid']).size > 0;
  const store = await session.store();
  for (const arg of args) {
    const path = followToStorePath(arg, store.storeDir);
    if ((await store.queryPathInfo(path)) !== undefined) continue;
    const full = store.storeDir.format(path);
    if (!printInvalid) throw new LarderError('path-not-valid', `path '${full}' is not valid`);
    printLines([full]);
  }
  return 0;
}

/** `nix-store --init`: opening the store makes what is missing of it. */
export async function initialise(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  expectNoArguments(args);
  await session.store();
  return 0;
}
