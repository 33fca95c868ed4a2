/** What does the work behind a rebuild: Larder itself, or an installed Nix. */
export const engineNames = ['larder', 'nix'] as const;
export type EngineName = (typeof engineNames)[number];
