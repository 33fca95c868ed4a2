import { tmpdir } from 'node:os';

/** What the builder takes from its environment. */
export interface BuilderEnvironment {
  /** All variables: fixed-output derivations may ask for some (`impureEnvVars`), hooks get them. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Where build directories are made (`TMPDIR`). */
  readonly temporaryDirectory: string;
}

export function readBuilderEnvironment(environment: NodeJS.ProcessEnv = process.env): BuilderEnvironment {
  return { variables: { ...environment }, temporaryDirectory: tmpdir() };
}
