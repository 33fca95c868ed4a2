/** How a tool was called. */
export interface ToolContext {
  /** `nix-store`, …: for its messages. */
  readonly name: string;
  readonly environment: NodeJS.ProcessEnv;
}
