/** A machine that is reached by ssh, and how. */
export interface SshTarget {
  /** A name or address, or a `Host` of ssh's own configuration. */
  readonly host: string;
  readonly user?: string;
  readonly port?: number;
  /** The file of the private key to log in with. */
  readonly keyFile?: string;
  /** The host's public key, `ssh-ed25519 AAAA…`; what ssh knows of it by itself without this. */
  readonly hostKey?: string;
  readonly compress?: boolean;
  /** More arguments for ssh: `NIX_SSHOPTS`. */
  readonly options: readonly string[];
}

/** `user@host`, for messages and for ssh. */
export function formatSshTarget({ host, user }: Pick<SshTarget, 'host' | 'user'>): string {
  return user === undefined ? host : `${user}@${host}`;
}

/**
 * The command line that runs a command on the target, in its login shell: what is quoted in `command` is for that
 * shell to take apart. As in Nix, `localhost` means this machine without ssh.
 */
export function sshCommand(target: SshTarget, command: readonly string[]): string[] {
  if (target.host === 'localhost' && target.user === undefined && target.port === undefined)
    return ['/bin/sh', '-c', command.join(' ')];
  return ['ssh', formatSshTarget(target), '-x', ...sshOptions(target), '--', ...command];
}

function sshOptions({ options, keyFile, hostKey, compress, port }: SshTarget): string[] {
  return [
    ...options,
    ...(keyFile === undefined ? [] : ['-i', keyFile]),
    // %H is the name that ssh looks for; this leaves no file behind (OpenSSH 8.5).
    ...(hostKey === undefined
      ? []
      : ['-oUserKnownHostsFile=/dev/null', `-oKnownHostsCommand=/usr/bin/env echo %H ${hostKey}`]),
    ...(compress === true ? ['-C'] : []),
    ...(port === undefined ? [] : [`-p${port}`]),
  ];
}

/** A word that a POSIX shell reads as this text. */
export function quoteForShell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Splits text into words as a POSIX shell does: blanks part them, quotes and backslashes keep blanks. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  for (const [word] of text.matchAll(/(?:[^\s"'\\]|\\[\s\S]|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+/g)) {
    words.push(
      word.replaceAll(
        /\\([\s\S])|"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'/g,
        (_whole, escaped: string | undefined, double: string | undefined, single: string | undefined) =>
          escaped ?? double?.replaceAll(/\\(["\\$`])/g, '$1') ?? single ?? '',
      ),
    );
  }
  return words;
}
