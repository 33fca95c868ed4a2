import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import type { SystemExpression } from './pipeline.js';

/** Where the configuration is, as `nixos-rebuild` lets one say it. */
export interface ConfigurationChoice {
  readonly file?: string;
  readonly attribute?: string;
  /** `DIRECTORY` or a URL, then `#HOST`; the host's name by default. */
  readonly flake?: string;
}

/** What is made of a configuration: the system itself, or a script that boots it in a virtual machine. */
export type SystemProduct = 'toplevel' | 'vm';

/**
 * The expression of a configuration's product. Without any choice it is `<nixpkgs/nixos>`, which finds the
 * configuration as `<nixos-config>`.
 * @throws `usage` when choices contradict each other
 */
export function systemExpression(choice: ConfigurationChoice, product: SystemProduct): SystemExpression {
  const { file, attribute, flake } = choice;
  if (flake !== undefined) {
    if (file !== undefined || attribute !== undefined)
      throw new LarderError(
        'usage',
        '--flake names the configuration by itself: leave --file and --attr out',
      );
    return flakeExpression(flake, product);
  }
  if (file === undefined && attribute === undefined)
    return { file: '<nixpkgs/nixos>', attribute: product === 'vm' ? 'vm' : 'system' };
  const path = ['config', 'system', 'build', product];
  return {
    file: file ?? 'default.nix',
    attribute: [...(attribute === undefined || attribute === '' ? [] : [attribute]), ...path].join('.'),
  };
}

function flakeExpression(flake: string, product: SystemProduct): SystemExpression {
  const hash = flake.indexOf('#');
  const reference = hash < 0 ? flake : flake.slice(0, hash);
  const host = hash < 0 || hash === flake.length - 1 ? hostname() : flake.slice(hash + 1);
  const configuration = `(builtins.getFlake ${JSON.stringify(flakeReference(reference))}).nixosConfigurations.${JSON.stringify(host)}`;
  return { expression: configuration, attribute: `config.system.build.${product}` };
}

/** `getFlake` takes no relative paths; a directory in a Git work tree is that tree's flake. */
function flakeReference(reference: string): string {
  if (!/^($|[./~])/.test(reference)) return reference;
  const directory = resolve(reference === '' ? '.' : reference);
  for (let at = directory; ; at = dirname(at)) {
    if (existsSync(`${at}/.git`)) {
      const inner = directory.slice(at.length + 1);
      return `git+file://${at}${inner === '' ? '' : `?dir=${inner}`}`;
    }
    if (at === '/') return `path:${directory}`;
  }
}
