/** Everything the tests read from the environment is read here. */

/** Where a running S3 engine is and how to get in. */
export interface S3Endpoint {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Where a running PostgreSQL server is: a `postgres://` URL of an administrator, without a database. */
export interface PostgresEndpoint {
  readonly url: string;
}

/** Engines that `test/run.mjs` started once for the whole run; a test file run by itself starts its own. */
export interface SharedEngines {
  readonly s3?: S3Endpoint;
  readonly postgres?: PostgresEndpoint;
}

const enginesVariable = 'LARDER_TEST_ENGINES';

/** The engines of the run, as the process that started them passed them on. */
export function sharedEngines(): SharedEngines {
  return JSON.parse(process.env[enginesVariable] ?? '{}') as SharedEngines;
}

/** The environment that passes `engines` on to test processes. */
export function formatSharedEngines(engines: SharedEngines): Readonly<Record<string, string>> {
  return { [enginesVariable]: JSON.stringify(engines) };
}

/** A directory that all test files of a run share, for what is costly to make; none for a file run by itself. */
export function sharedDirectory(): string | undefined {
  return process.env.LARDER_TEST_SHARED || undefined;
}

/** In CI nothing may be missing: what is a skip on a developer's machine is a failure there. */
export function isCi(): boolean {
  return (process.env.CI ?? '') !== '' && process.env.CI !== 'false';
}

/** The folders of the PATH. */
export function searchPath(): readonly string[] {
  return (process.env.PATH ?? '').split(':').filter((folder) => folder !== '');
}

/** The environment for stock programs: the PATH, and nothing that could tie them to this user or machine. */
export function neutralEnvironment(home: string): Readonly<Record<string, string>> {
  return { PATH: searchPath().join(':'), HOME: home, LC_ALL: 'C.UTF-8', TZ: 'UTC' };
}

/** `LARDER_IMAGE_BUILD=1`: replay all stages of the Dockerfile, which takes minutes and the npm registry. */
export function buildsImage(): boolean {
  return process.env.LARDER_IMAGE_BUILD === '1';
}

/** `LARDER_NIXPKGS_LIB`: a copy of nixpkgs' lib, to evaluate the NixOS module with. */
export function nixpkgsLibrary(): string | undefined {
  return process.env.LARDER_NIXPKGS_LIB || undefined;
}

/** `LARDER_SEARCH_PATHS`: how many paths search is tried on; a million are the real thing. */
export function searchedPaths(): number {
  return Number(process.env.LARDER_SEARCH_PATHS || 3000);
}

/** `LARDER_REBUILD_KILLS`: how often a switch is killed; a hundred look harder. */
export function rebuildKills(): number {
  return Number(process.env.LARDER_REBUILD_KILLS || 25);
}

/** `LARDER_FAULT_ROUNDS`: how often each fault befalls a build; 13 make more than fifty faults. */
export function faultRounds(): number {
  return Number(process.env.LARDER_FAULT_ROUNDS || 2);
}

/** `LARDER_CHAOS_COPIES`: how many copies are tried from caches that go wrong at random. */
export function chaosCopies(): number {
  return Number(process.env.LARDER_CHAOS_COPIES || 25);
}
