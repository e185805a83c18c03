import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { API_VERSION, type Device } from '../../api/resources.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, DEVICES, objectPath } from '../../cloudcore/kube/paths.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { violations } from './axe.ts'
import { type House, startHouse } from './house.ts'

let house: House
let local: { context: BrowserContext; page: Page }
let fleet: { context: BrowserContext; page: Page }
beforeAll(async () => {
  house = await startHouse()
  local = await house.fresh()
  fleet = await house.fresh()
}, 120_000)
afterAll(() => house?.[Symbol.asyncDispose]())

const widget = (page: Page, name: string) =>
  page.locator('article.widget').filter({ has: page.getByRole('heading', { name, exact: true }) })

describe('the console of a gateway', { timeout: 60_000 }, () => {
  it('signs in by the address that the command prints, once', async () => {
    const { url, code } = await house.invite()
    const { page } = local
    await page.goto(url)
    await page.getByRole('heading', { name: 'gw-1' }).waitFor()
    expect(page.url()).not.toContain(code)
    const { page: second } = await house.fresh()
    await second.goto(url)
    await second.getByRole('alert').filter({ hasText: 'not valid' }).waitFor()
    await second.context().close()
  })

  it('leads from the gateway to a device, whose values are live', async () => {
    const { page } = local
    await page.getByRole('link', { name: 'meter-1' }).first().click()
    await page.getByRole('heading', { name: 'meter-1', level: 1 }).waitFor()
    const voltage = widget(page, 'voltage').locator('output')
    await expect.poll(() => voltage.textContent(), { timeout: 10_000 }).toMatch(/^2\d\d\.\d\u202fV$/)
    const first = await voltage.textContent()
    await expect.poll(() => voltage.textContent(), { timeout: 15_000 }).not.toBe(first)
    await page.locator('.plot canvas').waitFor()
  })

  it('writes a value and says how it went', async () => {
    const { page } = local
    await page.goto(new URL('#/device/default/drive-1', page.url()).href)
    await page.getByLabel('Reason (goes into the audit log)').fill('morning shift')
    const speed = widget(page, 'speed')
    await speed.getByRole('spinbutton').fill('1230')
    await speed.getByRole('button', { name: 'Set' }).click()
    await expect
      .poll(() => speed.locator('.standing').textContent(), { timeout: 10_000 })
      .toMatch(/1230\s1\/min\s*✓\s*in sync/)
    await expect
      .poll(() => speed.locator('.reading output').textContent(), { timeout: 10_000 })
      .toMatch(/^1230\s1\/min/)
  })

  it('says what is wrong with a value before it is sent', async () => {
    const { page } = local
    const speed = widget(page, 'speed')
    await speed.getByRole('spinbutton').fill('9999')
    await expect.poll(() => speed.getByRole('alert').textContent()).toContain('above the maximum of 3000')
    const sent: string[] = []
    page.on('request', (request) => request.method() === 'PUT' && sent.push(request.url()))
    await speed.getByRole('spinbutton').press('Enter')
    await speed.getByRole('spinbutton').fill('')
    expect(sent).toEqual([])
  })

  it('says who set the value that somebody is editing', async () => {
    const { page } = local
    const ramp = widget(page, 'ramp')
    await ramp.getByRole('spinbutton').fill('7')
    const set = await runSluice('device', 'set', 'drive-1', 'ramp=3.5', '--data', house.data)
    expect(set.code).toBe(0)
    await expect
      .poll(() => ramp.locator('.meanwhile').textContent(), { timeout: 10_000 })
      .toMatch(/set 3\.5\ss while you/)
    expect(await ramp.getByRole('spinbutton').inputValue()).toBe('7')
  })

  it('says so too when it was set in another window of the same person', async () => {
    const { page, context } = local
    const other = await context.newPage()
    await other.goto(page.url())
    const there = widget(other, 'ramp').getByRole('spinbutton')
    await there.fill('6')
    await there.press('Enter')
    await expect
      .poll(() => widget(page, 'ramp').locator('.meanwhile').textContent(), { timeout: 10_000 })
      .toMatch(/set 6\ss while you/)
    await other.close()
  })

  it('keeps what is typed on while the value before it is being written', async () => {
    const { page } = local
    const speed = widget(page, 'speed')
    const field = speed.getByRole('spinbutton')
    const held = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const path = '**/desired/speed?*'
    await page.route(path, async (route) => {
      asked.resolve()
      await held.promise
      await route.continue()
    })
    await field.fill('1100')
    await field.press('Enter')
    await asked.promise
    await field.fill('1200')
    held.resolve()
    await speed.locator('form[aria-busy=false]').waitFor()
    expect(await field.inputValue()).toBe('1200')
    await expect
      .poll(() => speed.locator('.standing').textContent(), { timeout: 10_000 })
      .toMatch(/1100\s1\/min\s*✓\s*in sync/)
    expect(await speed.locator('.meanwhile').count()).toBe(0)
    await page.unroute(path)
    await field.press('Enter')
    await expect
      .poll(() => speed.locator('.standing').textContent(), { timeout: 10_000 })
      .toMatch(/1200\s1\/min\s*✓\s*in sync/)
  })

  it('does not go back to a state that was read before something happened', async () => {
    const page = await local.page.context().newPage()
    const held = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    await page.route('**/v1/devices/*/drive-1', async (route) => {
      const before = await route.fetch()
      asked.resolve()
      await held.promise
      await route.fulfill({ response: before })
    })
    await page.goto(local.page.url())
    await asked.promise
    expect((await runSluice('device', 'set', 'drive-1', 'ramp=4.5', '--data', house.data)).code).toBe(0)
    held.resolve()
    await expect
      .poll(() => widget(page, 'ramp').locator('.standing').textContent(), { timeout: 10_000 })
      .toMatch(/4\.5\ss\s*✓\s*in sync/)
    await page.close()
  })

  it('can be worked by the keyboard alone', async () => {
    const { page } = local
    const enable = widget(page, 'enable').getByRole('switch')
    const before = await enable.getAttribute('aria-checked')
    await enable.focus()
    await page.keyboard.press('Space')
    const after = before === 'true' ? 'false' : 'true'
    await expect.poll(() => enable.getAttribute('aria-checked'), { timeout: 10_000 }).toBe(after)
    await page.keyboard.press('Space')
    await expect.poll(() => enable.getAttribute('aria-checked'), { timeout: 10_000 }).toBe(before)
  })

  it('draws the read plan on the register map', async () => {
    const { page } = local
    await page.getByRole('link', { name: 'Read plan' }).click()
    await page.locator('.register', { hasText: 'speed' }).first().waitFor()
    expect(await page.locator('.register', { hasText: 'temperature' }).count()).toBe(1)
  })

  it('has every write in the audit log: who, what, why, and how it ended', async () => {
    const { page } = local
    await page.getByRole('link', { name: 'Audit' }).click()
    const row = page.getByRole('row').filter({ hasText: 'devices/default/drive-1/desired/speed = 1230' })
    await row.first().waitFor()
    expect(await row.first().textContent()).toMatch(/= 1230[\s\S]*morning shift[\s\S]*(applied|synced)/)
  })

  it('shows a viewer everything and lets them write nothing, whatever the page thinks', async () => {
    const { url } = await house.invite('--role', 'viewer', '--name', 'kiosk')
    const { page, context } = await house.fresh()
    await page.goto(url)
    await page.getByRole('heading', { name: 'gw-1' }).waitFor()
    await page.goto(new URL('#/device/default/drive-1', page.url()).href)
    await widget(page, 'speed').waitFor()
    expect(await widget(page, 'speed').getByRole('spinbutton').isDisabled()).toBe(true)
    const answers = await page.evaluate(async () => {
      const { csrf } = (await (await fetch('/v1/session')).json()) as { csrf: string }
      const put = (headers: Record<string, string>) =>
        fetch('/v1/devices/default/drive-1/desired/speed', { method: 'PUT', headers, body: '{"value": 100}' })
      const answers = [await put({ 'x-sluice-csrf': csrf }), await put({})]
      return Promise.all(
        answers.map(async (answer) => [answer.status, ((await answer.json()) as { code: string }).code]),
      )
    })
    expect(answers).toEqual([
      [403, 'SLUICE_CONSOLE_ROLE'],
      [403, 'SLUICE_CONSOLE_CSRF'],
    ])
    const [cookie] = await context.cookies()
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' })
    await context.close()
  })
})

describe('the console of the fleet', { timeout: 60_000 }, () => {
  it('leads from the fleet to a gateway, to a device, to a write', async () => {
    const { page } = fleet
    await page.goto((await house.invite('--cloud')).url)
    await page.getByRole('link', { name: 'gw-1' }).click()
    await page.getByRole('link', { name: 'drive-1' }).click()
    const speed = widget(page, 'speed')
    await speed.getByRole('spinbutton').fill('1111')
    await speed.getByRole('button', { name: 'Set' }).click()
    await expect
      .poll(() => speed.locator('.standing').textContent(), { timeout: 15_000 })
      .toMatch(/1111\s1\/min\s*✓\s*in sync/)
    await page.locator('.plot canvas').waitFor()
  })

  it('says that there is no such device, and shows it once there is', async () => {
    const { page } = fleet
    await page.goto(new URL('#/device/default/drive-9', page.url()).href)
    await page.getByText('There is no default/drive-9.').waitFor()
    await using kube = new KubeClient(loadKubeconfig(join(house.data, 'kubeconfig')))
    const { spec } = await kube.get<Device>(objectPath(DEVICES, 'drive-1', 'default'))
    await kube.create(collectionPath(DEVICES, 'default'), {
      ...{ apiVersion: API_VERSION, kind: 'Device', metadata: { name: 'drive-9' } },
      spec: { ...spec, desired: {} },
    })
    await page.getByRole('heading', { name: 'drive-9', level: 1 }).waitFor()
    await kube.delete(objectPath(DEVICES, 'drive-9', 'default'))
    await page.goto(new URL('#/device/default/drive-1', page.url()).href)
    await page.getByRole('heading', { name: 'drive-1', level: 1 }).waitFor()
  })

  it('takes the console token, and says no to any other', async () => {
    const { page, context } = await house.fresh()
    await page.goto((await house.invite('--cloud')).url.replace(/#.*/, ''))
    await page.getByLabel('Or a token').fill('nonsense')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('alert').filter({ hasText: 'not valid' }).waitFor()
    await page.getByLabel('Or a token').fill(readFileSync(`${house.data}/console-token`, 'utf8').trim())
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Fleet' }).waitFor()
    const [cookie] = await context.cookies()
    expect(cookie).toMatchObject({ name: '__Host-sluice-console', httpOnly: true, secure: true, sameSite: 'Strict' })
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('One-time code').waitFor()
    expect(await page.evaluate(async () => (await fetch('/v1/devices')).status)).toBe(401)
    await context.close()
  })

  it('checks a model while it is typed, and applies it; what looks like HTML is text', async () => {
    const { page } = fleet
    await page.getByRole('link', { name: 'Models' }).click()
    const text = page.getByRole('textbox', { name: 'Model as YAML' })
    const shelf = page.getByRole('region', { name: 'Catalogue' })
    await shelf.getByRole('searchbox').fill('sdm120')
    await shelf.getByRole('button').click()
    await page.locator('.findings .sound', { hasText: 'eastron-sdm120' }).waitFor()
    expect(await text.inputValue()).toContain('reactiveEnergyImport')
    await page.getByRole('button', { name: 'New model' }).click()
    const good = (await text.inputValue()).replace('vendor: Example', `vendor: '<img src=x onerror=alert(1)>'`)
    await text.fill(good.replace('type: float', 'type: flaot'))
    await page.locator('.findings .error', { hasText: 'Line 7' }).waitFor()
    expect(await page.getByRole('button', { name: 'Apply' }).isDisabled()).toBe(true)
    await text.fill(good)
    await page.locator('.findings .sound').waitFor()
    await page.getByRole('button', { name: 'Apply' }).click()
    await page.getByRole('status').filter({ hasText: 'default/my-meter' }).waitFor()
    await page.locator('nav button', { hasText: '<img src=x' }).waitFor()
    expect(await page.locator('nav img').count()).toBe(0)
  })

  it('takes a suggestion only where it was made', async () => {
    const { page } = fleet
    const text = page.getByRole('textbox', { name: 'Model as YAML' })
    const before = await text.inputValue()
    await text.press('Control+End')
    await page.keyboard.type('    - {name: extra, ty')
    const list = page.getByRole('listbox', { name: 'Suggestions' })
    await list.waitFor()
    await page.keyboard.press('Home')
    await page.keyboard.press('Enter')
    await list.waitFor({ state: 'detached' })
    expect(await text.inputValue()).toBe(`${before}\n    - {name: extra, ty`)
    await text.press('Control+End')
    await page.keyboard.type('p')
    await list.waitFor()
    await page.keyboard.press('Enter')
    expect(await text.inputValue()).toBe(`${before}\n    - {name: extra, type: `)
    await page.keyboard.press('Control+z')
    expect(await text.inputValue()).toBe(`${before}\n    - {name: extra, typ`)
  })

  it('asks before a changed model is lost: to another one, to another view, with the page', async () => {
    const { page } = fleet
    const text = page.getByRole('textbox', { name: 'Model as YAML' })
    const typed = await text.inputValue()
    const dialog = page.getByRole('dialog', { name: 'Unsaved changes' })
    await page.getByRole('button', { name: /speed-drive/ }).click()
    await dialog.getByRole('button', { name: 'Keep editing' }).click()
    expect(await text.inputValue()).toBe(typed)
    await page.getByRole('link', { name: 'Devices' }).click()
    await dialog.waitFor()
    expect(await violations(page)).toEqual([])
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(page.url()).toMatch(/#\/models$/)
    const asked: string[] = []
    page.once('dialog', (native) => {
      asked.push(native.type())
      void native.accept()
    })
    await page.reload()
    expect(asked).toEqual(['beforeunload'])
    await text.waitFor()
    expect(await text.inputValue()).toBe(typed)
    await page.getByRole('button', { name: 'New model' }).click()
    await dialog.getByRole('button', { name: 'Discard' }).click()
    await expect.poll(() => text.inputValue()).toContain('vendor: Example')
    await page.getByRole('link', { name: 'Devices' }).click()
    await page.getByRole('heading', { name: 'Devices' }).waitFor()
  })

  it('makes a token to join with, as text and as a QR code', async () => {
    const { page } = fleet
    await page.getByRole('link', { name: 'Join' }).click()
    await page.getByLabel('Name of the gateway').fill('gw-7')
    await page.getByRole('button', { name: 'Make a token' }).click()
    await page.locator('canvas.qr').waitFor()
    const [typed = '', flashed = ''] = await page.locator('.copyable code').allTextContents()
    expect(typed).toMatch(/^sluice join <<'EOF'\n\S{40,}\nEOF$/)
    const [, token = ''] = typed.split('\n')
    expect(flashed).toContain(`(umask 077; cat >gw-7.token) <<'EOF'\n${token}\nEOF\nsudo sluice flash gateway `)
    expect(flashed).toMatch(/--join-token-file gw-7\.token --hostname gw-7$/)
    await page.getByRole('link', { name: 'Audit' }).click()
    const row = page.getByRole('row').filter({ hasText: 'POST tokens' })
    await row.first().waitFor()
    expect(await row.first().textContent()).toContain('gw-7')
    expect(await page.locator('main').textContent()).toContain('POST console')
    expect(await page.locator('main').textContent()).not.toMatch(/[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}|sluice1\./)
  })

  it('has nothing that axe complains about, and nothing that the browser does', async () => {
    const { page } = fleet
    const found: string[] = []
    for (const path of [
      'fleet',
      'gateway/gw-1',
      'device/default/drive-1',
      'devices',
      'discovery',
      'models',
      'offload',
      'firmware',
      'plan/default/drive-1',
      'join',
      'audit',
    ]) {
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        await page.goto(new URL(`#/${path}`, page.url()).href)
        await page.locator('main h1').waitFor()
        await expect.poll(() => page.locator('main', { hasText: 'Loading' }).count()).toBe(0)
        for (const { id, nodes } of await violations(page)) found.push(`${path} ${colorScheme} ${id}: ${nodes}`)
      }
    }
    expect(found).toEqual([])
    expect(house.problems).toEqual([])
  })

  it('asks to sign in as soon as the session ends, also a page that only looks', async () => {
    const { page, context } = await house.fresh()
    await page.goto((await house.invite('--cloud')).url)
    await page.getByRole('heading', { name: 'Fleet' }).waitFor()
    await page.goto(new URL('#/device/default/meter-1', page.url()).href)
    await expect.poll(() => widget(page, 'voltage').locator('output').textContent()).toMatch(/V$/)
    const editing = await context.newPage()
    await editing.goto(new URL('#/models', page.url()).href)
    await editing.getByRole('button', { name: 'New model' }).click()
    const text = editing.getByRole('textbox', { name: 'Model as YAML' })
    await text.press('Control+End')
    await editing.keyboard.type('# not done yet')
    const other = await context.newPage()
    await other.goto(page.url().replace(/#.*/, ''))
    await other.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('One-time code').waitFor({ timeout: 10_000 })
    expect(await page.getByRole('alert').textContent()).toContain('session has ended')
    expect(await other.getByRole('alert').count()).toBe(0)
    expect(await page.locator('.widget').count()).toBe(0)
    // Who had been typing signs in again, and goes on where they were.
    await editing.getByLabel('One-time code').fill((await house.invite('--cloud')).code)
    await editing.getByRole('button', { name: 'Sign in', exact: true }).click()
    await text.waitFor()
    expect(await text.inputValue()).toMatch(/# not done yet$/)
    await context.close()
  })

  it('says at once that the server is gone, keeps what was known, and asks to sign in when it is another one', async () => {
    const { page } = fleet
    await page.goto(new URL('#/device/default/meter-1', page.url()).href)
    await expect.poll(() => widget(page, 'voltage').locator('output').textContent()).toMatch(/V$/)
    const { pid } = JSON.parse(readFileSync(`${house.data}/cloud.json`, 'utf8')) as { pid: number }
    process.kill(pid, 'SIGKILL')
    await page.getByRole('alert').filter({ hasText: 'Connection lost' }).waitFor()
    expect(await page.locator('.house.lost').count()).toBe(1)
    expect(await widget(page, 'voltage').locator('output').textContent()).toMatch(/V$/)
    await page.getByLabel('One-time code').waitFor({ timeout: 50_000 })
  })
})
