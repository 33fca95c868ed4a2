import type { Derivation } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import { isJsonObject, type JsonObject, parseJson } from './json-value.js';

/**
 * The attributes of a derivation that steer how it is built, from its environment or, where it has structured
 * attributes, from those. The derivation's strings are byte strings (latin1), as everywhere in the builder.
 * Meaning: the Nix manual, "Advanced attributes".
 */
export class DerivationOptions {
  readonly #derivation: Derivation;
  /** The attributes that `__json` holds, as text (not bytes). */
  readonly structured: JsonObject | undefined;

  /** @throws `derivation-invalid` when `__json` is not a JSON object */
  constructor(derivation: Derivation) {
    this.#derivation = derivation;
    const json = derivation.env.get('__json');
    this.structured = json === undefined ? undefined : this.#parse(json);
  }

  #parse(json: string): JsonObject {
    try {
      const value = parseJson(Buffer.from(json, 'latin1').toString('utf8'));
      if (isJsonObject(value)) return value;
    } catch (error) {
      throw this.#invalid('__json', 'JSON', error);
    }
    throw this.#invalid('__json', 'a JSON object');
  }

  flag(name: string, fallback = false): boolean {
    if (this.structured === undefined) {
      const value = this.#derivation.env.get(name);
      return value === undefined ? fallback : value === '1';
    }
    const value = this.structured.get(name);
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') throw this.#invalid(name, 'true or false');
    return value;
  }

  /** A list of words, or `undefined` where the derivation has no such attribute. */
  words(name: string): readonly string[] | undefined {
    if (this.structured === undefined) {
      const value = this.#derivation.env.get(name);
      return value === undefined ? undefined : splitWords(value);
    }
    const value = this.structured.get(name);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value as string[];
    throw this.#invalid(name, 'a list of strings');
  }

  get requiredSystemFeatures(): readonly string[] {
    const features = [...(this.words('requiredSystemFeatures') ?? [])];
    const types = [...this.#derivation.outputs.values()].map((output) => output.type);
    if (types.some((type) => type === 'floating' || type === 'deferred')) features.push('ca-derivations');
    return [...new Set(features)].sort();
  }

  get allowsSubstitutes(): boolean {
    return this.flag('allowSubstitutes', true);
  }

  get prefersLocalBuild(): boolean {
    return this.flag('preferLocalBuild');
  }

  #invalid(name: string, expected: string, cause?: unknown): LarderError {
    return new LarderError(
      'derivation-invalid',
      `attribute '${name}' of derivation ${this.#derivation.name} must be ${expected}`,
      { cause },
    );
  }
}

/** The words of a text, as Nix splits attributes: at blanks, tabs and line ends. */
export function splitWords(text: string): string[] {
  return text.split(/[ \t\n\r]+/).filter((word) => word !== '');
}
