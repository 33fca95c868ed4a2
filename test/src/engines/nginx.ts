import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { componentCommand } from './components.js';
import { neutralEnvironment } from './config.js';
import { startGuarded } from './guarded.js';
import { freePort, makeScratch } from './scratch.js';

/** A running nginx; disposing of it ends it. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
}

/** Starts nginx serving the files below `root`, tuned as its documentation advises for static files. */
export async function startNginx(root: string): Promise<Nginx> {
  const scratch = await makeScratch('nginx');
  const port = await freePort();
  const file = scratch.join('nginx.conf');
  await mkdir(scratch.join('temp'));
  await writeFile(file, configuration({ root, port, scratch: scratch.path }));
  const url = `http://127.0.0.1:${port}`;
  const server = await startGuarded({
    command: fileURLToPath(new URL('../../engines/guard.sh', import.meta.url)),
    args: [scratch.path, 'TERM', componentCommand('nginx', 'nginx'), '-c', file, '-e', 'stderr'],
    env: neutralEnvironment(scratch.path),
    isReady: () =>
      fetch(url).then(
        () => true,
        () => false,
      ),
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

interface Configuration {
  readonly root: string;
  readonly port: number;
  readonly scratch: string;
}

function configuration({ root, port, scratch }: Configuration): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${scratch}/temp/${kind};`)
    .join('\n');
  return `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes auto;
pid ${scratch}/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log ${scratch}/access.log;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
${temporary}
  types { text/x-nix-narinfo narinfo; }
  default_type application/octet-stream;
  server { listen 127.0.0.1:${port}; root ${root}; }
}
`;
}
