import { spawn } from 'node:child_process';
import { mkdtemp, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseTarget, type Target } from '@larder/builder/realise/targets';
import { LarderError } from '@larder/signing/errors';
import type { StoreDir } from '@larder/signing/store-path';
import { readCliEnvironment } from '../config.js';

/** Which expressions to build. */
export interface ExpressionOptions {
  readonly store: string;
  readonly expr?: readonly string[];
  readonly attr?: readonly string[];
  readonly include?: readonly string[];
  readonly arg?: readonly (readonly [string, string])[];
  readonly argstr?: readonly (readonly [string, string])[];
  readonly option?: readonly (readonly [string, string])[];
}

/** What to build. Derivations made for it are kept from garbage collection until it is disposed. */
export interface FoundTargets extends AsyncDisposable {
  readonly targets: readonly Target[];
}

interface TargetContext {
  readonly storeDir: StoreDir;
  readonly options: ExpressionOptions;
}

/**
 * Reads a verb's arguments: store paths as they are, anything else, and `-E`, as expressions to instantiate;
 * `./default.nix` when there is nothing at all.
 * @throws `evaluation-failed`, after the evaluator said why
 */
export async function findTargets(
  texts: readonly string[],
  { storeDir, options }: TargetContext,
): Promise<FoundTargets> {
  const paths = texts.filter((each) => each.startsWith(`${storeDir.path}/`));
  const files = texts.filter((each) => !paths.includes(each));
  const targets = paths.map((each) => parseTarget(each, storeDir));
  const expressions = options.expr ?? [];
  const lists: string[][] = [];
  if (files.length > 0 || (targets.length === 0 && expressions.length === 0)) lists.push(files);
  if (expressions.length > 0) lists.push(['-E', ...expressions]);
  if (lists.length === 0) return { targets, async [Symbol.asyncDispose]() {} };
  const roots = await mkdtemp(`${tmpdir()}/larder-roots-`);
  try {
    for (const [index, list] of lists.entries()) {
      const lines = await instantiate([...list, '--add-root', `${roots}/derivation-${index}`], options);
      targets.push(...(await Promise.all(lines.map((line) => readRoot(line, storeDir)))));
    }
  } catch (error) {
    await rm(roots, { recursive: true });
    throw error;
  }
  return { targets, [Symbol.asyncDispose]: () => rm(roots, { recursive: true }) };
}

/** A printed line is the link to a derivation, with the output that is wanted. */
async function readRoot(line: string, storeDir: StoreDir): Promise<Target> {
  const [link = '', output] = line.split('!', 2);
  const path = storeDir.parse(await readlink(link));
  return { type: 'derivation', path, outputs: [output ?? 'out'] };
}

/** Evaluation has a process of its own: its memory goes with it, and it prints what it has to say. */
async function instantiate(args: readonly string[], options: ExpressionOptions): Promise<string[]> {
  const given = [
    ...(options.attr ?? []).flatMap((path) => ['-A', path]),
    ...(options.include ?? []).flatMap((path) => ['-I', path]),
    ...(options.arg ?? []).flatMap(([name, value]) => ['--arg', name, value]),
    ...(options.argstr ?? []).flatMap(([name, value]) => ['--argstr', name, value]),
  ];
  const executable = fileURLToPath(new URL('../../bin/larder.js', import.meta.url));
  const { variables } = readCliEnvironment();
  const settings = (options.option ?? []).map(([name, value]) => `${name} = ${value}\n`).join('');
  const child = spawn(process.execPath, [executable, 'instantiate', ...args, ...given], {
    env: {
      ...variables,
      NIX_CONFIG: `${variables.NIX_CONFIG ?? ''}\n${settings}`,
      ...(options.store === 'auto' ? {} : { NIX_REMOTE: options.store }),
    },
    stdio: ['inherit', 'pipe', 'inherit'],
  });
  const [output, status] = await Promise.all([
    text(child.stdout),
    new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve(code ?? 1));
    }),
  ]);
  if (status !== 0)
    throw new LarderError('evaluation-failed', 'the expression cannot be instantiated, see above');
  return output.split('\n').filter((line) => line !== '');
}
