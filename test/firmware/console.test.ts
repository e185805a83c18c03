import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { publish } from '../../cli/fw/rollout.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { buildPage, freshPage, picture, SIZES } from '../console/house.ts'
import { startBrowser } from '../harness/browser.ts'
import { Plant } from './plant.ts'

/** What the page shows of a rollout is what three real boards behind a real gateway say. */
describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('firmware in the console', { timeout: 120_000 }, () => {
  const plant = new Plant('mps2-an385', 3)
  const signal = AbortSignal.timeout(280_000)
  const problems: string[] = []
  let browser: Browser
  let page: Page
  const open = async (options: Parameters<typeof freshPage>[2] = {}) => {
    const fresh = await freshPage(browser, problems, options)
    const { stdout } = await runSluice('console', '--cloud', '--data', plant.cloudData, '--json')
    await fresh.page.goto((JSON.parse(stdout) as { url: string }).url)
    await fresh.page.locator('.house h1').waitFor()
    await fresh.page.goto(new URL('#/firmware', fresh.page.url()).href)
    await fresh.page.getByRole('heading', { name: 'Firmware', level: 1 }).waitFor()
    return fresh
  }

  beforeAll(async () => {
    await buildPage()
    await plant.begin()
    await plant.startCloud()
    await plant.apply()
    await plant.startAgent()
    await plant.device((device) => device.status?.state === 'online', signal)
    browser = await startBrowser()
    ;({ page } = await open())
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    await plant[Symbol.asyncDispose]()
  })

  it('begins a rollout, holds it after the canary, lets it go on, and shows what every board runs', async () => {
    await page.getByText('No release yet').waitFor()
    plant.version('0.2.0')
    const release = await plant.sign()
    await publish(plant.kube, cloudEndpoint(plant.cloudData), release, 'default', signal)
    await page.getByRole('row', { name: /0\.2\.0.*mps2-an385|ready.*0\.2\.0/ }).waitFor()
    const form = page.getByRole('region', { name: 'New rollout' })
    for (const name of plant.names) await form.getByLabel(name, { exact: true }).waitFor()
    await form.getByRole('button', { name: 'Begin' }).click()
    const rollout = page.getByRole('region', { name: /^Rollout:/ })
    await rollout.getByRole('button', { name: /^Pause/ }).click()
    await rollout.locator('header .badge', { hasText: 'paused' }).waitFor()
    await rollout.getByRole('row', { name: /confirmed.*0\.2\.0.*Canary/ }).waitFor({ timeout: 90_000 })
    expect(await rollout.getByRole('row', { name: /pending.*Wave 1/ }).count()).toBe(2)
    await rollout.getByRole('button', { name: /^Resume/ }).click()
    await rollout
      .getByRole('row', { name: /sending.*\d+\s?%/ })
      .first()
      .waitFor({ timeout: 30_000 })
    await rollout.locator('header .badge', { hasText: 'done' }).waitFor({ timeout: 90_000 })
    const boards = page.getByRole('region', { name: 'Boards' })
    // What boards run comes by their twins, what becomes of a rollout by its own object.
    await expect.poll(() => boards.getByRole('row', { name: /greenhouse-\d.*0\.2\.0/ }).count()).toBe(3)
    expect(problems).toEqual([])
  })

  it('looks like this', async () => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const look of ['light', 'dark', 'german'] as const) {
        const german = look === 'german'
        const fresh = await open({
          ...{ viewport, colorScheme: german ? 'light' : look },
          locale: german ? 'de-DE' : 'en-GB',
        })
        await fresh.page.getByRole('region', { name: german ? 'Platinen' : 'Boards' }).waitFor()
        await fresh.page.locator('details summary').first().click()
        await picture(fresh.page, `cloud-firmware-${look}-${size}`)
        await fresh.context.close()
      }
    }
  })
})
