import { cacheFileOf, isCacheable, readCache } from '@larder/builder/evaluation-cache';
import { parseInstantiateArguments } from '@larder/builder/instantiate-arguments';
import { describeMachine } from '../evaluation-machine.js';

/**
 * What `larder instantiate` printed, on both streams, when it was last called so, if nothing that it read has changed since.
 * `undefined` where that is not known, or where it depended on what the store has.
 *
 * The store is not asked: the derivations that the call wrote may be gone by now.
 * @param args the words after `instantiate`
 */
export function recallInstantiation(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): { readonly output: string; readonly messages: string } | undefined {
  const { settings, surroundings } = describeMachine(environment);
  const request = parseInstantiateArguments(args, surroundings);
  if (!request.settings.evalCache || !isCacheable(request)) return undefined;
  const record = readCache(cacheFileOf(settings.directories.cacheDir.value, request), request);
  if (record === undefined || record.validity.length > 0) return undefined;
  const messages = record.messages.map((message) => `${message}\n`).join('');
  return { output: record.output, messages: Buffer.from(messages, 'latin1').toString() };
}
