import type { CommonArguments, NextArgument } from './arguments.js';

/** Options of the tools that evaluate, as `nix-instantiate` reads them. */
export class EvalFlags {
  /** The options with their values, for `parseInstantiateArguments`. */
  readonly args: string[] = [];
  /** The store to evaluate into, where that is not the one to build in. */
  evalStore: string | undefined;

  /** Takes an option of evaluation. */
  take(arg: string, next: NextArgument): boolean {
    switch (arg) {
      case '--arg':
      case '--argstr':
        this.args.push(arg, next(), next());
        return true;
      case '-I':
      case '--include':
        this.args.push('-I', next());
        return true;
      case '--eval-store':
        this.evalStore = next();
        return true;
      case '--impure':
        this.args.push(arg);
        return true;
      default:
        return false;
    }
  }
}

/** What an evaluation is asked for besides where the log is for programs. */
export function structuredLog({ logFormat }: CommonArguments): { readonly structuredLog?: true } {
  return logFormat === 'internal-json' ? { structuredLog: true } : {};
}
