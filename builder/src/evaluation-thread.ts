import { parentPort, workerData } from 'node:worker_threads';
import type { StorePath } from '@larder/signing/store-path';
import { RemoteServices } from './eval-rpc.js';
import type { FetchedTree } from './eval/host.js';
import { runEvaluation } from './evaluation.js';
import type { EvaluationRequest } from './instantiate-request.js';

/** What the main thread starts an evaluating thread with. */
export interface ThreadData {
  readonly request: EvaluationRequest;
  readonly signal: SharedArrayBuffer;
}

/** The entry of the thread that evaluates: it has the deep stack that the main thread cannot have. */
function main(): void {
  const { request, signal } = workerData as ThreadData;
  const port = parentPort!;
  const services = new RemoteServices(port, signal);
  // Errors are messages to a user here, and there can be very many of them: no stack is ever looked at.
  Error.stackTraceLimit = 0;
  const status = runEvaluation(request, {
    backend: {
      isValidPath: (path) => services.call('isValidPath', path) as boolean,
      queryReferences: (path) => services.call('queryReferences', path) as StorePath[],
      realPath: (path) => `${request.realStoreDir}/${path}`,
      addText: (path, contents, references) => {
        services.call('addText', path, contents, references);
      },
      addTree: (path, { source, filter, method, hash, references }) => {
        services.call('addTree', path, { source, method, hash: hash.format('nix32'), references, filtered: filter !== undefined });
      },
      ensurePath: (path) => {
        services.call('ensurePath', path);
      },
      realise: (outputs) => services.call('realise', outputs) as StorePath[],
    },
    fetcher: {
      fetchUrl: (fetch) => services.call('fetchUrl', fetch) as string,
      fetchTree: (input) => services.call('fetchTree', input) as FetchedTree,
    },
    flush: () => {
      if (!request.readOnly) services.call('flush');
    },
    addRoot: (link, storePath) => services.call('addRoot', link, storePath) as string,
  });
  port.postMessage({ done: status });
  port.close();
}

main();
