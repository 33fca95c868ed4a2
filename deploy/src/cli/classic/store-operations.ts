import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';

export interface OperationModule {
  /** Gives the exit status. */
  readonly run: (session: ToolSession, request: OperationRequest) => Promise<number>;
}

export interface Operation {
  readonly load: () => Promise<OperationModule>;
}

const add: Operation = { load: async () => ({ run: (await import('./store-add.js')).add }) };
const realise: Operation = { load: () => import('./store-realise.js') };
const query: Operation = { load: () => import('./store-query.js') };
const collect: Operation = { load: async () => ({ run: (await import('./store-gc.js')).collect }) };
const optimise: Operation = { load: async () => ({ run: (await import('./store-care.js')).optimise }) };

/** The operations of `nix-store`, by the options that ask for them. */
export const operations: Readonly<Record<string, Operation>> = {
  '--realise': realise,
  '--realize': realise,
  '-r': realise,
  '--add': add,
  '-A': add,
  '--add-fixed': { load: async () => ({ run: (await import('./store-add.js')).addFixed }) },
  '--print-fixed-path': { load: async () => ({ run: (await import('./store-add.js')).printFixedPath }) },
  '--delete': { load: async () => ({ run: (await import('./store-gc.js')).deletePaths }) },
  '--query': query,
  '-q': query,
  '--print-env': { load: async () => ({ run: (await import('./store-build-facts.js')).printEnv }) },
  '--read-log': { load: async () => ({ run: (await import('./store-build-facts.js')).readLog }) },
  '-l': { load: async () => ({ run: (await import('./store-build-facts.js')).readLog }) },
  '--dump-db': { load: async () => ({ run: (await import('./store-registration.js')).dumpDatabase }) },
  '--load-db': { load: async () => ({ run: (await import('./store-registration.js')).loadDatabase }) },
  '--register-validity': {
    load: async () => ({ run: (await import('./store-registration.js')).registerValidity }),
  },
  '--check-validity': {
    load: async () => ({ run: (await import('./store-registration.js')).checkValidity }),
  },
  '--init': { load: async () => ({ run: (await import('./store-registration.js')).initialise }) },
  '--gc': collect,
  '--dump': { load: async () => ({ run: (await import('./store-archives.js')).dump }) },
  '--restore': { load: async () => ({ run: (await import('./store-archives.js')).restore }) },
  '--export': { load: async () => ({ run: (await import('./store-export.js')).exportPaths }) },
  '--import': { load: async () => ({ run: (await import('./store-export.js')).importPaths }) },
  '--verify': { load: async () => ({ run: (await import('./store-verify.js')).verify }) },
  '--verify-path': { load: async () => ({ run: (await import('./store-verify.js')).verifyPaths }) },
  '--repair-path': { load: async () => ({ run: (await import('./store-care.js')).repairPaths }) },
  '--optimise': optimise,
  '--optimize': optimise,
  '--serve': { load: async () => ({ run: (await import('./store-serve.js')).serve }) },
  '--generate-binary-cache-key': {
    load: async () => ({ run: (await import('./store-key.js')).generateKey }),
  },
};
