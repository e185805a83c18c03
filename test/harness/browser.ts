import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

export const CHROMIUM = '/usr/bin/chromium'

/** Quiet, without a window's graphics, and without a word to anybody outside. */
export const CHROMIUM_ARGS: readonly string[] = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Whether suites in a browser have to be left out here (apt-get install chromium). In CI they fail instead. */
export const noBrowser = !existsSync(CHROMIUM) && process.env['CI'] !== 'true'

/** Debian's Chromium, without a window and without a word to anybody outside. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_ARGS] })
}
