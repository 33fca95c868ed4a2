import type { Command } from 'commander';

/** A module behind a verb: makes the command, options and action and all. */
export interface VerbModule {
  readonly createCommand: () => Command;
}

export interface Verb {
  /** One line for the list of verbs. */
  readonly summary: string;
  /** Loads the verb's code; nothing of it is read before it is asked for. */
  readonly load: () => Promise<VerbModule>;
  /** For a verb that must be done in no time: a way past the option parser. */
  readonly quick?: () => Promise<QuickModule>;
}

/** Does a verb at once and gives the exit status; `undefined` where it takes the verb's ordinary way. */
export interface QuickModule {
  readonly runQuickly: (args: readonly string[]) => number | undefined;
}

/** Every verb of the executable, in the order `larder --help` shows. */
export const verbs: Readonly<Record<string, Verb>> = {
  serve: { summary: 'serve binary caches over HTTP', load: () => import('./serve.js') },
  proxy: { summary: 'serve many caches as one, to stock Nix', load: () => import('./proxy.js') },
  cache: { summary: "make and configure a server's caches", load: () => import('./cache.js') },
  pin: { summary: 'keep paths of a cache under a name', load: () => import('./pin.js') },
  token: { summary: "make and revoke a server's tokens", load: () => import('./token.js') },
  admin: { summary: "look after a server's database and storage", load: () => import('./admin.js') },
  login: { summary: 'log in to a server', load: () => import('./login.js') },
  use: { summary: 'have Nix fetch from a cache', load: () => import('./use.js') },
  logout: { summary: 'log out of a server', load: () => import('./logout.js') },
  doctor: { summary: 'what is wrong with my set-up', load: () => import('./doctor.js') },
  build: { summary: 'realise derivations: fetch or build', load: () => import('./build.js') },
  copy: { summary: 'copy paths between stores and caches', load: () => import('./copy.js') },
  push: { summary: 'publish paths to a cache', load: () => import('./push.js') },
  'post-build-hook': {
    summary: "queue what Nix built for a cache: Nix's post-build-hook",
    load: () => import('./post-build-hook.js'),
    quick: () => import('./post-build-hook-quick.js'),
  },
  queue: { summary: 'look after what waits to be pushed', load: () => import('./queue.js') },
  'watch-store': { summary: 'publish whatever appears in a store', load: () => import('./watch-store.js') },
  'watch-exec': { summary: 'publish whatever a command builds', load: () => import('./watch-exec.js') },
  'path-info': { summary: 'show what a store knows of paths', load: () => import('./path-info.js') },
  sign: { summary: 'sign paths with your own key', load: () => import('./sign.js') },
  verify: { summary: 'check contents and signatures, repair', load: () => import('./verify.js') },
  trust: { summary: 'explain whose signatures count', load: () => import('./trust.js') },
  'why-depends': { summary: 'show why a path needs another', load: () => import('./why-depends.js') },
  diff: { summary: 'show what changed between two closures', load: () => import('./diff.js') },
  du: { summary: 'show what makes a closure or store big', load: () => import('./du.js') },
  store: { summary: 'add to a store, and query it', load: () => import('./store.js') },
  log: { summary: 'print the log of a build', load: () => import('./log.js') },
  gc: { summary: 'delete what nothing needs', load: () => import('./gc.js') },
  config: { summary: "show the client's configuration", load: () => import('./config.js') },
  instantiate: {
    summary: 'evaluate Nix expressions to derivations or values',
    load: () => import('./instantiate.js'),
  },
  eval: { summary: 'show the value of a Nix expression', load: () => import('./eval.js') },
  repl: { summary: 'evaluate Nix expressions interactively', load: () => import('./repl.js') },
  profile: { summary: 'install programs for one user', load: () => import('./profile.js') },
  rebuild: { summary: 'make the machine what its configuration says', load: () => import('./rebuild.js') },
  links: { summary: "make links with the names of Nix's own tools", load: () => import('./links.js') },
  hash: { summary: 'hash files and trees, convert hashes', load: () => import('./hash.js') },
  key: { summary: 'make signing keys', load: () => import('./key.js') },
  nar: { summary: 'write, restore and look into archives', load: () => import('./nar.js') },
};
