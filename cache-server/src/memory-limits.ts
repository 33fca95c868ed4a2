import { totalmem } from 'node:os';
import type { ServerConfig } from './config.js';
import { BodyMemory } from './http/body-memory.js';
import { UploadRoom, type UploadRoomOptions } from './nars/upload-room.js';
import type { Metrics } from './observe/metrics.js';
import { isSupervised } from './processes/supervised.js';

/** Parts of an upload to S3 that are in memory at once: two on the wire, and the one being filled. */
const PARTS = 3;
/** What a file that is being written takes, in bytes. */
const FILE = 2 ** 20;

export interface MemoryLimits {
  readonly bodies: BodyMemory;
  readonly room: UploadRoom;
}

/** What clients may make this process hold in memory, whatever their number. */
export function limitMemory(config: ServerConfig, metrics: Metrics | undefined): MemoryLimits {
  const { limits } = config;
  const bodies = new BodyMemory({
    limit: limits.bodies,
    patience: limits.patience,
    onRefused: () => metrics?.overloaded('body'),
  });
  const room = openUploadRoom(config, {
    patience: limits.patience,
    onRefused: () => metrics?.overloaded('upload'),
  });
  metrics?.gauge('larder_body_bytes', 'Memory of request bodies that are read whole', () => bodies.held);
  metrics?.gauge('larder_upload_bytes', 'Memory set aside for uploads under way', () => room.load.held);
  metrics?.gauge('larder_uploads_running', 'NARs that are being taken in', () => room.load.running);
  metrics?.gauge('larder_uploads_waiting', 'NARs that wait for memory', () => room.load.waiting);
  return { bodies, room };
}

export function openUploadRoom(
  config: ServerConfig,
  waiting: Pick<UploadRoomOptions, 'patience' | 'onRefused'>,
): UploadRoom {
  const { storage, uploads } = config;
  const staging = storage.engine === 's3' ? PARTS * storage.part_size : FILE;
  return new UploadRoom({ memory: uploads.memory ?? defaultUploadMemory(config), staging, ...waiting });
}

/** A quarter of what the machine has, or the container may have. */
function defaultUploadMemory({ processes }: ServerConfig): number {
  const total = totalmem();
  // Without a limit it is 0, or more than any machine has.
  const allowed = process.constrainedMemory();
  const memory = allowed > 0 ? Math.min(total, allowed) : total;
  return Math.floor(memory / 4 / (isSupervised() ? processes : 1));
}
