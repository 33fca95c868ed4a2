/** What the executable itself takes from its environment; the rooms read theirs in their own `config.ts`. */
export interface CliEnvironment {
  /** `LARDER_DEBUG`: show the stack of an error. */
  readonly debug: boolean;
  /** `LARDER_SERVER`: the server that `larder cache` and `larder token` administer. */
  readonly server: string | undefined;
  /** `LARDER_TOKEN_FILE`: the file with the token for it. */
  readonly tokenFile: string | undefined;
  /** `LARDER_ID_TOKEN`: what the CI system vouches for this job with. */
  readonly idToken: string | undefined;
  /** `ACTIONS_ID_TOKEN_REQUEST_URL` and `…_TOKEN`: where GitHub gives this job its ID token. */
  readonly githubIdToken: { readonly url: string; readonly token: string } | undefined;
  /** All variables, for processes that it starts. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

export function readCliEnvironment(environment: NodeJS.ProcessEnv = process.env): CliEnvironment {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token } = environment;
  return {
    debug: (environment.LARDER_DEBUG ?? '') !== '',
    server: environment.LARDER_SERVER || undefined,
    tokenFile: environment.LARDER_TOKEN_FILE || undefined,
    idToken: environment.LARDER_ID_TOKEN || undefined,
    githubIdToken: url && token ? { url, token } : undefined,
    variables: { ...environment },
  };
}

/** Where `larder rebuild` finds what it is to pin, before what a file says. */
export interface PinEnvironment {
  /** `LARDER_PIN_CACHE`: the cache, by its URL or its name. */
  readonly cache: string | undefined;
  /** `LARDER_PIN_NAME`: what the machine is called there. */
  readonly name: string | undefined;
  /** `LARDER_REBUILD_CONFIG`, else the user's and the system's `rebuild.toml`, the first that is there. */
  readonly files: readonly string[];
}

export function readPinEnvironment(environment: NodeJS.ProcessEnv = process.env): PinEnvironment {
  const { LARDER_REBUILD_CONFIG: explicit, XDG_CONFIG_HOME: configHome, HOME: home } = environment;
  const user = configHome ?? (home === undefined ? undefined : `${home}/.config`);
  const usual = [...(user === undefined ? [] : [`${user}/larder/rebuild.toml`]), '/etc/larder/rebuild.toml'];
  return {
    cache: environment.LARDER_PIN_CACHE || undefined,
    name: environment.LARDER_PIN_NAME || undefined,
    files: explicit === undefined ? usual : explicit === '' ? [] : [explicit],
  };
}

/** The environment of a program that is started: this process's own, with changes. */
export function childEnvironment(
  changes: Readonly<Record<string, string>>,
  environment: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  return { ...environment, ...changes };
}
