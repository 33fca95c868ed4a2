import { parentPort, workerData } from 'node:worker_threads';
import type { StorePath } from '@larder/signing/store-path';
import type { FetchedTree } from './eval/host.js';
import { RemoteServices } from './eval-rpc.js';
import { type ReplQuestion, runEvaluation } from './evaluation.js';
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
  // Writes go unanswered until something depends on them.
  let pending = false;
  const flush = (): void => {
    if (pending) services.call('flush');
    pending = false;
  };
  const write = (method: string, ...args: unknown[]): void => {
    pending = true;
    services.post(method, ...args);
  };
  const outcome = runEvaluation(request, {
    backend: {
      isValidPath: (path) => services.call('isValidPath', path) as boolean,
      queryReferences: (path) => services.call('queryReferences', path) as StorePath[],
      realPath: (path) => `${request.realStoreDir}/${path}`,
      addText: (path, contents, references) => {
        write('addText', path, contents, references);
      },
      addTree: (tree) => {
        write('addTree', tree);
      },
      ensurePath: (path) => {
        services.call('ensurePath', path);
      },
      flush,
      realise: (outputs) => services.call('realise', outputs) as StorePath[],
    },
    fetcher: {
      fetchUrl: (fetch) => services.call('fetchUrl', fetch) as string,
      fetchTree: (input) => services.call('fetchTree', input) as FetchedTree,
      fetchClosure: (closure) => services.call('fetchClosure', closure) as { contentAddressed: boolean },
    },
    flush,
    ask: (fresh) => services.call('ask', fresh) as ReplQuestion | undefined,
    tell: (completion) => {
      services.call('tell', completion);
    },
    addRoot: (link, storePath) => services.call('addRoot', link, storePath) as string,
  });
  port.postMessage({ done: outcome });
  port.close();
}

main();
