import { createHash } from 'node:crypto';
import { ServerError } from '../errors.js';
import type { OpenRoute } from '../http/route.js';
import { script } from './script.js';
import { style } from './style.js';

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#b8651b" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"><path d="M7 3h10v3.2c2 .9 3 2.600 3 4.800V18a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3v-7c0-2.200 1-3.900 3-4.800z"/><path d="M6 6.200h12M8 12h8M8 16h5"/></svg>`;

interface Asset {
  readonly type: string;
  readonly text: string;
}

/** Every asset under a name with its own hash: kept by browsers for ever, and new when it changes. */
const assets = new Map<string, Asset>();

function add(base: string, ending: string, asset: Asset): string {
  const hash = createHash('sha256').update(asset.text).digest('hex').slice(0, 12);
  const name = `${base}.${hash}.${ending}`;
  assets.set(name, asset);
  return `/assets/${name}`;
}

export const styleUrl = add('style', 'css', { type: 'text/css; charset=utf-8', text: style });
export const scriptUrl = add('script', 'js', { type: 'text/javascript; charset=utf-8', text: script });
export const iconUrl = add('icon', 'svg', { type: 'image/svg+xml', text: icon });

/** Stylesheet, script and icon. */
export const assetRoute: OpenRoute = {
  method: 'GET',
  path: '/assets/:asset',
  access: 'open',
  about: {
    summary: 'What the pages are made of',
    group: 'pages',
    answers: { 200: { what: 'Styles, scripts and images', type: '*/*' } },
  },
  handle(context) {
    const asset = assets.get(context.req.param('asset') ?? '');
    if (asset === undefined) throw new ServerError('not-found', `there is no ${context.req.path}`);
    return context.body(asset.text, 200, {
      'Content-Type': asset.type,
      'Cache-Control': 'public, max-age=31536000, immutable',
      'X-Content-Type-Options': 'nosniff',
    });
  },
};
