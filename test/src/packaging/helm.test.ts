import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { loadConfig } from '@larder/cache-server/config';
import { Ajv } from 'ajv';
import { parse, parseAllDocuments } from 'yaml';
import { componentCommand, needsComponent } from '../engines/components.js';
import { neutralEnvironment } from '../engines/config.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { runProgram, tryProgram } from '../oracle/program.js';
import { fixture, packaged } from './packaging.js';

const chart = packaged('helm/larder');
const installed = { config: { storage: { bucket: 'larder' } } };
const everything = {
  config: {
    public_url: 'https://cache.example.org',
    storage: { bucket: 'larder', part_size: '16 MiB', path_style: true },
    database: { connections: 20 },
    uploads: { workers: 3 },
  },
  secrets: {
    databaseUrl: 'postgres://larder:p"w@db/larder',
    s3AccessKeyId: 'id',
    s3SecretAccessKey: 'secret',
    sealKey: Buffer.alloc(32, 7).toString('base64'),
    adminToken: 'larder_0123456789012345',
  },
  migrations: { createBucket: true },
  ingress: { enabled: true, className: 'nginx', tlsSecret: 'tls', annotations: { 'a/b': 'c' } },
  networkPolicy: { enabled: true },
  podAnnotations: { 'd/e': 'f' },
  imagePullSecrets: [{ name: 'registry' }],
  nodeSelector: { disk: 'ssd' },
  extraEnv: [{ name: 'AWS_REGION', value: 'eu-central-1' }],
};

interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

let scratch: Scratch;
let renderer: string | undefined;
before(async () => {
  scratch = await makeScratch('chart');
});
after(() => scratch[Symbol.asyncDispose]());

/** Compiles the renderer once, from Debian's copies of the libraries that Helm uses. */
async function compileRenderer(): Promise<string> {
  if (renderer !== undefined) return renderer;
  const binary = scratch.join('render');
  await runProgram(componentCommand('charts', 'go'), ['build', '-o', binary, './chart-renderer'], {
    cwd: fixture(),
    env: {
      ...neutralEnvironment(scratch.path),
      GO111MODULE: 'off',
      GOPATH: '/usr/share/gocode',
      GOFLAGS: '-buildvcs=false',
      GOCACHE: scratch.join('go-cache'),
    },
  });
  renderer = binary;
  return binary;
}

async function render(values: unknown, existing: object = {}): Promise<KubernetesObject[]> {
  const release = { Name: 'cache', Namespace: 'nix', Service: 'Helm' };
  const output = await runProgram(await compileRenderer(), [], {
    input: JSON.stringify({ chart, values, release, existing }),
  });
  const { 'NOTES.txt': _notes, ...files } = JSON.parse(output.toString()) as Record<string, string>;
  return Object.values(files).flatMap((text) =>
    parseAllDocuments(text).flatMap((document) => {
      assert.deepEqual(document.errors, [], text);
      const object = document.toJS() as KubernetesObject | null;
      return object === null ? [] : [object];
    }),
  );
}

function find(objects: readonly KubernetesObject[], kind: string, name = 'cache-larder'): KubernetesObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found !== undefined, `there is no ${kind} ${name}`);
  return found;
}

/** Checks an object against the schema of Kubernetes' own API. */
function validate(object: KubernetesObject): void {
  const module = createRequire(import.meta.url)(
    `kubernetes-models/${object.apiVersion}/${object.kind}`,
  ) as Record<string, new (data: unknown) => { validate(): void }>;
  const Model = module[object.kind];
  assert.ok(Model !== undefined, `${object.apiVersion} has no ${object.kind}`);
  assert.doesNotThrow(() => new Model(object).validate(), `${object.kind} ${object.metadata.name}`);
}

test('what the chart renders is what Kubernetes takes', async (t) => {
  if (!needsComponent(t, 'charts')) return;
  const minimal = await render(installed);
  const full = await render(everything);
  for (const object of [...minimal, ...full]) validate(object);
  assert.deepEqual(full.map(({ kind }) => kind).sort(), [
    ...['ConfigMap', 'Deployment', 'HorizontalPodAutoscaler', 'Ingress', 'Job', 'NetworkPolicy'],
    ...['PodDisruptionBudget', 'Secret', 'Secret', 'Service', 'ServiceAccount'],
  ]);
  assert.throws(() => validate({ ...find(full, 'Deployment'), spec: { replicas: 'two' } } as never));
});

test('the configuration it renders is one that the server loads', async (t) => {
  if (!needsComponent(t, 'charts')) return;
  for (const values of [installed, everything]) {
    const objects = await render(values);
    const file = scratch.join('larder.toml');
    await writeFile(file, find(objects, 'ConfigMap').data?.['larder.toml'] ?? '');
    const config = await loadConfig({ file, environment: {} });
    assert.equal(config.storage.engine === 's3' && config.storage.bucket, 'larder');
    assert.equal(config.keys.seal_key_file, '/run/secrets/larder/seal-key');
    assert.equal(config.listen.port, 8080);
    if (values === everything) assert.equal(config.uploads.workers, 3);
  }
});

test('seal key and admin token are made once', async (t) => {
  if (!needsComponent(t, 'charts')) return;
  const first = find(await render(installed), 'Secret', 'cache-larder-keys').stringData ?? {};
  assert.equal(Buffer.from(first['seal-key'] ?? '', 'base64').length, 32);
  assert.match(first['admin-token'] ?? '', /^larder_\w{43}$/);
  const again = await render(installed, { 'v1/Secret/nix/cache-larder-keys': { data: {} } });
  assert.equal(
    again.some(({ metadata }) => metadata.name === 'cache-larder-keys'),
    false,
    'an upgrade leaves it alone',
  );
  const halves = { ...installed, secrets: { adminToken: everything.secrets.adminToken } };
  const request = JSON.stringify({ chart, values: halves, release: { Name: 'x' }, existing: {} });
  const { status, stderr } = await tryProgram(await compileRenderer(), [], { input: request });
  assert.equal(status, 1);
  assert.match(stderr, /give both of secrets\.sealKey and secrets\.adminToken/);
});

test('values are checked by their schema before anything is rendered', async () => {
  const schema = JSON.parse(await readFile(`${chart}/values.schema.json`, 'utf8')) as object;
  const defaults = parse(await readFile(`${chart}/values.yaml`, 'utf8')) as Record<string, object>;
  const check = new Ajv({ strict: false, allErrors: true }).compile(schema);
  const accepts = (values: Record<string, unknown>): boolean =>
    check({
      ...defaults,
      ...values,
      config: { ...defaults.config, ...(values.config as object | undefined) },
    });
  const storage = { engine: 's3', bucket: 'b' };
  assert.ok(accepts({ config: { storage } }), JSON.stringify(check.errors));
  for (const wrong of [
    {},
    { config: { storage: { engine: 'disk' } } },
    { config: { storage, database: { engine: 'sqlite' } } },
    { config: { storage, data: '/elsewhere' } },
    { config: { storage: { ...storage, secret_access_key: 'x' } } },
    { config: { storage }, replica: 3 },
    { config: { storage }, secrets: { sealKey: 'short' } },
  ])
    assert.equal(accepts(wrong), false, JSON.stringify(wrong));
});
