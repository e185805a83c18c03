import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { type House, picture, SIZES, startHouse } from './house.ts'
import { PodGateways } from './pod-gateways.ts'

const missing = missingForPods()
/** A machine without what pods need may go without their pictures; a CI run may not. */
const withPods = missing === undefined || process.env['CI'] !== undefined

let house: House
let pods: PodGateways | undefined
/** The gateway on which the pod of the pictures runs. */
let where = ''
beforeAll(async () => {
  house = await startHouse()
  if (!withPods) return
  pods = await PodGateways.start(house, ['gw-2', 'gw-3'])
  await pods.run('patrol', {
    annotations: { 'fluidos-intent-latency': '10s', 'fluidos-intent-energy': 'low' },
    command: 'i=0; while true; do echo round $i of the yard; i=$((i+1)); sleep 1; done',
  })
  await pods.run('camera', { command: 'sleep 10000' })
  await pods.run('beacon', { annotations: { 'fluidos-intent-location': 'roof' }, command: 'sleep 10000' })
  where = await pods.place('patrol')
  await pods.place('camera')
}, 120_000)
afterAll(async () => {
  await pods?.[Symbol.asyncDispose]()
  await house?.[Symbol.asyncDispose]()
}, 60_000)

/** What a reader would notice at a glance, measured: nothing wider than the page, nothing on top of something else. */
async function lookedAt(page: Page, name: string): Promise<string[]> {
  const faults = await page.evaluate(() => {
    const found: string[] = []
    const root = document.documentElement
    if (root.scrollWidth > root.clientWidth)
      found.push(`wider than the page: ${root.scrollWidth} > ${root.clientWidth}`)
    const boxes = [
      ...document.querySelectorAll(
        '.widget > *, .panel > header > *, .title > *, .top > *, .field > *, .lanes > *, .pod > *, .rooms > *, .wave > *',
      ),
    ]
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && box.height > 0)
    for (const [at, a] of boxes.entries()) {
      for (const b of boxes.slice(at + 1)) {
        if (a.element.parentElement !== b.element.parentElement) continue
        const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left)
        const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top)
        if (across > 1 && down > 1) found.push(`overlapping: ${a.element.className} and ${b.element.className}`)
      }
    }
    return found
  })
  return faults.map((fault) => `${name}: ${fault}`)
}

/** What has to be there, or is to be open, before the picture is taken. */
const PREPARE: Readonly<Record<string, (page: Page) => Promise<unknown>>> = {
  device: (page) => page.locator('.plot canvas').waitFor(),
  async gateway(page) {
    await page.locator('.sankey text').first().waitFor()
    await page.locator('.area canvas').waitFor()
  },
  async pods(page) {
    await page.locator('.sankey text').first().waitFor()
    await page.locator('.area canvas').waitFor()
    await page.getByRole('button', { name: 'Logs: patrol' }).click()
    await page.locator('.log time').nth(2).waitFor()
  },
  async terminal(page) {
    await page.getByRole('button', { name: 'Terminal: patrol' }).click()
    await page.getByText('F6 leads out').waitFor()
    await page.keyboard.type('ls -l /\n')
    await expect.poll(() => page.locator('.xterm-rows').textContent()).toContain('tmp')
  },
  async offload(page) {
    await page.getByRole('button', { name: /^patrol/ }).click()
    await page.locator('.candidates').waitFor()
  },
  async plan(page) {
    await page.locator('.register').first().waitFor()
    await page.getByLabel('Read every').selectOption('250ms')
    await page.getByText('As tried').waitFor()
  },
  async models(page) {
    await page.getByRole('button', { name: /speed-drive/ }).click()
    await page.locator('.findings .sound').waitFor()
    await page.getByRole('button', { name: 'Read once' }).click()
    await page.getByText('Answered in').waitFor({ timeout: 15_000 })
    await page.getByRole('textbox', { name: 'Model as YAML' }).press('Control+End')
    await page.keyboard.type('    - {name: reserve, ')
    await page.keyboard.press('Control+Space')
    await page.getByRole('listbox').waitFor()
  },
  async join(page) {
    await page.getByLabel('Name of the gateway').fill('gw-4')
    await page.getByRole('button', { name: 'Make a token' }).click()
    await page.locator('canvas.qr').waitFor()
  },
}

async function album(kind: 'gateway' | 'cloud', views: Readonly<Record<string, string>>): Promise<string[]> {
  const faults: string[] = []
  for (const [size, viewport] of Object.entries(SIZES)) {
    const { page, context } = await house.fresh({ viewport })
    const { url } = await house.invite(...(kind === 'cloud' ? ['--cloud'] : []))
    await page.goto(url.replace(/#.*/, ''))
    await page.getByLabel('One-time code').waitFor()
    await picture(page, `${kind}-sign-in-light-${size}`)
    await page.goto(url)
    await page.locator('.house h1').waitFor()
    for (const [name, path] of Object.entries(views)) {
      await page.goto(new URL('#/audit', page.url()).href)
      await page.goto(new URL(`#/${path}`, page.url()).href)
      await page.locator('main h1').waitFor()
      await expect.poll(() => page.locator('main', { hasText: 'Loading' }).count()).toBe(0)
      await PREPARE[name]?.(page)
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        const file = `${kind}-${name}-${colorScheme}-${size}`
        faults.push(...(await lookedAt(page, file)))
        await picture(page, file)
      }
    }
    await context.close()
  }
  return faults
}

describe('pictures of every view, light and dark, desktop and phone', { timeout: 180_000 }, () => {
  it('at the gateway', async () => {
    const views = {
      gateway: 'gateway/gw-1',
      device: 'device/default/drive-1',
      meter: 'device/default/meter-1',
      plan: 'plan/default/meter-1',
      devices: 'devices',
      discovery: 'discovery',
      audit: 'audit',
    }
    expect(await album('gateway', views)).toEqual([])
  })

  it('of the fleet', async () => {
    const views = {
      fleet: 'fleet',
      gateway: 'gateway/gw-1',
      device: 'device/default/drive-1',
      devices: 'devices',
      discovery: 'discovery',
      models: 'models',
      plan: 'plan/default/drive-1',
      ...(withPods ? { offload: 'offload', pods: `gateway/${where}`, terminal: `gateway/${where}` } : {}),
      join: 'join',
      audit: 'audit',
    }
    expect(await album('cloud', views)).toEqual([])
  })

  it('in German', async () => {
    const { page, context } = await house.fresh({ locale: 'de-DE' })
    await page.goto((await house.invite()).url)
    await page.getByRole('link', { name: 'drive-1' }).click()
    await page.getByRole('heading', { name: 'Einstellungen' }).waitFor()
    expect(await page.locator('html').getAttribute('lang')).toBe('de')
    expect(await lookedAt(page, 'german')).toEqual([])
    await picture(page, 'gateway-device-german')
    await context.close()
  })
})
