import type { ObjectStorage } from '../storage/storage.js';
import type { Observer } from './observer.js';

/** The same storage, with every operation told to an observer. Listing and sweeping are for nobody who waits, and are not. */
export function observeStorage(storage: ObjectStorage, observer: Observer): ObjectStorage {
  const timed = async <T>(operation: string, work: Promise<T>): Promise<T> => {
    const started = performance.now();
    let failed = true;
    try {
      const result = await work;
      failed = false;
      return result;
    } finally {
      observer.storage(operation, (performance.now() - started) / 1000, failed);
    }
  };
  const observed: Partial<ObjectStorage> = {
    put: (...args) => timed('put', storage.put(...args)),
    async stage(...args) {
      const staged = await timed('stage', storage.stage(...args));
      return {
        size: staged.size,
        publish: (key) => timed('publish', staged.publish(key)),
        [Symbol.asyncDispose]: () => staged[Symbol.asyncDispose](),
      };
    },
    get: (...args) => timed('get', storage.get(...args)),
    head: (key) => timed('head', storage.head(key)),
    delete: (keys) => timed('delete', storage.delete(keys)),
    check: () => timed('check', storage.check()),
  };
  return new Proxy(storage, {
    get(target, name) {
      if (Object.hasOwn(observed, name)) return Reflect.get(observed, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
