import type { Builtin } from './define.js';

/** Builtins on flakes. */
export function flakeBuiltins(): Builtin[] {
  return [];
}
