import type { BootMenuWish } from './boot-spec.js';

/** One line of the boot menu. Paths are those the boot loader sees, on the file system that holds `/boot`. */
export interface BootEntry {
  /** Unique, and stable while the generation exists: what a default and a one-time choice name. */
  readonly id: string;
  readonly title: string;
  /** The profile, for grouping; `system` is the machine's own. */
  readonly profile: string;
  readonly generation: number;
  readonly date: Date;
  readonly kernel: string;
  readonly initrd?: string;
  /** The kernel's whole command line, `init=` included. */
  readonly parameters: readonly string[];
}

export interface BootMenu {
  /** The newest first; those of `system` before those of other profiles. */
  readonly entries: readonly BootEntry[];
  readonly defaultId: string;
  readonly wish: BootMenuWish;
}

/** `2026-11-22 20:15`, in the machine's own time zone. */
export function formatDate(date: Date): string {
  const two = (value: number): string => value.toString().padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}
