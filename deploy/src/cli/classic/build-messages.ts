import { BuildFailure } from '@larder/builder/build-failure';
import type { BuildEvent, BuildListener } from '@larder/builder/realise/build-event';
import type { StoreDir } from '@larder/signing/store-path';
import { formatPlan, planAsNix } from '../build-plan.js';
import { type BuildProgress, shortName } from '../build-progress.js';
import { describeStart } from '../build-start.js';
import { TerminalBuildProgress } from '../build-terminal.js';
import { NixLogProgress } from '../nix-log-progress.js';
import { LEVEL, showError } from './messages.js';
import type { ToolSession } from './session.js';

/** Says on standard error how builds go on, as Nix's tools do: lines of their logs as they are, without their names. */
export class BuildMessages {
  readonly #session: ToolSession;
  readonly #storeDir: StoreDir;
  readonly #failures: BuildFailure[] = [];
  readonly #progress: BuildProgress | undefined;
  readonly #shown = new Set<Error>();

  constructor(session: ToolSession, storeDir: StoreDir) {
    this.#session = session;
    this.#storeDir = storeDir;
    const { logFormat, buildOutput } = session.arguments;
    const showFailure = (error: Error): void => this.showFailure(error);
    if (logFormat === 'internal-json') {
      this.#progress = new NixLogProgress(storeDir, {
        showFailure,
        plan: session.flag('print-missing', true),
      });
    } else if (logFormat === 'bar' && process.stderr.isTTY) {
      this.#progress = new TerminalBuildProgress(storeDir, { showFailure, logs: buildOutput });
    }
  }

  /** Shows an event, in the form that `--log-format` asks for. */
  readonly listener: BuildListener = (told) => {
    const event = told.type === 'planned' ? { ...told, plan: planAsNix(told.plan) } : told;
    if (event.type === 'build-failed') this.#failures.push(event.error);
    if (this.#progress === undefined) this.#show(event);
    else this.#progress.listener(event);
  };

  /** Ends what is shown only while builds run. */
  finish(): void {
    this.#progress?.finish();
  }

  /** The builds that failed. */
  get failures(): readonly BuildFailure[] {
    return this.#failures;
  }

  /** Shows an error, once. */
  showFailure(error: Error): void {
    if (this.#shown.has(error)) return;
    this.#shown.add(error);
    showError(this.#describe(error));
  }

  #describe(error: Error): string {
    if (error instanceof BuildFailure && typeof error.fields.brief === 'string') {
      // Nix names no differing files; and a log's last lines are on the screen already.
      if (error.code === 'not-deterministic' || this.#session.arguments.buildOutput)
        return error.fields.brief;
    }
    return error.message.replace(/'larder log /, "'nix-store -l ");
  }

  #show(event: BuildEvent): void {
    const session = this.#session;
    const format = (path: Parameters<StoreDir['format']>[0]): string => this.#storeDir.format(path);
    switch (event.type) {
      case 'planned':
        if (!session.flag('print-missing', true)) return;
        for (const line of formatPlan(event.plan, this.#storeDir)) session.say(line);
        return;
      case 'build-started':
        session.say(describeStart(event, format(event.derivation)));
        return;
      case 'build-log':
        if (session.arguments.buildOutput) session.say(this.#logLine(event), LEVEL.error);
        return;
      case 'hook-started':
        session.say(`running post-build-hook '${event.program}'...`);
        return;
      case 'hook-log':
        if (session.arguments.buildOutput) session.say(`post-build-hook: ${event.line}`, LEVEL.error);
        return;
      case 'build-failed':
        this.showFailure(event.error);
        return;
      case 'note':
        session.say(event.text, LEVEL.notice);
        return;
      case 'copy':
        if (event.event.type === 'started')
          session.say(`copying path '${format(event.event.path)}' from '${event.event.source}'...`);
        else if (event.event.type === 'retried') session.warn(event.event.error.message);
        return;
      case 'build-finished':
      case 'build-phase':
      case 'hook-finished':
        return;
    }
  }

  /** With a bar, lines have the names of what they come from: also where there is no terminal for it. */
  #logLine({ derivation, line }: Extract<BuildEvent, { type: 'build-log' }>): string {
    return this.#session.arguments.logFormat === 'bar' ? `${shortName(derivation)}> ${line}` : line;
  }
}
