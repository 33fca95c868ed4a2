/** `personality(2)` bits. */
export const noAddressRandomization = 0x0040000;
export const linux32 = 0x0008;
export const linux26 = 0x0020000;

const loadAddress = 0x400000;
const headerSize = 64 + 56;
const failureMessage =
  'the builder cannot be executed: it is not there, is no program for this machine, or is given too much at once\n';

/**
 * A program of a few hundred bytes that becomes the builder: it sets the personality (Nix turns off address
 * space randomization, for determinism), turns off core dumps, closes every inherited file but the standard
 * three, and executes its first argument with the others as that program's arguments. The point is that the
 * first of those is free to choose: Nix calls a builder by its base name, and bubblewrap cannot.
 * Gives `undefined` for machines it is not written for. The program is x86-64 machine code in an ELF file.
 */
export function launcherProgram(personality: number, machine: string = process.arch): Buffer | undefined {
  if (machine !== 'x64') return undefined;
  const coreLimit = Buffer.concat([Buffer.alloc(8, 0), Buffer.alloc(8, 0xff)]);
  const message = Buffer.from(failureMessage, 'latin1');
  // The code's length does not depend on the addresses it mentions, so measure first.
  const length = machineCode({ personality, coreLimitAt: 0, messageAt: 0 }).length;
  const coreLimitAt = loadAddress + headerSize + length;
  const messageAt = coreLimitAt + coreLimit.length;
  const body = Buffer.concat([machineCode({ personality, coreLimitAt, messageAt }), coreLimit, message]);
  return Buffer.concat([elfHeader(headerSize + body.length), body]);
}

interface Addresses {
  readonly personality: number;
  readonly coreLimitAt: number;
  readonly messageAt: number;
}

function machineCode({ personality, coreLimitAt, messageAt }: Addresses): Buffer {
  const call = (number: number) => [0xb8, ...word(number), 0x0f, 0x05]; // mov eax, number; syscall
  const edi = (value: number) => [0xbf, ...word(value)];
  const esi = (value: number) => [0xbe, ...word(value)];
  const edx = (value: number) => [0xba, ...word(value)];
  return Buffer.from([
    ...edi(personality),
    ...call(135), // personality
    ...edi(4), // RLIMIT_CORE
    ...esi(coreLimitAt),
    ...call(160), // setrlimit
    ...edi(3),
    ...esi(0xffffffff),
    ...edx(0),
    ...call(436), // close_range
    ...[0x48, 0x8b, 0x7c, 0x24, 0x10], // mov rdi, [rsp+16]: the program
    ...[0x48, 0x8d, 0x74, 0x24, 0x18], // lea rsi, [rsp+24]: its arguments
    ...[0x48, 0x8b, 0x04, 0x24], // mov rax, [rsp]: how many we were given
    ...[0x48, 0x8d, 0x54, 0xc4, 0x10], // lea rdx, [rsp+rax*8+16]: the environment
    ...call(59), // execve, which returns only to say that it failed
    ...edi(2),
    ...esi(messageAt),
    ...edx(failureMessage.length),
    ...call(1), // write
    ...edi(127),
    ...call(60), // exit
  ]);
}

function word(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}

/** An ELF file header and one program header that maps the whole file. */
function elfHeader(fileSize: number): Buffer {
  const header = Buffer.alloc(headerSize);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16); // an executable
  header.writeUInt16LE(62, 18); // for x86-64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + headerSize), 24); // where it starts
  header.writeBigUInt64LE(64n, 32); // where the program header is
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64); // load this segment
  header.writeUInt32LE(5, 68); // readable, executable
  header.writeBigUInt64LE(BigInt(loadAddress), 80);
  header.writeBigUInt64LE(BigInt(loadAddress), 88);
  header.writeBigUInt64LE(BigInt(fileSize), 96);
  header.writeBigUInt64LE(BigInt(fileSize), 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return header;
}
