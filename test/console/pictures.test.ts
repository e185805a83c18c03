import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type House, picture, SIZES, startHouse } from './house.ts'

let house: House
beforeAll(async () => {
  house = await startHouse()
}, 120_000)
afterAll(() => house?.[Symbol.asyncDispose]())

/** What a reader would notice at a glance, measured: nothing wider than the page, nothing on top of something else. */
async function lookedAt(page: Page, name: string): Promise<string[]> {
  const faults = await page.evaluate(() => {
    const found: string[] = []
    const root = document.documentElement
    if (root.scrollWidth > root.clientWidth)
      found.push(`wider than the page: ${root.scrollWidth} > ${root.clientWidth}`)
    const boxes = [...document.querySelectorAll('.widget > *, .panel > header > *, .title > *, .top > *, .field > *')]
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

async function album(kind: 'gateway' | 'cloud', views: Readonly<Record<string, string>>): Promise<string[]> {
  const faults: string[] = []
  for (const [size, viewport] of Object.entries(SIZES)) {
    const { page, context } = await house.fresh({ viewport })
    const { url } = await house.invite(...(kind === 'cloud' ? ['--cloud'] : []))
    await page.goto(url.replace(/#.*/, ''))
    await page.getByLabel('One-time code').waitFor()
    await picture(page, `${kind}-sign-in-light-${size}`)
    await page.goto(url)
    await page.locator('main h1').waitFor()
    for (const [name, path] of Object.entries(views)) {
      await page.goto(new URL(`#/${path}`, page.url()).href)
      await page.locator('main h1').waitFor()
      await expect.poll(() => page.locator('main', { hasText: 'Loading' }).count()).toBe(0)
      if (name === 'device') await page.locator('.plot canvas').waitFor()
      if (name === 'models') await page.locator('nav button').first().click()
      if (name === 'models') await page.locator('.findings .sound').waitFor()
      if (name === 'join') {
        await page.getByLabel('Name of the gateway').fill('gw-2')
        await page.getByRole('button', { name: 'Make a token' }).click()
        await page.locator('canvas.qr').waitFor()
      }
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

describe('pictures of every view, light and dark, desktop and phone', { timeout: 120_000 }, () => {
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
