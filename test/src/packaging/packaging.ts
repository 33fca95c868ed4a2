import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the clone. */
export const repository: string = fileURLToPath(new URL('../../../', import.meta.url));

/** What deploy/ has beside src/: `packaged('docker/Dockerfile')`. */
export function packaged(...names: string[]): string {
  return join(repository, 'deploy', ...names);
}

/** What these tests bring along that is not TypeScript. */
export function fixture(...names: string[]): string {
  return join(repository, 'test/packaging', ...names);
}

/** The script behind a command that an npm package installs. */
export async function npmCommand(packageName: string, command: string): Promise<string> {
  const manifest = createRequire(import.meta.url).resolve(`${packageName}/package.json`);
  const { bin } = JSON.parse(await readFile(manifest, 'utf8')) as { bin: Record<string, string> };
  return join(dirname(manifest), bin[command] ?? '');
}
