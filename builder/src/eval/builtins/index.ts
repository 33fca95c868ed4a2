import { contextBuiltins } from './contexts.js';
import { controlBuiltins } from './control.js';
import type { Builtin } from './define.js';
import { derivationBuiltins } from './derivation.js';
import { fetchBuiltins } from './fetch.js';
import { closureBuiltins } from './fetch-closure.js';
import { mercurialBuiltins } from './fetch-mercurial.js';
import { fileBuiltins } from './files.js';
import { flakeBuiltins } from './flakes.js';
import { listBuiltins } from './lists.js';
import { numberBuiltins } from './numbers.js';
import { outputOfBuiltins } from './output-of.js';
import { setBuiltins } from './sets.js';
import { sourceBuiltins } from './sources.js';
import { stringBuiltins } from './strings.js';
import { tomlBuiltins } from './toml.js';
import { typeBuiltins } from './types.js';

/** All builtin functions. */
export function allBuiltins(): Builtin[] {
  return [
    ...typeBuiltins(),
    ...controlBuiltins(),
    ...numberBuiltins(),
    ...setBuiltins(),
    ...listBuiltins(),
    ...stringBuiltins(),
    ...contextBuiltins(),
    ...fileBuiltins(),
    ...sourceBuiltins(),
    ...derivationBuiltins(),
    ...tomlBuiltins(),
    ...fetchBuiltins(),
    ...mercurialBuiltins(),
    ...closureBuiltins(),
    ...outputOfBuiltins(),
    ...flakeBuiltins(),
  ];
}
