import { NixError } from './errors.js';
import { machine } from './machine.js';

/** Whether a URI is one of the allowed prefixes or below one. */
export function isAllowedUri(uri: string, allowed: readonly string[]): boolean {
  return allowed.some((prefix) => {
    if (uri === prefix) return true;
    if (prefix === '' || !uri.startsWith(prefix)) return false;
    return prefix.endsWith('/') || uri[prefix.length] === '/' || /^[a-zA-Z][a-zA-Z0-9+.-]*:$/.test(prefix);
  });
}

/** Throws if restricted evaluation does not allow a URI to be fetched. */
export function checkUri(uri: string): void {
  const { settings, host } = machine;
  if (!settings.restrictEval || isAllowedUri(uri, settings.allowedUris)) return;
  const path = uri.startsWith('/')
    ? uri
    : uri.startsWith('file:///')
      ? uri.slice('file://'.length)
      : undefined;
  if (path !== undefined) {
    host.fileType(path);
    return;
  }
  throw new NixError('restricted-path', `access to URI '${uri}' is forbidden in restricted mode`);
}
