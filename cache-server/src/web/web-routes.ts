import type { Route } from '../http/route.js';
import type { Services } from '../http/services.js';
import { assetRoutes } from './assets.js';
import { cachePageRoute } from './cache-page.js';
import { closureRoute } from './closure-page.js';
import { filesRoute } from './files-page.js';
import { homeRoute } from './home-page.js';
import { logRoute } from './log-page.js';
import { loginRoutes, logoutRoute } from './login-page.js';
import { pathPageRoute } from './path-page.js';
import { pinsRoute } from './pins-page.js';
import { searchRoute } from './search-page.js';
import { tokenPageRoutes } from './tokens-page.js';
import { usageRoute } from './usage-page.js';

/** The pages for people, rendered here: they need no script, and have a little for who likes keys. */
export function webRoutes(services: Services): Route[] {
  return [
    ...assetRoutes,
    homeRoute(services),
    ...loginRoutes(services),
    logoutRoute(services),
    ...tokenPageRoutes(services),
    searchRoute(services),
    pinsRoute(services),
    usageRoute(services),
    pathPageRoute(services),
    closureRoute(services),
    filesRoute(services),
    logRoute(services),
    // Last: its path is that of anything at the top.
    cachePageRoute(services),
  ];
}
