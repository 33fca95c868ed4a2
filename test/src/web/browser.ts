import assert from 'node:assert/strict';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { componentCommand } from '../engines/components.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';

export interface VisitOptions {
  readonly colorScheme?: 'light' | 'dark';
  readonly width?: number;
  readonly height?: number;
  readonly javaScriptEnabled?: boolean;
}

/** Debian's Chromium, with nothing of the machine's and no wish to talk to anyone else. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;
  readonly #scratch: Scratch;

  private constructor(browser: Browser, scratch: Scratch) {
    this.#browser = browser;
    this.#scratch = scratch;
  }

  static async start(): Promise<TestBrowser> {
    const scratch = await makeScratch('browser');
    const browser = await chromium.launch({
      executablePath: componentCommand('browser', 'chromium'),
      env: { PATH: process.env.PATH ?? '', HOME: scratch.path, TMPDIR: scratch.path },
      timeout: 180_000,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-dev-shm-usage',
      ],
    });
    return new TestBrowser(browser, scratch);
  }

  /** Someone at a browser of their own. Whatever it complains of is collected, and checked when it is closed. */
  async visit(server: string, options: VisitOptions = {}): Promise<Visitor> {
    const { colorScheme = 'light', width = 1180, height = 820, javaScriptEnabled = true } = options;
    const context = await this.#browser.newContext({
      baseURL: server,
      colorScheme,
      javaScriptEnabled,
      viewport: { width, height },
      reducedMotion: 'reduce',
    });
    context.setDefaultTimeout(120_000);
    return new Visitor(context, await context.newPage());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
    await this.#scratch[Symbol.asyncDispose]();
  }
}

export class Visitor implements AsyncDisposable {
  readonly page: Page;
  readonly #context: BrowserContext;
  readonly #complaints: string[] = [];

  constructor(context: BrowserContext, page: Page) {
    this.#context = context;
    this.page = page;
    page.on('console', (message) => {
      // A page that says 401 or 404 does so on purpose.
      if (message.type() === 'error' && !/status of 40[134]/.test(message.text()))
        this.#complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.#complaints.push(String(error)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
    assert.deepEqual(this.#complaints, [], 'the browser complained');
  }
}
