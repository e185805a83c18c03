import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { TEXTS, type TextKey } from '../../console/src/texts.ts'
import { tellFound } from './found.ts'
import { type House, picture, SIZES, startHouse } from './house.ts'
import { PodGateways } from './pod-gateways.ts'

const missing = missingForPods()
/** A machine without what pods need may go without their pictures; a CI run may not. */
const withPods = missing === undefined || process.env['CI'] !== undefined

/** Long words are in want of room on a phone; on a desktop they are looked at when the pictures are made. */
const GERMAN_SIZES: readonly (keyof typeof SIZES)[] =
  process.env['SLUICE_PICTURES'] === undefined ? ['phone'] : ['desktop', 'phone']

let house: House
let pods: PodGateways | undefined
/** The gateway on which the pod of the pictures runs. */
let where = ''
beforeAll(async () => {
  house = await startHouse()
  await tellFound(house)
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
    const worded = 'button, .badge, h1, h2, h3, th, td, dt, dd, label, .cell, .pod, option[selected]'
    for (const element of document.querySelectorAll<HTMLElement>(worded)) {
      const { overflowX, textOverflow } = getComputedStyle(element)
      const cut = element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
      if (cut && overflowX !== 'auto' && overflowX !== 'scroll' && textOverflow !== 'ellipsis')
        found.push(
          `cut or sticking out: ${element.tagName} ${element.className} '${element.textContent?.slice(0, 40)}'`,
        )
    }
    return found
  })
  return faults.map((fault) => `${name}: ${fault}`)
}

/** A text of the console in the language of the pictures. */
type Words = (key: TextKey) => string

/** What has to be there, or is to be open, before the picture is taken. */
const PREPARE: Readonly<Record<string, (page: Page, say: Words) => Promise<unknown>>> = {
  device: (page) => page.locator('.plot canvas').waitFor(),
  async gateway(page) {
    await page.locator('.sankey text').first().waitFor()
    await page.locator('.area canvas').waitFor()
  },
  async pods(page, say) {
    await page.locator('.sankey text').first().waitFor()
    await page.locator('.area canvas').waitFor()
    await page.getByRole('button', { name: `${say('logs')}: patrol` }).click()
    await page.locator('.log time').nth(2).waitFor()
  },
  async terminal(page, say) {
    await page.getByRole('button', { name: `${say('terminal')}: patrol` }).click()
    await page.getByText(say('terminalHint')).waitFor()
    await page.keyboard.type('ls -l /\n')
    await page.locator('.xterm-rows', { hasText: 'tmp' }).waitFor()
  },
  async offload(page) {
    await page.getByRole('button', { name: /^patrol/ }).click()
    await page.locator('.candidates').waitFor()
  },
  async discovery(page, say) {
    // At the gateway nobody approves.
    const approve = page.getByRole('button', { name: say('approveAs').replace('{name}', 'Drive') })
    if ((await approve.count()) > 0) await approve.click()
  },
  async plan(page, say) {
    await page.locator('.register').first().waitFor()
    await page.getByLabel(say('readEvery')).selectOption('250ms')
    await page.getByText(say('tried')).waitFor()
  },
  async models(page, say) {
    await page.getByRole('button', { name: /speed-drive/ }).click()
    await page.locator('.findings .sound').waitFor()
    await page.getByRole('button', { name: say('tryRead') }).click()
    await page.getByText(say('tookTime').replace(/ ?\{.*/, '')).waitFor({ timeout: 15_000 })
    await page.getByRole('textbox', { name: say('modelText') }).press('Control+End')
    await page.keyboard.type('    - {name: reserve, ')
    await page.keyboard.press('Control+Space')
    await page.getByRole('listbox').waitFor()
  },
  async join(page, say) {
    await page.getByLabel(say('gatewayName')).fill('gw-4')
    await page.getByRole('button', { name: say('makeToken') }).click()
    await page.locator('canvas.qr').waitFor()
  },
}

interface Album {
  readonly kind: 'gateway' | 'cloud'
  readonly views: Readonly<Record<string, string>>
  readonly sizes: readonly (keyof typeof SIZES)[]
  /** In German there is one colour scheme: what differs is the length of the words. */
  readonly german?: boolean
}

async function album({ kind, views, sizes, german = false }: Album): Promise<string[]> {
  const faults: string[] = []
  const say: Words = (key) => TEXTS[key][german ? 1 : 0]
  for (const size of sizes) {
    const { page, context } = await house.fresh({ viewport: SIZES[size], ...(german ? { locale: 'de-DE' } : {}) })
    const take = async (name: string, scheme: 'light' | 'dark') => {
      const file = `${kind}-${name}-${german ? 'german' : scheme}-${size}`
      faults.push(...(await lookedAt(page, file)))
      await picture(page, file)
    }
    const { url } = await house.invite(...(kind === 'cloud' ? ['--cloud'] : []))
    await page.goto(url.replace(/#.*/, ''))
    await page.getByLabel(say('code')).waitFor()
    await take('sign-in', 'light')
    await page.goto(url)
    await page.locator('.house h1').waitFor()
    expect(await page.locator('html').getAttribute('lang')).toBe(german ? 'de' : 'en')
    for (const [name, path] of Object.entries(views)) {
      // What the view before has open is closed, also where both have the same address.
      if (page.url().endsWith(`#/${path}`)) await page.goto(new URL('#/audit', page.url()).href)
      const typing = page.url().endsWith('#/models')
      await page.goto(new URL(`#/${path}`, page.url()).href)
      if (typing) await page.getByRole('button', { name: say('discard') }).click()
      await page.locator('main h1').waitFor()
      await page.locator('main', { hasText: say('loading') }).waitFor({ state: 'detached' })
      await PREPARE[name]?.(page, say)
      for (const colorScheme of german ? (['light'] as const) : (['light', 'dark'] as const)) {
        await page.emulateMedia({ colorScheme })
        await take(name, colorScheme)
      }
    }
    await context.close()
  }
  return faults
}

const AT_THE_GATEWAY = {
  gateway: 'gateway/gw-1',
  device: 'device/default/drive-1',
  meter: 'device/default/meter-1',
  plan: 'plan/default/meter-1',
  devices: 'devices',
  discovery: 'discovery',
  audit: 'audit',
}

const ofTheFleet = () => ({
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
})

/** Half of them are taken only when they are wanted. */
const ALBUM_MS = process.env['SLUICE_PICTURES'] === undefined ? 180_000 : 900_000

describe('pictures of every view, light and dark, desktop and phone', { timeout: ALBUM_MS }, () => {
  it.concurrent('at the gateway', async () => {
    expect(await album({ kind: 'gateway', views: AT_THE_GATEWAY, sizes: ['desktop', 'phone'] })).toEqual([])
  })

  it.concurrent('at the gateway in German', async () => {
    expect(await album({ kind: 'gateway', views: AT_THE_GATEWAY, sizes: GERMAN_SIZES, german: true })).toEqual([])
  })

  it.concurrent('of the fleet, and in German', async () => {
    // One after the other: both try a model on the same device.
    const views = ofTheFleet()
    expect(await album({ kind: 'cloud', views, sizes: ['desktop', 'phone'] })).toEqual([])
    expect(await album({ kind: 'cloud', views, sizes: GERMAN_SIZES, german: true })).toEqual([])
  })
})
