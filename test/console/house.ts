import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { buildConsole } from '../../console/build.ts'
import { runSluice, startSluice } from '../cli/run-sluice.ts'
import { startBrowser } from '../harness/browser.ts'
import { temporaryFolder } from '../harness/folder.ts'

/** A whole house as `sluice up --demo` starts it, and a real browser before it. */
export interface House extends AsyncDisposable {
  readonly data: string
  readonly browser: Browser
  /** What no page of ours may ever say. */
  readonly problems: readonly string[]
  /** An address that signs in once. */
  invite(...args: readonly string[]): Promise<{ readonly url: string; readonly code: string }>
  /** A page in a browser of its own that nobody signed in with. */
  fresh(options?: BrowserContextOptions): Promise<{ readonly context: BrowserContext; readonly page: Page }>
}

/** A page that signs in nowhere and tells what the browser complains about. */
export async function freshPage(
  browser: Browser,
  problems: string[],
  options: BrowserContextOptions = {},
): Promise<{ readonly context: BrowserContext; readonly page: Page }> {
  const context = await browser.newContext({
    // The authority of the cloud core is its own.
    ignoreHTTPSErrors: true,
    locale: 'en-GB',
    viewport: { width: 1280, height: 860 },
    ...options,
  })
  const page = await context.newPage()
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => {
    if (/Content.Security|Trusted|Uncaught/i.test(message.text())) problems.push(message.text())
  })
  return { context, page }
}

/** Builds the page as the sources have it now. */
export const buildPage = () => buildConsole(fileURLToPath(new URL('../../console/dist', import.meta.url)))

export async function startHouse(): Promise<House> {
  await using stack = new AsyncDisposableStack()
  await buildPage()
  const folder = stack.use(temporaryFolder('console'))
  const { path: data } = folder
  const up = startSluice(['up', '--demo', '--still', '--data', data, '--api-port', '0', '--hub-port', '0'])
  stack.defer(async () => {
    up.child.kill('SIGINT')
    await up.finished
  })
  await up.printed('default/meter-1 is online')
  const browser = await startBrowser()
  stack.defer(() => browser.close())
  const problems: string[] = []
  const held = stack.move()
  return {
    data,
    browser,
    problems,
    async invite(...args) {
      const port = args.includes('--cloud') ? [] : ['--port', '0']
      const { stdout, stderr } = await runSluice('console', '--data', data, '--json', ...port, ...args)
      if (stdout === '') throw new Error(stderr)
      return JSON.parse(stdout) as { url: string; code: string }
    },
    fresh: (options) => freshPage(browser, problems, options),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

export const SIZES = { desktop: { width: 1280, height: 860 }, phone: { width: 390, height: 844 } } as const

/** Where the pictures of the documentation go, when somebody wants them made anew. */
const pictures =
  process.env['SLUICE_PICTURES'] === undefined
    ? join(tmpdir(), 'sluice-console-pictures')
    : fileURLToPath(new URL('../../console/docs/', import.meta.url))

export async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(pictures, { recursive: true })
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true })
}
