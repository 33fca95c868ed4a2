import { existsSync } from 'node:fs';
import type { StorePath } from '@larder/signing/store-path';

/** Where Nix keeps the log of a derivation's build, without the ending of a compressed one. */
export function buildLogPath(logDir: string, derivation: StorePath): string {
  return `${logDir}/drvs/${derivation.slice(0, 2)}/${derivation.slice(2)}`;
}

/** A build's log on this machine. */
export interface FoundBuildLog {
  readonly path: string;
  /** With bzip2, as Nix does; otherwise it is plain text. */
  readonly compressed: boolean;
}

/** The log of a build on this machine, compressed or not, or `undefined` when there is none. */
export function findBuildLog(logDir: string, derivation: StorePath): FoundBuildLog | undefined {
  const path = buildLogPath(logDir, derivation);
  if (existsSync(`${path}.bz2`)) return { path: `${path}.bz2`, compressed: true };
  return existsSync(path) ? { path, compressed: false } : undefined;
}
