/** What the filter refuses on one kind of machine: system call numbers, and for `chmod` which argument is the mode. */
interface SyscallTable {
  /** `AUDIT_ARCH_…` of <linux/audit.h>. */
  readonly architecture: number;
  /** Calls that set permissions, with the position of the mode. */
  readonly chmod: readonly (readonly [call: number, argument: number])[];
  /** Calls that set extended attributes. */
  readonly setxattr: readonly number[];
  /** Bits to leave out of call numbers: x86-64 has a second range for its x32 programs. */
  readonly ignoredBits?: number;
}

const x86_64: SyscallTable = {
  architecture: 0xc000003e,
  chmod: [
    [90, 1],
    [91, 1],
    [268, 2],
    [452, 2],
  ],
  setxattr: [188, 189, 190, 463],
  ignoredBits: 0x40000000,
};
const i386: SyscallTable = {
  architecture: 0x40000003,
  chmod: [
    [15, 1],
    [94, 1],
    [306, 2],
    [452, 2],
  ],
  setxattr: [226, 227, 228, 463],
};
const aarch64: SyscallTable = {
  architecture: 0xc00000b7,
  chmod: [
    [52, 1],
    [53, 2],
    [452, 2],
  ],
  setxattr: [5, 6, 7, 463],
};
const arm: SyscallTable = {
  architecture: 0x40000028,
  chmod: [
    [15, 1],
    [94, 1],
    [333, 2],
    [452, 2],
  ],
  setxattr: [226, 227, 228, 463],
};

/** By Node's name for the machine: its own table, and those of the programs it can also run. */
const tables: Readonly<Record<string, readonly SyscallTable[]>> = {
  x64: [x86_64, i386],
  arm64: [aarch64, arm],
};

const loadWord = 0x20;
const andWith = 0x54;
const jumpIfEqual = 0x15;
const jumpIfAnyBit = 0x45;
const answer = 0x06;

const allow = 0x7fff0000;
const killThread = 0;
const fail = (errno: number) => 0x00050000 | errno;
const notPermitted = 1;
const notSupported = 95;

const setuidOrSetgid = 0o6000;
const callOffset = 0;
const architectureOffset = 4;
/** The lower half of an argument; the machines above are little-endian. */
const argumentOffset = (position: number) => 16 + position * 8;

type Instruction = readonly [code: number, value: number, ifTrue?: number, ifFalse?: number];

/**
 * The filter Nix puts on builders: nobody can make setuid or setgid files, or set extended attributes, neither
 * of which a store can hold. Gives a classic BPF program as `bwrap --seccomp` reads it, or `undefined` for a
 * machine whose system calls are not known here.
 */
export function seccompProgram(machine: string = process.arch): Buffer | undefined {
  const known = tables[machine];
  if (known === undefined) return undefined;
  const program: Instruction[] = [[loadWord, architectureOffset]];
  for (const table of known) {
    const rules = tableRules(table);
    program.push([jumpIfEqual, table.architecture, 0, rules.length], ...rules);
  }
  program.push([answer, killThread]);
  return encode(program);
}

function tableRules({ chmod, setxattr, ignoredBits }: SyscallTable): Instruction[] {
  const mask = (ignoredBits ?? 0) ^ 0xffffffff;
  const rules: Instruction[] = [
    [loadWord, callOffset],
    [andWith, mask >>> 0],
  ];
  for (const call of setxattr) rules.push([jumpIfEqual, call, 0, 1], [answer, fail(notSupported)]);
  for (const [call, argument] of chmod) {
    rules.push(
      [jumpIfEqual, call, 0, 4],
      [loadWord, argumentOffset(argument)],
      [jumpIfAnyBit, setuidOrSetgid, 0, 1],
      [answer, fail(notPermitted)],
      [answer, allow],
    );
  }
  rules.push([answer, allow]);
  return rules;
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, value, ifTrue = 0, ifFalse = 0]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(ifTrue, index * 8 + 2);
    bytes.writeUInt8(ifFalse, index * 8 + 3);
    bytes.writeUInt32LE(value >>> 0, index * 8 + 4);
  }
  return bytes;
}
