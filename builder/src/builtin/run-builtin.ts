import type { Derivation } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { BuildContext } from '../build-job.js';
import { buildEnvironmentTree } from './buildenv.js';
import { fetchUrl } from './fetch-url.js';
import { unpackChannel } from './unpack-channel.js';

export interface BuiltinOptions {
  readonly derivation: Derivation;
  /** The file or directory to make for an output. */
  readonly locate: (output: string) => string;
  /** Whether the host's own files are out of reach, as they are for programs. */
  readonly sandboxed: boolean;
  /** Says something in the build's log. */
  readonly log: (text: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Runs a builder that is part of the package manager itself: `builtin:fetchurl`, `builtin:buildenv` or
 * `builtin:unpack-channel`.
 * @throws `builtin-unknown`, and what the builder throws
 */
export async function runBuiltin(context: BuildContext, options: BuiltinOptions): Promise<void> {
  switch (options.derivation.builder) {
    case 'builtin:fetchurl':
      return fetchUrl(context, options);
    case 'builtin:buildenv':
      return buildEnvironmentTree(context, options);
    case 'builtin:unpack-channel':
      return unpackChannel(context, options);
    default:
      throw new LarderError(
        'builtin-unknown',
        `unsupported builtin builder '${options.derivation.builder.slice(8)}'`,
      );
  }
}

/** An attribute that a built-in builder cannot do without. @throws `derivation-invalid` */
export function requireAttribute(derivation: Derivation, name: string): string {
  const value = derivation.env.get(name);
  if (value === undefined) throw new LarderError('derivation-invalid', `attribute '${name}' missing`);
  return Buffer.from(value, 'latin1').toString('utf8');
}
