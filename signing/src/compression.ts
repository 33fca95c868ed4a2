import { LarderError } from './errors.js';

/** How a NAR is compressed: the values of narinfo's Compression field that are seen in the wild. */
export type Compression = 'none' | 'xz' | 'zstd' | 'bzip2' | 'gzip' | 'br' | 'lzma' | 'lzip' | 'lz4';

/** File name endings, behind `.nar`. Nix writes gzip without one; both are read. */
const EXTENSIONS: Readonly<Record<Compression, string>> = {
  none: '',
  xz: '.xz',
  zstd: '.zst',
  bzip2: '.bz2',
  gzip: '.gz',
  br: '.br',
  lzma: '.lzma',
  lzip: '.lzip',
  lz4: '.lz4',
};

/** All values, the plain one first. */
export const COMPRESSIONS = Object.keys(EXTENSIONS) as readonly Compression[];

/** The compressions that Larder can also write. */
export type WritableCompression = Exclude<Compression, 'bzip2' | 'lzip' | 'lz4'>;

export function isCompression(label: string): label is Compression {
  return Object.hasOwn(EXTENSIONS, label);
}

/**
 * Reads a Compression label as Nix does: a missing or empty one means bzip2.
 * Throws `compression-unknown` for a value nobody writes.
 */
export function parseCompression(label: string | undefined): Compression {
  if (label === undefined || label === '') return 'bzip2';
  if (isCompression(label)) return label;
  throw new LarderError(
    'compression-unknown',
    `compression ${JSON.stringify(label)} is not known: Larder reads ${COMPRESSIONS.join(', ')}`,
    { fields: { compression: label } },
  );
}

/** The file name ending for a NAR so compressed: `.zst` for zstd, nothing for none. */
export function compressionExtension(compression: Compression): string {
  return EXTENSIONS[compression];
}

/** What a URL or file name's ending tells of its compression (`…/x.nar.xz?y` is xz), `none` without one. */
export function compressionOfUrl(url: string): Compression {
  const name = url.replace(/[?#].*$/s, '');
  const found = COMPRESSIONS.find((value) => value !== 'none' && name.endsWith(EXTENSIONS[value]));
  return found ?? 'none';
}

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['gzip', [0x1f, 0x8b]],
  ['lzip', [0x4c, 0x5a, 0x49, 0x50]],
  ['lz4', [0x04, 0x22, 0x4d, 0x18]],
  ['none', [0x0d, 0, 0, 0, 0, 0, 0, 0, 0x6e, 0x69, 0x78]],
];

/**
 * What a NAR's first bytes (eleven are enough) show it to be; undefined for brotli and lzma, which bear no
 * mark. For messages, and for stock Nix 2.8's leniency: it trusts the bytes over the label.
 */
export function sniffCompression(head: Uint8Array): Compression | undefined {
  return MAGICS.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0];
}
