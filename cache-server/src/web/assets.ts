import { createHash } from 'node:crypto';
import type { OpenRoute } from '../http/route.js';
import { script } from './script.js';
import { style } from './style.js';

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#b8651b" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"><path d="M7 3h10v3.2c2 .9 3 2.600 3 4.800V18a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3v-7c0-2.200 1-3.900 3-4.800z"/><path d="M6 6.200h12M8 12h8M8 16h5"/></svg>`;

interface Asset {
  readonly name: string;
  readonly type: string;
  readonly text: string;
}

const styleSheet: Asset = { name: 'style.css', type: 'text/css; charset=utf-8', text: style };
const scriptFile: Asset = { name: 'script.js', type: 'text/javascript; charset=utf-8', text: script };
const iconFile: Asset = { name: 'icon.svg', type: 'image/svg+xml', text: icon };

/** With its hash: browsers keep it for ever, and ask anew when it changed. */
function urlOf({ name, text }: Asset): string {
  return `/assets/${name}?v=${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
}

export const styleUrl = urlOf(styleSheet);
export const scriptUrl = urlOf(scriptFile);
export const iconUrl = urlOf(iconFile);

/** Stylesheet, script and icon. */
export const assetRoutes: readonly OpenRoute[] = [styleSheet, scriptFile, iconFile].map(
  ({ name, type, text }) => ({
    method: 'GET',
    path: `/assets/${name}`,
    access: 'open',
    about: {
      summary: 'A part of the pages',
      group: 'pages',
      answers: { 200: { what: 'It', type } },
    },
    handle: (context) =>
      context.body(text, 200, {
        'Content-Type': type,
        'Cache-Control': 'public, max-age=31536000, immutable',
        'X-Content-Type-Options': 'nosniff',
      }),
  }),
);
