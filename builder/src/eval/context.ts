/**
 * String contexts: what of the store a string depends on. An element is text over store path base names:
 * `<path>` is the path itself, `=<drv>` the derivation with all it needs, `!<output>!<drv>` one output of it.
 */
export type Context = ReadonlySet<string>;

export type ContextElement =
  | { readonly kind: 'opaque'; readonly path: string }
  | { readonly kind: 'drv-deep'; readonly drv: string }
  | { readonly kind: 'built'; readonly drv: string; readonly output: string };

/** Reads one element; a derivation inside may itself be a built one (`!out!…`). */
export function parseContextElement(text: string): ContextElement {
  if (text.startsWith('=')) return { kind: 'drv-deep', drv: text.slice(1) };
  if (text.startsWith('!')) {
    const separator = text.indexOf('!', 1);
    return { kind: 'built', output: text.slice(1, separator), drv: text.slice(separator + 1) };
  }
  return { kind: 'opaque', path: text };
}

export function formatContextElement(element: ContextElement): string {
  switch (element.kind) {
    case 'opaque':
      return element.path;
    case 'drv-deep':
      return `=${element.drv}`;
    case 'built':
      return `!${element.output}!${element.drv}`;
  }
}

/** Gathers the contexts of the strings that make up another; allocates only when two differ. */
export class ContextCollector {
  private current: Context | undefined;
  private owned: Set<string> | undefined;

  addAll(context: Context): void {
    if (this.current === undefined) {
      this.current = context;
      return;
    }
    if (this.current === context) return;
    for (const element of context) this.add(element);
  }

  add(element: string): void {
    if (this.current?.has(element)) return;
    if (this.owned === undefined) {
      this.owned = new Set(this.current);
      this.current = this.owned;
    }
    this.owned.add(element);
  }

  /** What was gathered; undefined if nothing. */
  get context(): Context | undefined {
    return this.current !== undefined && this.current.size > 0 ? this.current : undefined;
  }

  /** The elements in the order Nix keeps them in. */
  sorted(): string[] {
    return this.current === undefined ? [] : [...this.current].sort();
  }
}
