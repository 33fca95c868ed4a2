import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, open, readdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Copy, DockerfileParser, type Entrypoint, type From, type Instruction } from 'dockerfile-ast';
import { componentCommand } from '../engines/components.js';
import { buildsImage } from '../engines/config.js';
import type { Scratch } from '../engines/scratch.js';
import { runProgram, tryProgram } from '../oracle/program.js';
import { repository } from './packaging.js';

interface Stage {
  readonly name: string | undefined;
  readonly base: string;
  readonly instructions: readonly Instruction[];
}

/** A process in the image. */
export interface Container {
  readonly exitCode: number | null;
  output(): Promise<string>;
  /** As an engine stops it; gives the exit code. */
  stop(): Promise<number | null>;
}

/** The files of the last stage, and how to start it. */
export interface ReplayedImage {
  run(environment: Readonly<Record<string, string>>): Promise<Container>;
  /** Runs the HEALTHCHECK; gives its exit code. */
  checkHealth(environment: Readonly<Record<string, string>>): Promise<number>;
}

/** Where the base image has Node. */
const NODE = '/nodejs/bin/node';
const WORK = '/opt/larder';

/** Replays a Dockerfile's instructions without a container engine; see docker.test.ts for how far. */
export async function replayImage(file: string, scratch: Scratch): Promise<ReplayedImage> {
  const stages = readStages(await readFile(file, 'utf8'));
  const last = stages.at(-1) as Stage;
  const isWhole = buildsImage();
  const roots = new Map<string, string>();
  if (isWhole) for (const stage of stages.slice(0, -1)) await buildStage(stage, roots, scratch);
  const root = scratch.join('image');
  await mkdir(root, { recursive: true });
  for (const instruction of last.instructions)
    if (instruction.getKeyword() === 'COPY') await replayCopy(instruction as Copy, root, roots);
  const data = scratch.join('volume');
  await mkdir(data);
  await chmod(scratch.path, 0o711);
  return started(last, { root, data, scratch });
}

function readStages(text: string): Stage[] {
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    if (instruction.getKeyword() === 'FROM') {
      const from = instruction as From;
      stages.push({ name: from.getBuildStage() ?? undefined, base: from.getImage() ?? '', instructions: [] });
    } else stages.at(-1)?.instructions.push(instruction);
  }
  return stages;
}

/** Replays one of the stages that come before the last: this machine stands in for the image it starts from. */
async function buildStage(stage: Stage, roots: Map<string, string>, scratch: Scratch): Promise<void> {
  const root = scratch.join(`stage-${stage.name}`);
  const parent = roots.get(stage.base);
  if (parent === undefined) await mkdir(join(root, WORK), { recursive: true });
  else await cp(parent, root, { recursive: true, verbatimSymlinks: true });
  roots.set(stage.name ?? '', root);
  for (const instruction of stage.instructions) {
    if (instruction.getKeyword() === 'COPY') await replayCopy(instruction as Copy, root, roots);
    if (instruction.getKeyword() !== 'RUN') continue;
    const script = (instruction.getRawArgumentsContent() ?? '').replace(/\\\n/g, ' ');
    await mkdir(join(root, 'var/lib'), { recursive: true });
    await runProgram(componentCommand('sandbox', 'bwrap'), [
      ...['--bind', '/', '/', '--dev', '/dev', '--bind', join(root, 'opt'), '/opt'],
      ...['--bind', join(root, 'var/lib'), '/var/lib', '--chdir', WORK, '/bin/sh', '-ec', script],
    ]);
  }
}

/** `COPY [--from=STAGE] SOURCE… TARGET`. */
async function replayCopy(copy: Copy, root: string, roots: ReadonlyMap<string, string>): Promise<void> {
  const from =
    copy
      .getFlags()
      .find((flag) => flag.getName() === 'from')
      ?.getValue() ?? undefined;
  const names = copy.getArguments().map((argument) => argument.getValue());
  const target = names.pop() ?? '';
  for (const name of names) {
    const inside = resolve(WORK, target);
    const to = join(root, target.endsWith('/') ? join(inside, name.split('/').at(-1) ?? '') : inside);
    await mkdir(dirname(to), { recursive: true });
    if (from !== undefined && !roots.has(from)) await copyFromClone(name, to);
    else if (from === undefined) await copyKept(join(repository, name), to);
    else await cp(join(roots.get(from) ?? '', name), to, { recursive: true, verbatimSymlinks: true });
  }
}

/** What a stage would have made, as this clone has it: modules that are not for development, and the build. */
async function copyFromClone(name: string, to: string): Promise<void> {
  const inside = name.slice(WORK.length + 1);
  if (!name.startsWith(`${WORK}/`)) await mkdir(to, { recursive: true });
  else if (inside === 'node_modules') await linkModules(to);
  else await copyKept(join(repository, inside), to);
}

async function copyKept(from: string, to: string): Promise<void> {
  await cp(from, to, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !/\/(node_modules|dist)$/.test(path) || path === from,
  });
}

/** Links to the modules that `npm ci --omit=dev` would leave. */
async function linkModules(to: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(repository, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: true; devOptional?: true; link?: true; resolved?: string }>;
  };
  for (const [path, { dev, link, resolved }] of Object.entries(lock.packages)) {
    const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path) ?? [];
    if (name === undefined || dev === true || resolved === 'test') continue;
    await mkdir(dirname(join(to, name)), { recursive: true });
    await symlink(link === true ? join(WORK, resolved ?? '') : join(repository, path), join(to, name));
  }
}

interface Place {
  readonly root: string;
  readonly data: string;
  readonly scratch: Scratch;
}

function started(stage: Stage, { root, data, scratch }: Place): ReplayedImage {
  const find = (keyword: string): Instruction | undefined =>
    stage.instructions.find((instruction) => instruction.getKeyword() === keyword);
  const words = (keyword: string): string[] =>
    (find(keyword) as Entrypoint | undefined)?.getJSONStrings().map((each) => each.getJSONValue()) ?? [];
  const own = Object.fromEntries(
    [...(find('ENV')?.getArgumentsContent() ?? '').matchAll(/(\w+)=(\S+)/g)].map(([, key, value]) => [
      key,
      value,
    ]),
  ) as Record<string, string>;
  const [user = '', group = ''] = (find('USER')?.getArgumentsContent() ?? '').split(':');
  // A process in the image: only it, the system's libraries, and nothing that can be written to but its volume and /tmp.
  const sandbox = (command: readonly string[]): string[] => [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--die-with-parent', '--as-pid-1'],
    ...['--uid', user, '--gid', group, '--cap-drop', 'ALL'],
    ...['/usr', '/lib', '/lib64', '/etc'].flatMap((path) => ['--ro-bind-try', path, path]),
    ...['--tmpfs', '/tmp', '--ro-bind', process.execPath, NODE, '--ro-bind', join(root, WORK), WORK],
    ...['--ro-bind', join(repository, 'node_modules'), join(repository, 'node_modules')],
    ...['--dev', '/dev', '--proc', '/proc', '--bind', data, '/var/lib/larder'],
    ...['--remount-ro', '/', '--chdir', WORK, '--', ...command],
  ];
  const bwrap = componentCommand('sandbox', 'bwrap');
  const withEnvironment = (environment: Readonly<Record<string, string>>, args: string[]): string[] => [
    '--clearenv',
    ...Object.entries({ ...own, ...environment }).flatMap(([key, value]) => ['--setenv', key, value]),
    ...args,
  ];
  return {
    async run(environment) {
      const command = [...words('ENTRYPOINT'), ...words('CMD')];
      const log = scratch.join('container.log');
      await using file = await open(log, 'a');
      const child = spawn(bwrap, withEnvironment(environment, sandbox(command)), {
        stdio: ['ignore', file.fd, file.fd],
      });
      return container(child, log);
    },
    async checkHealth(environment) {
      const check = find('HEALTHCHECK') as Instruction;
      const command = JSON.parse(
        /CMD\s+(\[.*\])/s.exec(check.getArgumentsContent() ?? '')?.[1] ?? '[]',
      ) as string[];
      return (await tryProgram(bwrap, withEnvironment(environment, sandbox(command)))).status;
    },
  };
}

function container(child: ChildProcess, log: string): Container {
  return {
    get exitCode() {
      return child.exitCode;
    },
    output: () => readFile(log, 'utf8'),
    async stop() {
      if (child.exitCode !== null) return child.exitCode;
      const ended = once(child, 'exit') as Promise<[number | null]>;
      await signalInside(child.pid ?? 0);
      return (await ended)[0];
    },
  };
}

/** bwrap does not pass signals on: the process in it is its child. */
async function signalInside(pid: number): Promise<void> {
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const children = (await readFile(`/proc/${pid}/task/${task}/children`, 'utf8')).trim().split(' ');
    for (const each of children) if (each !== '') process.kill(Number(each), 'SIGTERM');
  }
}
