import { readFileSync } from 'node:fs';
import { type Netrc, readNetrc } from '../settings/netrc.js';
import type { Settings } from '../settings/settings.js';

export interface HttpClientOptions {
  readonly netrc: Netrc;
  /** Connections to each server at most. */
  readonly connections: number;
  /** Milliseconds to wait for a connection. */
  readonly connectTimeout: number;
  /** Milliseconds without a byte after which a transfer counts as broken. */
  readonly stallTimeout: number;
  readonly attempts: number;
  readonly userAgent: string;
  /** PEM certificates to trust instead of Node's own. */
  readonly certificates?: string;
  /** `Authorization` for every request, before the netrc file. */
  readonly authorization?: string;
  readonly onRetry?: (error: unknown, delay: number) => void;
}

/** Where settings say nothing: Nix leaves it to curl, which waits five minutes. */
const defaultConnectTimeout = 15_000;

export function httpClientOptions(settings: Settings): HttpClientOptions {
  const certificateFile = settings.get('ssl-cert-file');
  const suffix = settings.get('user-agent-suffix');
  return {
    netrc: readNetrc(settings.get('netrc-file')),
    connections: settings.get('http-connections') || 25,
    connectTimeout: settings.get('connect-timeout') * 1000 || defaultConnectTimeout,
    stallTimeout: settings.get('stalled-download-timeout') * 1000,
    attempts: Math.max(1, settings.get('download-attempts')),
    userAgent: `larder${suffix === '' ? '' : ` ${suffix}`}`,
    certificates: certificateFile === '' ? undefined : readFileSync(certificateFile, 'utf8'),
  };
}
