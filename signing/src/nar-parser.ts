import {
  type ByteString,
  DEFAULT_NAR_LIMITS,
  entryNameFault,
  fromByteString,
  NAR_MAGIC,
  type NarLimits,
  narMalformed,
  paddingOf,
} from './nar-format.js';

/** What a regular file says before its contents. */
export interface NarFileHeader {
  readonly executable: boolean;
  /** Bytes of contents to come. */
  readonly size: number;
  /** Where the contents start in the archive. */
  readonly offset: number;
}

/**
 * Receives an archive's nodes in order. The root has the name `''`. `contents` gives pieces of the chunks written;
 * they are valid only during the call.
 */
export interface NarVisitor {
  enterDirectory(name: ByteString): void;
  leaveDirectory(): void;
  beginFile(name: ByteString, header: NarFileHeader): void;
  contents(chunk: Uint8Array): void;
  endFile(): void;
  symlink(name: ByteString, target: ByteString): void;
}

/** For archives that are only to be checked, or read to their end. */
export const ignoringVisitor: NarVisitor = {
  enterDirectory() {},
  leaveDirectory() {},
  beginFile() {},
  contents() {},
  endFile() {},
  symlink() {},
};

/** What the parser expects next. */
type State =
  | 'magic'
  | 'node-open'
  | 'node-type'
  | 'type-name'
  | 'file-tag'
  | 'executable-value'
  | 'contents-size'
  | 'file-close'
  | 'link-tag'
  | 'link-target'
  | 'link-close'
  | 'directory-tag'
  | 'entry-open'
  | 'entry-name-tag'
  | 'entry-name'
  | 'entry-node'
  | 'entry-close'
  | 'end';

/** Long enough for every keyword. */
const MAX_KEYWORD_LENGTH = 32;

/** The keyword that must come in a state, and the state after it. */
const FIXED: Readonly<Partial<Record<State, readonly [keyword: string, next: State]>>> = {
  magic: [NAR_MAGIC, 'node-open'],
  'node-open': ['(', 'node-type'],
  'node-type': ['type', 'type-name'],
  'executable-value': ['', 'file-tag'],
  'link-tag': ['target', 'link-target'],
  'entry-open': ['(', 'entry-name-tag'],
  'entry-name-tag': ['name', 'entry-name'],
  'entry-node': ['node', 'node-open'],
};

/**
 * A strict NAR parser that is fed chunks of any size and calls its visitor as it goes. Synchronous, and holds no more
 * than one keyword or name. Format: the Nix manual, "Nix Archive (NAR) format".
 *
 * `write` and `end` throw `nar-malformed` for anything that Nix's own writer would not produce: keywords out of place,
 * names unsorted, repeated or unsafe, padding that is not zero, lengths over the limits, bytes after the end.
 */
export class NarParser {
  readonly #visitor: NarVisitor;
  readonly #limits: NarLimits;
  /** A token whose bytes were not all in one chunk. */
  readonly #partial: Buffer;
  #partialLength = 0;
  #state: State = 'magic';
  #offset = 0;
  #contentsLeft = 0;
  #paddingLeft = 0;
  #contentsTotal = 0;
  #name: ByteString = '';
  #executable = false;
  /** The last entry's name of each open directory. */
  readonly #lastNames: ByteString[] = [];

  constructor(visitor: NarVisitor, limits: Partial<NarLimits> = {}) {
    this.#visitor = visitor;
    this.#limits = { ...DEFAULT_NAR_LIMITS, ...limits };
    const longest = Math.max(this.#limits.maxNameLength, this.#limits.maxTargetLength, MAX_KEYWORD_LENGTH);
    this.#partial = Buffer.allocUnsafe(16 + longest);
  }

  /** Bytes parsed so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Whether the archive is complete. */
  get done(): boolean {
    return this.#state === 'end';
  }

  write(data: Uint8Array): void {
    const chunk = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    let at = 0;
    while (at < chunk.length) {
      const used = this.#step(chunk, at);
      at += used;
      this.#offset += used;
    }
  }

  /** Takes bytes up to the archive's end, for streams that go on behind it; gives how many they were. */
  writePart(data: Uint8Array): number {
    const chunk = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    let at = 0;
    while (at < chunk.length && !this.done) {
      const used = this.#step(chunk, at);
      at += used;
      this.#offset += used;
    }
    return at;
  }

  /** Says that no more bytes come. @throws `nar-malformed` when the archive is cut short */
  end(): void {
    if (this.#state !== 'end') throw narMalformed('it is cut short', this.#offset);
  }

  /** Takes some bytes from `at`; returns how many. */
  #step(chunk: Buffer, at: number): number {
    if (this.#contentsLeft > 0) return this.#takeContents(chunk, at);
    if (this.#paddingLeft > 0) return this.#takePadding(chunk, at);
    if (this.#state === 'end') throw narMalformed('bytes follow its end', this.#offset);
    if (this.#partialLength > 0) return this.#takePartial(chunk, at);
    const needed = this.#tokenLength(chunk, at, chunk.length - at);
    if (needed > chunk.length - at) {
      this.#partialLength = chunk.copy(this.#partial, 0, at);
      return this.#partialLength;
    }
    this.#token(chunk, at, needed);
    return needed;
  }

  #takeContents(chunk: Buffer, at: number): number {
    const size = Math.min(this.#contentsLeft, chunk.length - at);
    this.#visitor.contents(at === 0 && size === chunk.length ? chunk : chunk.subarray(at, at + size));
    this.#contentsLeft -= size;
    if (this.#contentsLeft === 0) this.#finishContents();
    return size;
  }

  #finishContents(): void {
    this.#visitor.endFile();
    this.#state = 'file-close';
  }

  #takePadding(chunk: Buffer, at: number): number {
    const size = Math.min(this.#paddingLeft, chunk.length - at);
    checkZeros(chunk, at, size, this.#offset);
    this.#paddingLeft -= size;
    return size;
  }

  #takePartial(chunk: Buffer, at: number): number {
    const before = this.#partialLength;
    const needed = this.#tokenLength(this.#partial, 0, before);
    const size = Math.min(needed - before, chunk.length - at);
    chunk.copy(this.#partial, before, at, at + size);
    this.#partialLength += size;
    // The length itself may just have become known: then the next step asks for the rest.
    if (this.#partialLength < this.#tokenLength(this.#partial, 0, this.#partialLength)) return size;
    const length = this.#partialLength;
    this.#partialLength = 0;
    this.#token(this.#partial, 0, length);
    return size;
  }

  /** Bytes of the token at `at`: its length field, its bytes and padding; 8 while the length is not known. */
  #tokenLength(buffer: Buffer, at: number, available: number): number {
    if (available < 8 || this.#state === 'contents-size') return 8;
    const length = this.#readSize(buffer, at);
    const limit = this.#lengthLimit();
    if (length > limit) {
      throw narMalformed(`a string of ${length} bytes stands where at most ${limit} can be`, this.#offset);
    }
    return 8 + length + paddingOf(length);
  }

  #lengthLimit(): number {
    if (this.#state === 'entry-name') return this.#limits.maxNameLength;
    if (this.#state === 'link-target') return this.#limits.maxTargetLength;
    return MAX_KEYWORD_LENGTH;
  }

  #readSize(buffer: Buffer, at: number): number {
    const high = buffer.readUInt32LE(at + 4);
    if (high > 0x1fffff) throw narMalformed('a length is beyond 2^53 bytes', this.#offset);
    return high * 0x1_0000_0000 + buffer.readUInt32LE(at);
  }

  /** Handles one whole token in `buffer[at, at + length)`. */
  #token(buffer: Buffer, at: number, length: number): void {
    const size = this.#readSize(buffer, at);
    if (this.#state === 'contents-size') {
      this.#beginContents(size);
      return;
    }
    checkZeros(buffer, at + 8 + size, length - 8 - size, this.#offset);
    const text = buffer.toString('latin1', at + 8, at + 8 + size);
    const fixed = FIXED[this.#state];
    if (fixed === undefined) this.#choose(text);
    else if (text === fixed[0]) this.#state = fixed[1];
    else throw this.#unexpected(text, `'${fixed[0]}'`);
  }

  #beginContents(size: number): void {
    this.#contentsTotal += size;
    if (this.#contentsTotal > this.#limits.maxContentsSize) {
      throw narMalformed(`its files hold more than ${this.#limits.maxContentsSize} bytes`, this.#offset);
    }
    // The size field is still to be counted: contents start right behind it. Of a partial token, only the rest is.
    const offset = this.#contentsOffset;
    this.#visitor.beginFile(this.#name, { executable: this.#executable, size, offset });
    this.#contentsLeft = size;
    this.#paddingLeft = paddingOf(size);
    if (size === 0) this.#finishContents();
  }

  /** Contents start at a multiple of eight, as every token does; `#offset` may lag by up to one size field. */
  get #contentsOffset(): number {
    return this.#offset - (this.#offset % 8) + 8;
  }

  /** The states in which the archive says what comes. */
  #choose(text: string): void {
    if (this.#state === 'type-name') this.#openNode(text);
    else if (this.#state === 'file-tag') this.#fileTag(text);
    else if (this.#state === 'link-target') this.#link(text);
    else if (this.#state === 'directory-tag') this.#directoryTag(text);
    else if (this.#state === 'entry-name') this.#entryName(text);
    else if (text !== ')') throw this.#unexpected(text, "')'");
    else this.#state = this.#state === 'entry-close' ? 'directory-tag' : this.#afterNode();
  }

  #openNode(type: string): void {
    if (type === 'regular') {
      this.#executable = false;
      this.#state = 'file-tag';
    } else if (type === 'symlink') {
      this.#state = 'link-tag';
    } else if (type === 'directory') {
      if (this.#lastNames.length >= this.#limits.maxDepth) {
        throw narMalformed(`directories are nested deeper than ${this.#limits.maxDepth}`, this.#offset);
      }
      this.#lastNames.push('');
      this.#visitor.enterDirectory(this.#name);
      this.#state = 'directory-tag';
    } else throw this.#unexpected(type, "'regular', 'directory' or 'symlink'");
  }

  #fileTag(text: string): void {
    if (text === 'executable' && !this.#executable) {
      this.#executable = true;
      this.#state = 'executable-value';
    } else if (text === 'contents') this.#state = 'contents-size';
    else throw this.#unexpected(text, "'contents'");
  }

  #link(target: ByteString): void {
    if (target === '' || target.includes('\0')) {
      throw narMalformed('a symbolic link has an empty target or one with a NUL byte', this.#offset);
    }
    this.#visitor.symlink(this.#name, target);
    this.#state = 'link-close';
  }

  #directoryTag(text: string): void {
    if (text === 'entry') this.#state = 'entry-open';
    else if (text === ')') {
      this.#lastNames.pop();
      this.#visitor.leaveDirectory();
      this.#state = this.#afterNode();
    } else throw this.#unexpected(text, "'entry' or ')'");
  }

  #entryName(name: ByteString): void {
    const fault = entryNameFault(name);
    if (fault !== undefined)
      throw narMalformed(`'${printable(name)}' cannot name a file: ${fault}`, this.#offset);
    const last = this.#lastNames.at(-1)!;
    if (name <= last) {
      const why =
        name === last ? 'stands twice' : `comes after '${printable(last)}' and should come before it`;
      throw narMalformed(`'${printable(name)}' ${why} in its directory`, this.#offset);
    }
    this.#lastNames[this.#lastNames.length - 1] = name;
    this.#name = name;
    this.#state = 'entry-node';
  }

  #afterNode(): State {
    return this.#lastNames.length === 0 ? 'end' : 'entry-close';
  }

  #unexpected(text: string, wanted: string): Error {
    if (this.#state === 'magic') return narMalformed(`it does not start with '${NAR_MAGIC}'`, this.#offset);
    return narMalformed(`'${printable(text)}' stands where ${wanted} should`, this.#offset);
  }
}

function printable(bytes: ByteString): string {
  return JSON.stringify(fromByteString(bytes)).slice(1, -1);
}

function checkZeros(buffer: Buffer, at: number, size: number, offset: number): void {
  for (let index = at; index < at + size; index++) {
    if (buffer[index] !== 0) throw narMalformed('its padding is not zero', offset);
  }
}
