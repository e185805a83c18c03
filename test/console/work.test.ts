import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import type { Device } from '../../api/resources.ts'
import { collectionPath, DEVICES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { violations } from './axe.ts'
import { tellFound } from './found.ts'
import { type House, startHouse } from './house.ts'
import { PodGateways } from './pod-gateways.ts'

const missing = missingForPods()
// A machine without them may skip this; a CI run without them has to fail and say so.
const skipped = missing !== undefined && process.env['CI'] === undefined

describe.skipIf(skipped)(`pods in the console ${missing ?? ''}`, { timeout: 90_000 }, () => {
  let house: House
  let pods: PodGateways
  let fleet: { context: BrowserContext; page: Page }
  const go = async (page: Page, path: string, heading: string) => {
    await page.goto(new URL(`#/${path}`, page.url()).href)
    await page.getByRole('heading', { name: heading, level: 1 }).waitFor()
  }

  beforeAll(async () => {
    house = await startHouse()
    pods = await PodGateways.start(house, ['gw-2', 'gw-3'])
    await pods.run('patrol', {
      annotations: { 'fluidos-intent-latency': '10s', 'fluidos-intent-energy': 'low' },
      command: 'i=0; while true; do echo round $i; i=$((i+1)); sleep 1; done',
    })
    await pods.run('roof', { annotations: { 'fluidos-intent-location': 'roof' }, command: 'sleep 1000' })
    await pods.place('patrol')
    fleet = await house.fresh()
    await fleet.page.goto((await house.invite('--cloud')).url)
    await fleet.page.getByRole('heading', { name: 'Fleet' }).waitFor()
  }, 120_000)
  afterAll(async () => {
    await pods?.[Symbol.asyncDispose]()
    await house?.[Symbol.asyncDispose]()
  }, 60_000)

  it('says why a pod is where it is, candidate by candidate, as sluice explain does', async () => {
    const { page } = fleet
    const here = await pods.place('patrol')
    await go(page, 'offload', 'Offload')
    await page
      .getByRole('region', { name: here })
      .getByRole('button', { name: /^patrol/ })
      .click()
    const why = page.getByRole('region', { name: 'Why patrol is there' })
    await why.getByRole('row', { name: new RegExp(`${here}.*here`) }).waitFor()
    const said = await runSluice('explain', 'patrol', '--json', '--data', house.data)
    const { now } = JSON.parse(said.stdout) as { now: { candidates: { node: string; obstacles: string[] }[] } }
    const blocked = now.candidates.find(({ node }) => node === 'gw-1')!
    expect(blocked.obstacles.length).toBeGreaterThan(0)
    expect(await why.getByRole('row', { name: /gw-1/ }).textContent()).toContain(blocked.obstacles.join('; '))
    expect(await why.textContent()).toMatch(/Intents.*latency 10s/)
    expect(await why.textContent()).toMatch(/Intents.*energy low \(a wish\)/)
  })

  it('moves a pod that is dragged to a gateway, and says in the audit log who did', async () => {
    const { page } = fleet
    const from = await pods.place('patrol')
    const to = from === 'gw-2' ? 'gw-3' : 'gw-2'
    await go(page, 'offload', 'Offload')
    const chip = page.getByRole('region', { name: from }).getByRole('button', { name: /^patrol/ })
    await chip.dragTo(page.getByRole('region', { name: to }))
    await page
      .getByRole('region', { name: to })
      .getByRole('button', { name: /^patrol.*running/ })
      .waitFor({ timeout: 30_000 })
    expect(await pods.place('patrol')).toBe(to)
    await go(page, 'audit', 'Audit')
    const row = page.getByRole('row').filter({ hasText: 'pods/default/patrol/offload' })
    expect(await row.first().textContent()).toMatch(/local.*admin/)
  })

  it('moves a pod by the keyboard alone, with a reason', async () => {
    const { page } = fleet
    const from = await pods.place('patrol')
    const to = from === 'gw-2' ? 'gw-3' : 'gw-2'
    await go(page, 'offload', 'Offload')
    await page
      .getByRole('region', { name: from })
      .getByRole('button', { name: /^patrol/ })
      .focus()
    await page.keyboard.press('Enter')
    const choice = page.getByLabel('Move to')
    await choice.waitFor()
    await expect.poll(() => choice.evaluate((element) => element === document.activeElement)).toBe(true)
    await choice.selectOption(to)
    await page.keyboard.press('Tab')
    await page.keyboard.type('the other one charges')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page
      .getByRole('region', { name: to })
      .getByRole('button', { name: /^patrol.*running/ })
      .waitFor({ timeout: 30_000 })
    await go(page, 'audit', 'Audit')
    expect(await page.getByRole('row').filter({ hasText: 'patrol/offload' }).first().textContent()).toContain(
      'the other one charges',
    )
  })

  it('refuses a gateway that is no place for a pod, in words', async () => {
    const { page } = fleet
    const answer = await page.evaluate(async () => {
      const { csrf } = (await (await fetch('/v1/session')).json()) as { csrf: string }
      const headers = { 'x-sluice-csrf': csrf, 'content-type': 'application/json' }
      const refused = await fetch('/v1/pods/default/patrol/offload', { method: 'POST', headers, body: '{"to":"gw-1"}' })
      return [refused.status, ((await refused.json()) as { message: string }).message]
    })
    expect(answer[0]).toBe(409)
    expect(answer[1]).toContain('gw-1 is no place for default/patrol')
    await go(page, 'offload', 'Offload')
    await page.getByRole('region', { name: 'Without a place' }).getByRole('button', { name: /^roof/ }).click()
    const why = page.getByRole('region', { name: 'Why roof has no place' })
    await why.getByRole('row', { name: /gw-2.*impossible.*location/ }).waitFor()
  })

  it('follows the log of a pod, at the cloud core and at the gateway', async () => {
    const where = await pods.place('patrol')
    const local = await house.fresh()
    const { stdout } = await runSluice(
      'console',
      '--data',
      pods.data(where),
      '--json',
      '--port',
      '0',
      '--role',
      'admin',
    )
    await local.page.goto((JSON.parse(stdout) as { url: string }).url)
    await local.page.getByRole('heading', { name: where, level: 1 }).waitFor()
    await go(fleet.page, `gateway/${where}`, where)
    for (const { page } of [fleet, local]) {
      await page.getByRole('button', { name: 'Logs: patrol' }).click()
      const log = page.getByRole('log')
      await expect.poll(() => log.textContent(), { timeout: 15_000 }).toMatch(/round \d+\n.*round \d+\n/s)
      const last = Number(/.*round (\d+)\n/s.exec((await log.textContent()) ?? '')?.[1])
      await expect.poll(() => log.textContent(), { timeout: 15_000 }).toContain(`round ${last + 2}\n`)
      await page.getByRole('button', { name: 'Close' }).click()
    }
    await local.context.close()
  })

  it('opens a terminal in a pod, at the cloud core and at the gateway, and says how it ended', async () => {
    const where = await pods.place('patrol')
    const local = await house.fresh()
    const { stdout } = await runSluice(
      'console',
      '--data',
      pods.data(where),
      '--json',
      '--port',
      '0',
      '--role',
      'admin',
    )
    await local.page.goto((JSON.parse(stdout) as { url: string }).url)
    await local.page.getByRole('heading', { name: where, level: 1 }).waitFor()
    await go(fleet.page, `gateway/${where}`, where)
    for (const { page } of [fleet, local]) {
      await page.getByRole('button', { name: 'Terminal: patrol' }).click()
      await page.getByText('F6 leads out of the terminal.').waitFor()
      await page.keyboard.type('echo answer-$((6*7)); stty size; exit 3\n')
      const rows = page.locator('.terminal .xterm-rows')
      await expect.poll(() => rows.textContent(), { timeout: 15_000 }).toContain('answer-42')
      await page.getByText('Ended with 3.').waitFor()
      expect(await rows.textContent()).toMatch(/\d\d \d\d\d?/)
      await page.getByRole('button', { name: 'Close' }).click()
      await go(page, 'audit', 'Audit')
      await page.getByRole('row').filter({ hasText: 'TERMINAL pods/default/patrol/terminal' }).first().waitFor()
    }
    await local.context.close()
    expect(house.problems).toEqual([])
  })

  it('opens no terminal for whoever is no admin, or for another page in the browser of one', async () => {
    const { page, context } = await house.fresh()
    await page.goto((await house.invite('--cloud', '--role', 'operator')).url)
    await page.getByRole('heading', { name: 'Fleet' }).waitFor()
    const opened = (csrf: 'own' | 'none') =>
      page.evaluate(async (kind) => {
        const { csrf } = (await (await fetch('/v1/session')).json()) as { csrf: string }
        const words = kind === 'own' ? [`csrf.${csrf}`] : []
        const url = `${location.origin.replace('https', 'wss')}/v1/pods/default/patrol/terminal`
        const socket = new WebSocket(url, ['sluice.terminal.v1', ...words])
        return new Promise<boolean>((resolve) => {
          socket.onopen = () => resolve(true)
          socket.onerror = () => resolve(false)
        })
      }, csrf)
    expect(await opened('own')).toBe(false)
    await go(page, `gateway/${await pods.place('patrol')}`, await pods.place('patrol'))
    await page.getByRole('button', { name: 'Logs: patrol' }).waitFor()
    expect(await page.getByRole('button', { name: 'Terminal: patrol' }).count()).toBe(0)
    await context.close()
    const admin = await fleet.page.evaluate(async () => {
      const url = `${location.origin.replace('https', 'wss')}/v1/pods/default/patrol/terminal`
      const socket = new WebSocket(url, ['sluice.terminal.v1'])
      return new Promise<boolean>((resolve) => {
        socket.onopen = () => resolve(true)
        socket.onerror = () => resolve(false)
      })
    })
    expect(admin).toBe(false)
  })

  it('shows energy by pod and device over time and as a flow, also asked from the cloud', async () => {
    const { page } = fleet
    for (const [gateway, part] of [
      ['gw-1', /default\/drive-1/],
      [await pods.place('patrol'), /default\/patrol/],
    ] as const) {
      await go(page, `gateway/${gateway}`, gateway)
      const energy = page.getByRole('region', { name: 'Energy' })
      await energy.locator('.plot canvas').waitFor()
      await expect
        .poll(() => energy.getByRole('img', { name: 'Where it goes now' }).getAttribute('aria-label'), {
          timeout: 20_000,
        })
        .toMatch(/System [\d.]+\s?W/)
      await expect.poll(() => energy.textContent(), { timeout: 30_000 }).toMatch(part)
    }
    await go(page, 'gateway/gw-1', 'gw-1')
    const bus = page.getByRole('region', { name: 'Buses' }).getByRole('row').nth(1)
    await expect.poll(() => bus.textContent(), { timeout: 10_000 }).toMatch(/modbus.*\d\s?%/)
  })

  it('shows the plan of a gateway from the cloud, tries another period on it, and keeps it', async () => {
    const { page } = fleet
    await go(page, 'plan/default/drive-1', 'Read plan')
    await page.locator('.register', { hasText: 'speed' }).first().waitFor()
    await page.getByLabel('Read every').selectOption('250ms')
    await page.getByText('As tried').waitFor()
    expect(await page.getByRole('region', { name: 'Request' }).textContent()).toContain('250\u202fms')
    await page.getByRole('button', { name: 'Keep it' }).click()
    await page.getByText('Set to 250\u202fms.').waitFor()
    await expect
      .poll(() => page.getByRole('region', { name: 'Request' }).textContent(), { timeout: 15_000 })
      .toContain('250\u202fms')
    expect(await page.getByText('As tried').count()).toBe(0)
  })

  it('makes a device of what a gateway found, by a name, a model and a reason, and passes over what nobody wants', async () => {
    const { page } = fleet
    await tellFound(house)
    await go(page, 'discovery', 'Discovery')
    await page.getByRole('button', { name: 'Approve Drive' }).click()
    const form = page.getByRole('region', { name: 'Approve Drive' })
    expect(await form.getByLabel('Model').inputValue()).toBe('speed-drive')
    await form.getByLabel('Name of the device').fill('Drive 7')
    await form.getByRole('button', { name: 'Approve' }).click()
    expect(await form.locator('input:invalid').count()).toBe(1)
    await form.getByLabel('Name of the device').fill('drive-7')
    await form.getByLabel('Reason').fill('the new conveyor')
    await form.getByRole('button', { name: 'Approve' }).click()
    await page.getByRole('link', { name: 'default/drive-7' }).waitFor()
    await page.getByRole('button', { name: 'Approve a4:c1:38:00:00:01' }).click()
    await page.getByRole('button', { name: 'Ignore' }).click()
    await page.getByRole('listitem').filter({ hasText: 'a4:c1:38' }).getByText('ignored').waitFor()
    const devices = await pods.kube.list<Device>(collectionPath(DEVICES, 'default'))
    const [old, made] = ['drive-1', 'drive-7'].map((name) =>
      devices.items.find(({ metadata }) => metadata.name === name),
    )
    expect(made?.spec).toMatchObject({ model: 'speed-drive', nodeName: 'gw-1', modbus: old!.spec.modbus })
    await pods.kube.delete(objectPath(DEVICES, 'drive-7', 'default'))
    await go(page, 'audit', 'Audit')
    const row = page.getByRole('row').filter({ hasText: 'gw-1-modbus-drive' }).filter({ hasText: 'the new conveyor' })
    await row.first().waitFor()
  })

  it('completes a model from the schema, and reads a device once as the text says', async () => {
    const { page } = fleet
    await go(page, 'models', 'Models')
    await page.getByRole('button', { name: /speed-drive/ }).click()
    await page.locator('.findings .sound').waitFor()
    const text = page.getByRole('textbox', { name: 'Model as YAML' })
    const before = await text.inputValue()
    await text.press('Control+End')
    await page.keyboard.type('    - {name: extra, ty')
    const list = page.getByRole('listbox', { name: 'Suggestions' })
    await list.getByRole('option', { name: /^type/ }).waitFor()
    await page.keyboard.press('Enter')
    await page.keyboard.type('in')
    await list.getByRole('option', { name: 'int' }).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.type(', modbus: {holding: 0}}')
    await page.keyboard.press('Escape')
    await page.locator('.findings').getByText('extra and speed read the very same thing').waitFor()
    await page.getByLabel('Device', { exact: true }).selectOption('default/drive-1')
    await page.getByRole('button', { name: 'Read once' }).click()
    await page.getByText(/Answered in/).waitFor({ timeout: 20_000 })
    expect(await page.getByRole('row', { name: /^extra \d+/ }).count()).toBe(1)
    // Nothing of it is in force.
    const raw = await runSluice('device', 'get', 'drive-1', '--data', house.data, '--json')
    expect(raw.stdout).not.toContain('extra')
    await text.fill(before)
  })

  it('says that a pod is gone while its terminal is asked for', async () => {
    const { page } = fleet
    await pods.run('brief', { command: 'sleep 1000' })
    const where = await pods.place('brief')
    await go(page, `gateway/${where}`, where)
    const button = page.getByRole('button', { name: 'Terminal: brief' })
    await button.waitFor()
    await page.route('**/v1/pods?node=*', () => {})
    await pods.kube.delete(objectPath(PODS, 'brief', 'default'))
    await expect
      .poll(
        async () =>
          (await pods.kube.list<{ metadata: { name: string } }>('/api/v1/pods')).items.map((pod) => pod.metadata.name),
        { timeout: 20_000 },
      )
      .not.toContain('brief')
    await button.click()
    await page.getByRole('region', { name: 'Terminal: brief' }).getByText('not found').waitFor()
    await page.unroute('**/v1/pods?node=*')
    await page.getByRole('button', { name: 'Close' }).click()
  })

  it('has nothing that axe complains about, in light and dark, with everything open', async () => {
    const { page } = fleet
    const found: string[] = []
    const where = await pods.place('patrol')
    const open: Readonly<Record<string, () => Promise<unknown>>> = {
      offload: async () => {
        await page.getByRole('button', { name: /^patrol/ }).click()
        await page.locator('.candidates').waitFor()
      },
      [`gateway/${where}`]: async () => {
        await page.getByRole('button', { name: 'Terminal: patrol' }).click()
        await page.getByText('F6 leads out').waitFor()
      },
      'plan/default/drive-1': () => page.locator('.register').first().waitFor(),
      firmware: () => page.getByRole('region', { name: 'Releases' }).waitFor(),
    }
    for (const [path, act] of Object.entries(open)) {
      await page.goto(new URL(`#/${path}`, page.url()).href)
      await page.locator('.house h1').waitFor()
      await act()
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        for (const { id, nodes } of await violations(page)) found.push(`${path} ${colorScheme} ${id}: ${nodes}`)
      }
    }
    expect(found).toEqual([])
    expect(house.problems).toEqual([])
  })
})
