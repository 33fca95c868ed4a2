import type { BuildEvent } from '@larder/builder/realise/build-event';

/** What Nix says when a build begins. */
export function describeStart(
  { mode, machine }: Extract<BuildEvent, { type: 'build-started' }>,
  path: string,
): string {
  if (mode === 'check') return `checking outputs of '${path}'...`;
  return machine === undefined ? `building '${path}'...` : `building '${path}' on '${machine}'...`;
}
