import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { componentCommand, needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { type ProgramResult, tryProgram } from '../oracle/program.js';
import { TestServer } from '../server/running.js';
import { npmCommand, packaged } from './packaging.js';

test("GitHub's schema takes the action", async () => {
  const validator = await npmCommand('@action-validator/cli', 'action-validator');
  const { status, stdout, stderr } = await tryProgram(process.execPath, [
    validator,
    packaged('github-action/action.yml'),
  ]);
  assert.equal(status, 0, `${stdout.toString()}${stderr}`);
});

test('its script has nothing that shellcheck minds', async (t) => {
  if (!needsComponent(t, 'shellcheck')) return;
  const { status, stdout } = await tryProgram(componentCommand('shellcheck', 'shellcheck'), [
    packaged('github-action/larder.sh'),
  ]);
  assert.equal(status, 0, stdout.toString());
});

/** A job of a workflow, on a runner that has stock Nix. */
class Job implements AsyncDisposable {
  readonly nix: Nix;
  readonly #env: Record<string, string>;

  private constructor(nix: Nix, env: Record<string, string>) {
    this.nix = nix;
    this.#env = env;
  }

  static async start(inputs: Record<string, string>): Promise<Job> {
    const nix = await Nix.create({ storeDir: 'diverted' });
    await mkdir(nix.scratch.join('runner'));
    return new Job(nix, {
      ...nix.environment,
      RUNNER_TEMP: nix.scratch.join('runner'),
      GITHUB_OUTPUT: nix.scratch.join('output'),
      ...inputs,
    });
  }

  run(mode: string, inputs: Record<string, string> = {}): Promise<ProgramResult> {
    return tryProgram('bash', [packaged('github-action/larder.sh'), mode], {
      env: { ...this.#env, ...inputs },
    });
  }

  /** Builds something whose name is its contents. */
  async build(name: string): Promise<string> {
    const expression = `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo ${name} > $out" ]; }`;
    const file = this.nix.scratch.join('build.nix');
    await writeFile(file, expression);
    const drv = await this.nix.run('nix-instantiate', [file]);
    return this.nix.run('nix-store', ['--realise', drv]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nix[Symbol.asyncDispose]();
  }
}

test('a job configures Nix, builds, and pushes what it built', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using server = await TestServer.start();
  await using job = await Job.start({ LARDER_TOKEN: server.token, LARDER_CACHE: `${server.url}/ci` });
  // Of this store directory: the store is a scratch directory.
  const made = await server.post('/api/v1/caches', { name: 'ci', storeDir: job.nix.storeDir.path });
  assert.equal(made.status, 201);
  const { publicKeys } = (await made.json()) as { publicKeys: string[] };
  const before = await job.build('before');

  const setup = await job.run('setup');
  assert.equal(setup.status, 0, setup.stdout.toString() + setup.stderr);
  const conf = await readFile(job.nix.scratch.join('conf/nix.conf'), 'utf8');
  assert.match(conf, new RegExp(`^extra-substituters = ${server.url}/ci$`, 'm'));
  assert.ok(conf.includes(`extra-trusted-public-keys = ${publicKeys[0]}`), conf);
  assert.equal(setup.stdout.toString().includes(server.token), false);

  const built = await job.build('built');
  const push = await job.run('push');
  assert.equal(push.status, 0, push.stdout.toString() + push.stderr);
  assert.match(await readFile(job.nix.scratch.join('output'), 'utf8'), /^pushed=1$/m);
  const status = async (path: string): Promise<number> => {
    const [hash] = path.slice(job.nix.storeDir.path.length + 1).split('-');
    return (await server.fetch(`/ci/${hash}.narinfo`)).status;
  };
  assert.equal(await status(built), 200);
  assert.equal(await status(before), 404, 'only what the job built');

  const chosen = await job.run('push', { LARDER_PATHS: before });
  assert.equal(chosen.status, 0, chosen.stderr);
  assert.equal(await status(before), 200);
});

test('what is wrong with a job is said', async () => {
  await using server = await TestServer.start();
  await using job = await Job.start({ LARDER_CACHE: `${server.url}/absent` });
  const noCache = await job.run('setup');
  assert.equal(noCache.status, 1);
  assert.match(noCache.stderr, /::error title=Larder::cannot read the keys of .*absent/);
  const noSetup = await job.run('push');
  assert.equal(noSetup.status, 1);
  assert.match(noSetup.stderr, /run the action with mode "setup" first/);
});
