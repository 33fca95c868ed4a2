import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { componentCommand } from '../engines/components.js';
import { freePort } from '../engines/scratch.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';
import type { Machine } from './machine.js';

/** Software emulation on a busy machine is slow: a start takes ten seconds at best. */
const bootDeadline = 240_000;

/** A key to log in with. */
export interface LoginKey {
  readonly file: string;
  readonly publicKey: string;
}

export async function makeLoginKey(machine: Machine): Promise<LoginKey> {
  const file = machine.scratch.join('login-key');
  const command = componentCommand('machine', 'ssh-keygen');
  await runProgram(command, ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', file], {
    env: machine.env,
  });
  const publicKey = await runProgram(command, ['-y', '-f', file], { env: machine.env });
  return { file, publicKey: publicKey.toString().trim() };
}

/** Makes a disk whose only file system holds the machine's files. */
export async function makeDisk(machine: Machine, disk: string): Promise<void> {
  for (const each of ['dev', 'proc', 'sys', 'run', 'tmp', 'etc']) {
    await mkdir(machine.path(`/${each}`), { recursive: true });
  }
  const format = ['-q', '-t', 'ext4', '-F', '-L', 'machine', '-d', machine.root, disk, '400M'];
  await runProgram(componentCommand('machine', 'mke2fs'), format, { env: machine.env });
}

/**
 * Makes a CD that stands for GRUB in a disk's boot sector: all it does is to go on with the menu that is on the disk,
 * on the serial console.
 */
export async function makeGrubDisc(machine: Machine, disc: string): Promise<void> {
  const directory = machine.scratch.join('disc');
  await mkdir(`${directory}/boot/grub`, { recursive: true });
  const lines = [
    'serial --unit=0 --speed=115200',
    'terminal_input serial',
    'terminal_output serial',
    'search --no-floppy --label machine --set=root',
    'configfile ($root)/boot/grub/grub.cfg',
  ];
  await writeFile(`${directory}/boot/grub/grub.cfg`, `${lines.join('\n')}\n`);
  const command = componentCommand('machine', 'grub-mkrescue');
  await runProgram(command, ['-o', disc, directory], { env: machine.env });
}

/** QEMU with a machine in it: its console, and logins over SSH. */
export class VirtualMachine implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #port: number;
  readonly #key: LoginKey;
  #console = '';
  #isUp = false;

  private constructor(child: ChildProcess, port: number, key: LoginKey) {
    this.#child = child;
    this.#port = port;
    this.#key = key;
    const collect = (chunk: Buffer): void => {
      this.#console += chunk.toString('latin1');
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
  }

  /** Starts from a disk with a GRUB disc before it. */
  static async startDisk({ disk, disc, key }: { disk: string; disc: string; key: LoginKey }) {
    const port = await freePort();
    const args = [
      ...['-machine', 'q35,accel=tcg', '-cpu', 'max', '-m', '512', '-nographic'],
      ...['-boot', 'd', '-cdrom', disc, '-drive', `file=${disk},format=raw,if=virtio`],
      ...['-nic', `user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:${port}-:22`],
    ];
    return VirtualMachine.#start(componentCommand('machine', 'qemu-system-x86_64'), args, { port, key });
  }

  /** Starts the script that `rebuild build-vm` made, its port 22 forwarded from `port`. */
  static startScript(script: string, { port, key }: { port: number; key: LoginKey }): VirtualMachine {
    return VirtualMachine.#start(script, [], { port, key });
  }

  static #start(
    command: string,
    args: readonly string[],
    { port, key }: { port: number; key: LoginKey },
  ): VirtualMachine {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    child.on('error', () => undefined);
    return new VirtualMachine(child, port, key);
  }

  /** What the console has shown so far. */
  get console(): string {
    return this.#console;
  }

  /** Types on the console. */
  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Waits until the console shows something. */
  async waitForConsole(pattern: RegExp): Promise<void> {
    await this.#poll(
      async () => pattern.test(this.#console),
      () => `the console does not show ${pattern}`,
    );
  }

  /** Runs a command in the machine, as root; waits for the machine to be up. */
  async run(command: string): Promise<string> {
    if (!this.#isUp) {
      let last: ProgramResult | undefined;
      await this.#poll(
        async () => {
          last = await this.#ssh('true');
          return last.status === 0;
        },
        () => `no login: ${last?.stderr}`,
      );
      this.#isUp = true;
    }
    const { status, stdout, stderr } = await this.#ssh(command);
    if (status !== 0) throw new Error(`${command} ended with ${status} in the machine: ${stderr}${stdout}`);
    return stdout.toString().trim();
  }

  #ssh(command: string): Promise<ProgramResult> {
    const options = [
      'BatchMode=yes',
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      // QEMU accepts connections before there is anybody inside: those wait for an answer in vain.
      'ConnectTimeout=2',
      // Logging in is most of the work in an emulated machine: once is enough.
      'ControlMaster=auto',
      `ControlPath=${this.#key.file}-%p`,
      'ControlPersist=30',
    ];
    const args = [
      '-q',
      ...options.flatMap((each) => ['-o', each]),
      '-i',
      this.#key.file,
      '-p',
      String(this.#port),
    ];
    const signal = AbortSignal.timeout(60_000);
    return tryProgram(componentCommand('machine', 'ssh'), [...args, 'root@127.0.0.1', command], { signal });
  }

  async #poll(done: () => Promise<boolean>, complaint: () => string): Promise<void> {
    const end = Date.now() + bootDeadline;
    while (!(await done())) {
      if (this.#child.exitCode !== null || Date.now() > end) {
        throw new Error(`${complaint()}; the console's end:\n${this.#console.slice(-3000)}`);
      }
      await sleep(200);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined)
      return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}
