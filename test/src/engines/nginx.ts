import { mkdir, writeFile } from 'node:fs/promises';
import { componentCommand } from './components.js';
import { neutralEnvironment } from './config.js';
import { guard, startGuarded } from './guarded.js';
import { freePort, makeScratch } from './scratch.js';

/** A running nginx; disposing of it ends it. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
}

/** An nginx in front of replicas. */
export type LoadBalancer = Nginx;

/** Starts nginx serving the files below `root`, tuned as its documentation advises for static files. */
export async function startNginx(root: string): Promise<Nginx> {
  return start(({ port }) => `server { listen 127.0.0.1:${port}; root ${root}; }`);
}

/** Starts nginx in front of servers on these ports, as `deploy/compose` has it. */
export async function startLoadBalancer(ports: readonly number[]): Promise<LoadBalancer> {
  const servers = ports.map((port) => `server 127.0.0.1:${port} max_fails=1 fail_timeout=1s;`).join(' ');
  return start(
    ({ port }) => `
  upstream replicas { ${servers} keepalive 32; }
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 0;
    location / {
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_connect_timeout 2s;
      proxy_read_timeout 60s;
      proxy_next_upstream error timeout;
    }
  }`,
  );
}

/** Starts nginx in front of a server, which has it send the files of the storage, as `cache-server/README.md` has it. */
export async function startAcceleratingProxy(port: number, storage: string): Promise<Nginx> {
  return start(
    ({ port: own }) => `
  upstream larder { server 127.0.0.1:${port}; keepalive 32; }
  server {
    listen 127.0.0.1:${own};
    client_max_body_size 0;
    location / {
      proxy_pass http://larder;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Sendfile-Type X-Accel-Redirect;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_read_timeout 1h;
    }
    location /larder-storage/ { internal; alias ${storage}/; }
  }`,
  );
}

async function start(site: (place: { readonly port: number }) => string): Promise<Nginx> {
  const scratch = await makeScratch('nginx');
  const port = await freePort();
  const file = scratch.join('nginx.conf');
  await mkdir(scratch.join('temp'));
  await writeFile(file, configuration({ site: site({ port }), scratch: scratch.path }));
  const url = `http://127.0.0.1:${port}`;
  const server = await startGuarded({
    command: guard,
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
  readonly site: string;
  readonly scratch: string;
}

function configuration({ site, scratch }: Configuration): string {
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
  ${site}
}
`;
}
