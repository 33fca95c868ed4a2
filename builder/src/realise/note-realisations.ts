import { formatRealisationFingerprint, type Realisation } from '@larder/signing/realisation';
import type { StorePath } from '@larder/signing/store-path';
import type { BuildContext } from '../build-job.js';
import type { OutputKnowledge } from './output-knowledge.js';
import type { RealisedOutputs } from './realiser.js';

export interface RealisedDerivation {
  readonly path: StorePath;
  readonly outputs: RealisedOutputs;
  /** Whether realisations of inputs go along: those of what the outputs refer to. */
  readonly withInputs: boolean;
}

/** Notes in the store which paths a derivation's outputs came out as, signed with the keys the settings name. */
export async function noteRealisations(
  { store, settings }: BuildContext,
  knowledge: OutputKnowledge,
  { path, outputs, withInputs }: RealisedDerivation,
): Promise<void> {
  const ids = knowledge.ids(path);
  if (ids === undefined) return;
  const inputs = withInputs ? inputRealisations(path, { store, knowledge }) : [];
  const realisations: Realisation[] = [];
  for (const [name, outPath] of outputs) {
    const references = new Set((await store.queryPathInfo(outPath))?.references);
    const used = inputs.filter((input) => references.has(input.outPath));
    const plain: Realisation = {
      id: ids.get(name)!,
      outPath,
      signatures: [],
      dependentRealisations: Object.fromEntries(used.map((input) => [input.id, input.outPath])),
    };
    const fingerprint = formatRealisationFingerprint(plain);
    realisations.push({ ...plain, signatures: settings.secretKeys.map((key) => key.sign(fingerprint)) });
  }
  store.realisations.register(realisations);
}

/** Those of all inputs, and those they depend on. Reference: `drvOutputReferences` in Nix. */
function inputRealisations(
  path: StorePath,
  { store, knowledge }: Pick<BuildContext, 'store'> & { readonly knowledge: OutputKnowledge },
): Realisation[] {
  const found = new Map<string, Realisation>();
  const add = (id: string | undefined): void => {
    const realisation = id === undefined || found.has(id) ? undefined : store.realisations.query(id);
    if (realisation === undefined) return;
    found.set(realisation.id, realisation);
    for (const other of Object.keys(realisation.dependentRealisations)) add(other);
  };
  for (const [input, names] of knowledge.read(path).inputDerivations) {
    const ids = knowledge.ids(input);
    for (const name of names) add(ids?.get(name));
  }
  return [...found.values()];
}
