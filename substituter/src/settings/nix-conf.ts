import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LarderError } from '@larder/signing/errors';

/** One `name = value` line, with where it stands (`/etc/nix/nix.conf:12`). */
export interface Assignment {
  readonly name: string;
  readonly value: string;
  readonly origin: string;
}

/** Deep enough for any real configuration, and the end of two files that include each other. */
const maxIncludeDepth = 32;

/**
 * Parses text in nix.conf's syntax into its assignments in order, following `include` and `!include`
 * relative to `path`. Values keep their words with single spaces between them, as Nix joins them.
 * Throws `config-invalid` for a line that Nix would refuse or an included file that is not there.
 * Format: nix.conf(5), "File format".
 */
export function parseNixConf(text: string, path: string, depth = 0): Assignment[] {
  if (depth > maxIncludeDepth) {
    throw new LarderError(
      'config-invalid',
      `${path} is included more than ${maxIncludeDepth} levels deep: do two files include each other?`,
    );
  }
  const assignments: Assignment[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const origin = `${path}:${index + 1}`;
    const words = line
      .split('#', 1)[0]!
      .split(/[ \t\r\n]+/)
      .filter((word) => word !== '');
    const [first, second, ...rest] = words;
    if (first === undefined) continue;
    if (first === 'include' || first === '!include') {
      if (second === undefined || rest.length > 0) throw syntaxError(origin, line);
      assignments.push(
        ...readInclude({ target: second, path, origin, depth, mayMiss: first === '!include' }),
      );
    } else if (second === '=') {
      assignments.push({ name: first, value: rest.join(' '), origin });
    } else {
      throw syntaxError(origin, line);
    }
  }
  return assignments;
}

/** The assignments of a configuration file; a file that is missing or unreadable has none, as in Nix. */
export function readNixConf(path: string): Assignment[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return parseNixConf(text, path);
}

interface Include {
  readonly target: string;
  readonly path: string;
  readonly origin: string;
  readonly depth: number;
  readonly mayMiss: boolean;
}

function readInclude({ target, path, origin, depth, mayMiss }: Include): Assignment[] {
  const included = resolve(dirname(path), target);
  if (!existsSync(included)) {
    if (mayMiss) return [];
    throw new LarderError(
      'config-invalid',
      `${origin} includes ${included}, which does not exist. Write "!include" if it may be missing.`,
    );
  }
  let text: string;
  try {
    text = readFileSync(included, 'utf8');
  } catch {
    return []; // Nix ignores an included file that it may not read.
  }
  return parseNixConf(text, included, depth + 1);
}

function syntaxError(origin: string, line: string): LarderError {
  return new LarderError(
    'config-invalid',
    `${origin}: cannot read the line "${line.trim()}". Expected "name = value" or "include FILE".`,
  );
}
