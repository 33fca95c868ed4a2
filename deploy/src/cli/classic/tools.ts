import type { ToolContext } from './tool-context.js';

/** A module behind a classic name. */
export interface ToolModule {
  /** Runs the tool and gives its exit status; what it throws is reported in Nix's manner. */
  readonly run: (args: readonly string[], context: ToolContext) => Promise<number>;
}

export interface Tool {
  /** One line for the list of names. */
  readonly summary: string;
  /** Loads the tool's code; nothing of it is read before it is called. */
  readonly load: () => Promise<ToolModule>;
}

/** The names of Nix's own tools that the executable answers to, by a link or as a verb. */
export const tools: Readonly<Record<string, Tool>> = {
  'nix-build': { summary: 'realise what an expression gives', load: () => import('./nix-build.js') },
  'nix-instantiate': { summary: 'evaluate to derivations', load: () => import('./nix-instantiate.js') },
  'nix-store': { summary: 'work on the store', load: () => import('./nix-store.js') },
  'nix-collect-garbage': {
    summary: 'delete what nothing needs',
    load: () => import('./nix-collect-garbage.js'),
  },
  'nix-hash': { summary: 'hash files, convert hashes', load: () => import('./nix-hash.js') },
  'nix-prefetch-url': {
    summary: 'fetch a file into the store',
    load: () => import('./nix-prefetch-url.js'),
  },
};

/** The tool that a program's path asks for, by its last component. */
export function toolName(program: string | undefined): string | undefined {
  const name = program?.slice(program.lastIndexOf('/') + 1);
  return name !== undefined && Object.hasOwn(tools, name) ? name : undefined;
}
