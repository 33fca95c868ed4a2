import { LarderError } from '@larder/signing/errors';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';

export interface PathFilterOptions {
  /** Only paths whose base name one of these matches. */
  readonly include?: readonly string[];
  /** No paths whose base name one of these matches. */
  readonly exclude?: readonly string[];
  /** Derivations too, which caches are seldom asked for. */
  readonly derivations?: boolean;
}

/**
 * Makes the test of which paths to push, from regular expressions over `<hash>-<name>`.
 * @throws `usage` for an expression that is none
 */
export function createPathFilter(options: PathFilterOptions): (path: StorePath) => boolean {
  const include = (options.include ?? []).map(parseExpression);
  const exclude = (options.exclude ?? []).map(parseExpression);
  return (path) =>
    (options.derivations === true || !isDerivationPath(path)) &&
    (include.length === 0 || include.some((each) => each.test(path))) &&
    !exclude.some((each) => each.test(path));
}

function parseExpression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new LarderError('usage', `'${text}' is not a regular expression`, { cause: error });
  }
}
