import type { ContentAddressMethod } from '@larder/signing/content-address';
import {
  type Derivation,
  type DerivationOutput,
  derivationOutputPath,
  type QuotedVariables,
  quoteVariables,
} from '@larder/signing/derivation';
import { computeOutputPaths, outputPlaceholder } from '@larder/signing/derivation-hash';
import { type HashAlgorithm, isHashAlgorithm } from '@larder/signing/hash';
import { coerceToString, forceStringWith } from '../coerce.js';
import { ContextCollector } from '../context.js';
import { NixError } from '../errors.js';
import { forceBool, forceList, forceStringNoContext } from '../force.js';
import { formatErrorAsWarning } from '../format-error.js';
import { quoteJson, valueToJson } from '../json.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { sym, symbolName } from '../symbols.js';
import type { Slot } from '../values.js';
import { derivationInputs } from './derivation-inputs.js';
import { derivationModulo, storeDir } from './derivation-outputs.js';
import { parseNixHash } from './strings.js';

const checksReplacedByOutputChecks = new Set([
  'allowedReferences',
  'allowedRequisites',
  'disallowedReferences',
  'disallowedRequisites',
  'maxSize',
  'maxClosureSize',
]);

/** A derivation whose strings are bytes, one per char, and its quoted variables. */
export interface DerivationDraft {
  readonly derivation: Derivation;
  readonly variables: QuotedVariables;
}

/** Gathers what a set of attributes says about a derivation. */
export class DerivationBuilder {
  readonly collector = new ContextCollector();
  readonly env = new Map<string, string>();
  readonly args: string[] = [];
  builder = '';
  system = '';
  outputs: string[] = ['out'];
  contentAddressed = false;
  impure = false;
  outputHash: string | undefined;
  outputHashAlgorithm: HashAlgorithm | undefined;
  method: ContentAddressMethod | undefined;
  private readonly name: string;
  private readonly structured: boolean;
  private readonly structuredAttrs: string[] = [];

  constructor(name: string, structured: boolean) {
    this.name = name;
    this.structured = structured;
  }

  private requireFeature(feature: string, reason = ''): void {
    if (machine.settings.experimentalFeatures.has(feature)) return;
    throw new NixError(
      'other',
      `experimental Nix feature '${feature}' is disabled${reason}; add '--extra-experimental-features ${feature}' to enable it`,
    );
  }

  private setHashMode(mode: string): void {
    if (mode === 'recursive' || mode === 'nar') this.method = 'recursive';
    else if (mode === 'flat' || mode === 'text' || mode === 'git') this.method = mode;
    else throw new NixError('eval', `invalid value '${mode}' for 'outputHashMode' attribute`);
    if (mode === 'text') this.requireFeature('dynamic-derivations');
    if (mode === 'git') this.requireFeature('git-hashing');
  }

  private setHashAlgorithm(name: string): void {
    this.outputHashAlgorithm = isHashAlgorithm(name) ? name : undefined;
  }

  private setOutputs(names: readonly string[]): void {
    const seen = new Set<string>();
    for (const output of names) {
      if (seen.has(output)) throw new NixError('eval', `duplicate derivation output '${output}'`);
      if (output === 'drvPath') throw new NixError('eval', "invalid derivation output name 'drvPath'");
      seen.add(output);
    }
    if (seen.size === 0) throw new NixError('eval', 'derivation cannot have an empty set of outputs');
    this.outputs = [...seen];
  }

  private warn(text: string, pos: number): void {
    const warning = new NixError('other', text, pos).trace(
      noPos,
      `while evaluating derivation '${this.name}'`,
    );
    machine.host.log(formatErrorAsWarning(warning));
  }

  /** Takes one attribute. */
  add(id: number, slot: Slot, pos: number): void {
    const key = symbolName(id);
    switch (id) {
      case sym.contentAddressed:
        if (forceBool(slot, noPos, '')) {
          this.contentAddressed = true;
          this.requireFeature('ca-derivations');
        }
        return;
      case sym.impure:
        if (forceBool(slot, noPos, '')) {
          this.impure = true;
          this.requireFeature('impure-derivations');
        }
        return;
      case sym.args: {
        const error = 'while evaluating an element of the argument list';
        for (const item of forceList(slot, noPos, '')) {
          this.args.push(coerceToString(item, this.collector, { error, more: true }));
        }
        return;
      }
      default:
    }
    if (this.structured) this.addStructured(id, key, slot, pos);
    else this.addVariable(id, key, slot, pos);
  }

  private addStructured(id: number, key: string, slot: Slot, pos: number): void {
    if (id === sym.structuredAttrs) return;
    const json = valueToJson(slot, this.collector, { strict: true, copyToStore: true });
    this.structuredAttrs.push(`${quoteJson(key)}:${json}`);
    const text = (): string => forceStringNoContext(slot, noPos, '');
    switch (id) {
      case sym.builder:
        this.builder = forceStringWith(slot, this.collector, '');
        break;
      case sym.system:
        this.system = text();
        break;
      case sym.outputHash:
        this.outputHash = text();
        break;
      case sym.outputHashAlgo:
        this.setHashAlgorithm(text());
        break;
      case sym.outputHashMode:
        this.setHashMode(text());
        break;
      case sym.outputs:
        this.setOutputs(forceList(slot, noPos, '').map((output) => forceStringNoContext(output, noPos, '')));
        break;
      default:
    }
    if (checksReplacedByOutputChecks.has(key)) {
      this.warn(
        `'structuredAttrs' disables the effect of the derivation attribute '${key}'; use 'outputChecks.<output>.${key}' instead`,
        pos,
      );
    }
  }

  private addVariable(id: number, key: string, slot: Slot, pos: number): void {
    const text = coerceToString(slot, this.collector, { error: '', more: true });
    if (id === sym.json) {
      this.warn(
        "setting structured attributes via '__json' is deprecated, and may be disallowed in future versions of Nix. Set '__structuredAttrs = true' instead.",
        pos,
      );
    }
    this.env.set(key, text);
    switch (id) {
      case sym.builder:
        this.builder = text;
        break;
      case sym.system:
        this.system = text;
        break;
      case sym.outputHash:
        this.outputHash = text;
        break;
      case sym.outputHashAlgo:
        this.setHashAlgorithm(text);
        break;
      case sym.outputHashMode:
        this.setHashMode(text);
        break;
      case sym.outputs:
        this.setOutputs(text.split(/[ \t\n\r]+/).filter((output) => output !== ''));
        break;
      default:
    }
  }

  private fixedOutput(): Map<string, DerivationOutput> {
    if (this.outputs.length !== 1 || this.outputs[0] !== 'out') {
      throw new NixError('eval', 'multiple outputs are not supported in fixed-output derivations');
    }
    const hash = parseOutputHash(this.outputHash!, this.outputHashAlgorithm);
    return new Map([['out', { type: 'fixed', ca: { method: this.method ?? 'flat', hash } }]]);
  }

  private check(): void {
    if (this.builder === '') throw new NixError('eval', "required attribute 'builder' missing");
    if (this.system === '') throw new NixError('eval', "required attribute 'system' missing");
    const single = this.method === 'text' && this.outputs.length === 1 && this.outputs[0] === 'out';
    if (this.name.endsWith('.drv') && !single) {
      throw new NixError(
        'eval',
        "derivation names are allowed to end in '.drv' only if they produce a single derivation file",
      );
    }
  }

  /** The finished derivation, and its variables as they stand in its text. */
  finish(): DerivationDraft {
    if (this.structured) this.env.set('__json', `{${this.structuredAttrs.join(',')}}`);
    const { derivations, sources } = derivationInputs(this.name, this.collector);
    this.check();
    const outputs = this.makeOutputs();
    const { env } = this;
    const derivation: Derivation = {
      name: this.name,
      outputs,
      inputDerivations: derivations,
      inputSources: sources,
      system: this.system,
      builder: this.builder,
      args: this.args,
      env,
    };
    const first = outputs.values().next().value!;
    if (first.type === 'fixed') {
      const path = derivationOutputPath(derivation, 'out', storeDir())!;
      env.set('out', `${machine.host.storeDir}/${path}`);
      return { derivation, variables: quoteVariables(env) };
    }
    const variables = quoteVariables(env);
    if (first.type === 'deferred') {
      const paths = computeOutputPaths(derivation, storeDir(), {
        inputModulo: derivationModulo,
        encoding: 'latin1',
        variables,
      });
      for (const output of this.outputs) {
        const path = paths?.get(output);
        if (path === undefined) continue;
        env.set(output, `${machine.host.storeDir}/${path}`);
        outputs.set(output, { type: 'input-addressed', path });
      }
    }
    return { derivation, variables };
  }

  private makeOutputs(): Map<string, DerivationOutput> {
    if (this.outputHash !== undefined) return this.fixedOutput();
    const outputs = new Map<string, DerivationOutput>();
    const names = [...this.outputs].sort();
    if (this.contentAddressed || this.impure) {
      if (this.contentAddressed && this.impure) {
        throw new NixError('eval', 'derivation cannot be both content-addressed and impure');
      }
      const algorithm = this.outputHashAlgorithm ?? 'sha256';
      const method = this.method ?? 'recursive';
      for (const output of names) {
        this.env.set(output, outputPlaceholder(output));
        outputs.set(output, { type: this.impure ? 'impure' : 'floating', method, algorithm });
      }
      return outputs;
    }
    for (const output of names) {
      this.env.set(output, '');
      outputs.set(output, { type: 'deferred' });
    }
    return outputs;
  }
}

/** The hash of a fixed output; an empty one stands for zeros, with a warning, as Nix has it. */
function parseOutputHash(
  text: string,
  algorithm: HashAlgorithm | undefined,
): ReturnType<typeof parseNixHash> {
  if (text !== '') return parseNixHash(text, algorithm);
  if (algorithm === undefined) throw new NixError('other', 'empty hash requires explicit hash algorithm');
  const sizes = { md5: 32, sha1: 40, sha256: 64, sha512: 128 } as const;
  const zeros = parseNixHash('0'.repeat(sizes[algorithm as keyof typeof sizes] ?? 64), algorithm);
  const warning = new NixError('other', `found empty hash, assuming '${zeros.format('sri')}'`);
  machine.host.log(formatErrorAsWarning(warning));
  return zeros;
}
