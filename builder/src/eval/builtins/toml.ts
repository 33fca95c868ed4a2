import { parse, TomlDate, TomlError, type TomlTable, type TomlValue } from 'smol-toml';
import { AttrsBuilder } from '../attrs.js';
import { fromByteText, toByteText } from '../byte-text.js';
import { NixError } from '../errors.js';
import { forceStringNoContext } from '../force.js';
import { MESSAGE_END } from '../format-error.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { intern } from '../symbols.js';
import { fitsInt64, NixFloat, normalizeInt, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';

function fail(message: string): NixError {
  return new NixError('eval', `while parsing TOML: ${message}`);
}

function text(value: string): string {
  const bytes = toByteText(value);
  if (!bytes.includes('\0')) return bytes;
  const shown = bytes.replaceAll('\0', toByteText('␀'));
  throw fail(
    `error: input string '${shown}' cannot be represented as Nix string because it contains null bytes`,
  );
}

/** Times as Nix prints them: fractions of a second in groups of three digits, none at all when zero. */
function timestamp(date: TomlDate): Value {
  if (!machine.settings.experimentalFeatures.has('parse-toml-timestamps')) {
    throw fail('Dates and times are not supported');
  }
  const value = date.toISOString().replace(/\.(\d+)/, (_, digits: string) => {
    const trimmed = digits.replace(/0+$/, '');
    return trimmed === '' ? '' : `.${trimmed.padEnd(Math.ceil(trimmed.length / 3) * 3, '0')}`;
  });
  return new AttrsBuilder().add(intern('_type'), 'timestamp').add(intern('value'), value).finish();
}

function convert(value: TomlValue): Slot {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'bigint') {
    if (!fitsInt64(value)) throw new RangeError('integer out of range');
    return normalizeInt(value);
  }
  if (typeof value === 'number') return new NixFloat(value);
  if (typeof value === 'boolean') return value;
  if (value instanceof TomlDate) return timestamp(value);
  if (Array.isArray(value)) return value.map(convert);
  return convertTable(value);
}

function convertTable(table: TomlTable): Value {
  const builder = new AttrsBuilder();
  for (const [name, value] of Object.entries(table)) builder.add(intern(text(name)), convert(value));
  return builder.finish();
}

/** The integer too large for 64 bits that a document holds, told as toml11 tells it. */
function overflowMessage(source: string): string | undefined {
  const lines = source.split('\n');
  for (const [index, line] of lines.entries()) {
    const match = /=\s*([+-]?)(\d[\d_]*)\s*$/.exec(line);
    if (
      match === null ||
      fitsInt64(BigInt(`${match[1] === '-' ? '-' : ''}${match[2]!.replaceAll('_', '')}`))
    ) {
      continue;
    }
    const number = (index + 1).toString();
    const margin = ' '.repeat(number.length + 1);
    return (
      '[error] toml::parse_dec_integer: too large integer: current max digits = 2^63\n' +
      ` --> fromTOML\n${margin} |\n ${number} | ${line}\n${margin} | ${' '.repeat(line.length)}^-- must be < 2^63\n${MESSAGE_END}`
    );
  }
  return undefined;
}

function fromToml(slot: Slot): Value {
  const source = forceStringNoContext(
    slot,
    noPos,
    'while evaluating the argument passed to builtins.fromTOML',
  );
  let table: TomlTable;
  const decoded = fromByteText(source);
  try {
    table = parse(decoded, { integersAsBigInt: true });
    return convertTable(table);
  } catch (error) {
    if (!(error instanceof TomlError || error instanceof RangeError)) throw error;
    throw fail(toByteText(overflowMessage(decoded) ?? error.message));
  }
}

/** `fromTOML`. */
export function tomlBuiltins(): Builtin[] {
  return [define('fromTOML', 1, (slot) => fromToml(slot!))];
}
