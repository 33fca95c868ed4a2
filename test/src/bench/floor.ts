import { readdir, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { componentCommand } from '../engines/components.js';
import { measure, type ProcessCost } from './measure.js';
import type { Setting } from './setting.js';

export interface Archives {
  readonly files: readonly string[];
  readonly bytes: number;
}

/** The archives as the server keeps and sends them. */
export async function listArchives({ server }: Setting): Promise<Archives> {
  const directory = `${server.data}/storage/main/nar`;
  const names = await readdir(directory);
  const files = names.map((name) => `${directory}/${name}`);
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return { files, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** The floor: every archive through `zstd -d` to a file and `sha256sum`, on all cores, and nothing else. */
export async function unpackAll({ larder }: Setting, files: readonly string[]): Promise<ProcessCost> {
  const zstd = componentCommand('compressors', 'zstd');
  const script = `for f; do "${zstd}" -dcq "$f" | tee "$OUT/$(basename "$f")" | sha256sum >/dev/null; done`;
  const out = larder.scratch.join('floor');
  const inner = `mkdir -p "$OUT" && printf '%s\\0' "$@" | xargs -0 -P ${availableParallelism()} -n 25 sh -c '${script}' sh`;
  return measure({
    command: '/bin/sh',
    args: ['-c', inner, 'sh', ...files],
    env: { ...larder.env, OUT: out },
  });
}
