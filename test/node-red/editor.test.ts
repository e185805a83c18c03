import { mkdirSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { buildNodeRed } from '../../node-red/build.ts'
import own from '../../node-red/package.json' with { type: 'json' }
import { noBrowser, startBrowser } from '../harness/browser.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { type Plant, startPlant } from './plant.ts'
import { RedProcess, tell } from './red.ts'

/** Where the pictures of the documentation go, when somebody wants them made anew. */
const pictures =
  process.env['SLUICE_PICTURES'] === undefined
    ? tmpdir()
    : fileURLToPath(new URL('../../node-red/docs/', import.meta.url))
const picture = async (on: Page, name: string) => {
  await on.addStyleTag({ content: '.red-ui-notification { display: none !important }' })
  await on.screenshot({ path: join(pictures, `${name}.png`) })
}

let folder: Folder
let plant: Plant
let red: RedProcess
let browser: Browser
let page: Page
const problems: string[] = []
beforeAll(async () => {
  if (noBrowser) return
  await buildNodeRed(fileURLToPath(new URL('../../node-red/dist', import.meta.url)))
  folder = temporaryFolder('editor')
  const [data, own] = [join(folder.path, 'gateway'), join(folder.path, 'red')]
  for (const path of [data, own]) mkdirSync(path)
  plant = await startPlant(data, '200ms')
  const flow = [
    { id: 'tab', type: 'tab', label: 'Drive' },
    { ...tell('t', 'came'), x: 560, y: 80 },
  ]
  // Where the examples look for their agent.
  vi.stubEnv('SLUICE_SOCKET', plant.socket)
  red = await RedProcess.start(own, flow)
  browser = await startBrowser()
  page = await browser.newPage({ viewport: { width: 1280, height: 800 }, locale: 'en-US' })
  page.setDefaultTimeout(60_000)
  // Node-RED 5 stumbles over its own tips on a busy machine; what has no frame outside of its own files is not ours.
  page.on('pageerror', ({ stack = '' }) => {
    const frames = stack.split('\n').filter((line) => /^\s*at /.test(line))
    if (frames.length === 0 || !frames.every((frame) => /\/(red|vendor)\//.test(frame))) problems.push(stack)
  })
  page.on('console', (message) => {
    if (message.type() === 'error' && /sluice/i.test(message.text())) problems.push(message.text())
  })
  await page.goto(red.url, { waitUntil: 'domcontentloaded' })
  await page.locator('#red-ui-palette .red-ui-palette-node[data-palette-type="sluice-twin-in"]').waitFor()
}, 120_000)
afterAll(async () => {
  vi.unstubAllEnvs()
  await browser?.close()
  await red?.[Symbol.asyncDispose]()
  await plant?.[Symbol.asyncDispose]()
  folder?.[Symbol.dispose]()
})

/** Drags a node from the palette to a place of the workspace. */
async function drag(type: string, x: number, y: number): Promise<void> {
  const node = page.locator(`#red-ui-palette .red-ui-palette-node[data-palette-type="${type}"]`)
  await node.scrollIntoViewIfNeeded()
  await node.hover()
  await page.mouse.down()
  const chart = (await page.locator('#red-ui-workspace-chart').boundingBox())!
  await page.mouse.move(chart.x + x - 10, chart.y + y - 10, { steps: 8 })
  await page.mouse.move(chart.x + x, chart.y + y, { steps: 2 })
  await page.mouse.up()
}

const open = (type: string) =>
  page.locator(`.red-ui-flow-node[data-type="${type}"], .red-ui-flow-node`).filter({ hasText: type }).first().dblclick()
const done = () => page.locator('#node-dialog-ok').click()
const wire = async (from: string, to: string) => {
  const output = page
    .locator('.red-ui-flow-node-group')
    .filter({ hasText: from })
    .locator('.red-ui-flow-port-output .red-ui-flow-port')
    .first()
  const input = page
    .locator('.red-ui-flow-node-group')
    .filter({ hasText: to })
    .locator('.red-ui-flow-port-input .red-ui-flow-port')
    .first()
  await output.hover()
  await page.mouse.down()
  await input.hover()
  await page.mouse.up()
}
async function deploy(): Promise<void> {
  const answered = page.waitForResponse(
    (answer) => answer.url().endsWith('/flows') && answer.request().method() === 'POST',
  )
  await page.locator('#red-ui-header-button-deploy').click()
  expect((await answered).ok()).toBe(true)
}

const examples = fileURLToPath(new URL('../../node-red/examples/', import.meta.url))

/** In the page: the types of all nodes that the editor would mark with a red triangle. */
const INVALID = `(() => {
  const found = []
  const look = ({ type, valid }) => { if (valid === false) found.push(type) }
  RED.nodes.eachNode(look)
  RED.nodes.eachConfig(look)
  return found
})()`

describe.skipIf(noBrowser)('the editor (needs chromium)', { timeout: 120_000 }, () => {
  it('offers the nodes in a palette group of their own', async () => {
    const group = page.locator('#red-ui-palette-Sluice')
    const shown = () =>
      group
        .locator('.red-ui-palette-node')
        .evaluateAll((nodes) => nodes.map((node) => node.getAttribute('data-palette-type')).sort())
    // All of the package but the connection, which is set up in the dialogs of the others.
    const offered = Object.keys(own['node-red'].nodes).filter((type) => type !== 'sluice-gateway')
    await expect.poll(shown).toEqual(offered.sort())
  })

  it('takes a gateway and, once that is deployed, offers its devices, properties, units and limits', async () => {
    await drag('sluice-twin-in', 200, 80)
    await open('twin in')
    await page
      .locator('#node-input-btn-gateway-add, #node-input-lookup-gateway, .red-ui-editor-config-node-add')
      .first()
      .click()
    await page.locator('#node-config-input-socket').fill(plant.socket)
    await picture(page, 'gateway')
    await page.locator('#node-config-dialog-ok').click()
    await done()
    await deploy()
    await open('twin in')
    const devices = page.locator('#node-input-device option')
    await devices.nth(1).waitFor({ state: 'attached' })
    expect(await devices.allTextContents()).toEqual([
      'every device',
      expect.stringContaining('drive-1  (drive, online)'),
    ])
    await page.locator('#node-input-device').selectOption('default/drive-1')
    const properties = page.locator('#node-input-property option')
    expect(await properties.allTextContents()).toEqual([
      'every property',
      expect.stringMatching(/^count {2}\[rev\] {2}= \d+$/),
      expect.stringMatching(/^speed {2}\[rpm\]/),
      expect.stringMatching(/^ramp {2}\[s\]/),
    ])
    await page.locator('#node-input-property').selectOption('speed')
    await picture(page, 'twin-in')
    expect(await page.locator('#sluice-property-hint').textContent()).toBe('int · rpm · 0 – 3000')
    await page.locator('#node-input-property').selectOption('count')
    await done()
  })

  it('brings a value from the Modbus line and turns the status under the node', async () => {
    await wire('drive-1/count', 'came')
    const came = red.hear(({ as }) => as === 'came', 'a value')
    await deploy()
    expect((await came).message).toMatchObject({ topic: 'drive-1/count', twin: { unit: 'rev' } })
    const status = page
      .locator('.red-ui-flow-node-group')
      .filter({ hasText: 'drive-1/count' })
      .locator('.red-ui-flow-node-status-label')
    await expect.poll(() => status.textContent(), { timeout: 10_000 }).toMatch(/^\d+ rev$/)
  })

  it('sends a write out to the device, by pickers alone', async () => {
    await drag('sluice-twin-set', 420, 220)
    await open('twin set')
    await page.locator('#node-input-device option[value="default/drive-1"]').waitFor({ state: 'attached' })
    await page.locator('#node-input-device').selectOption('default/drive-1')
    const offered = await page.locator('#node-input-property option').allTextContents()
    expect(offered.join()).not.toContain('count')
    expect(offered[0]).toBe('from the message')
    await page.locator('#node-input-property').selectOption('speed')
    await done()
    await drag('inject', 150, 220)
    await page.locator('.red-ui-flow-node-group').filter({ hasText: 'timestamp' }).first().waitFor()
    await wire('timestamp', 'drive-1/speed')
    await deploy()
    const set = page.locator('.red-ui-flow-node-group').filter({ hasText: 'drive-1/speed' })
    // A timestamp is far beyond the limit: the answer is a rejection, in words.
    await page
      .locator('.red-ui-flow-node-group')
      .filter({ hasText: 'timestamp' })
      .locator('.red-ui-flow-node-button-button')
      .click()
    await expect
      .poll(() => set.locator('.red-ui-flow-node-status-label').textContent(), { timeout: 10_000 })
      .toBe('rejected')
    await page.locator('#red-ui-workspace-chart').evaluate((chart) => chart.scrollTo(0, 0))
    await picture(page, 'flow')
    expect(plant.far.unit(1).written).toEqual([])
  })

  it('speaks German where the browser does', async () => {
    await using context = await browser.newContext({ locale: 'de-DE', viewport: { width: 1280, height: 800 } })
    context.setDefaultTimeout(60_000)
    const german = await context.newPage()
    await german.goto(red.url, { waitUntil: 'domcontentloaded' })
    await german.locator('.red-ui-flow-node').filter({ hasText: 'drive-1/count' }).first().dblclick()
    await expect.poll(() => german.locator('#node-input-device option').first().textContent()).toBe('jedes Gerät')
    await picture(german, 'twin-in-de')
  })

  it('never treats the name of a device or model as HTML, and the browser has nothing to complain about', async () => {
    expect(await page.locator('b', { hasText: 'Sons' }).count()).toBe(0)
    expect(problems).toEqual([])
  })

  it('imports the examples from its menu, with nothing left to set up but what they name, and shows their dashboard', async () => {
    await page.locator('#red-ui-workspace-chart').click({ position: { x: 700, y: 500 } })
    // What slides open moves away under the pointer.
    const choose = async (text: string) => {
      await page
        .locator('#red-ui-clipboard-dialog-import-tab-examples .red-ui-treeList-label', { hasText: text })
        .click()
      await page.waitForFunction('jQuery(":animated").length === 0')
    }
    for (const name of readdirSync(examples).map((file) => file.slice(0, -'.json'.length))) {
      await page.keyboard.press('Control+i')
      await page.locator('a[href="#red-ui-clipboard-dialog-import-tab-examples"]').click()
      await choose(own.name)
      await choose(name)
      await page.locator('#red-ui-clipboard-dialog-ok').click()
      await page.locator('#red-ui-clipboard-dialog-ok').waitFor({ state: 'hidden' })
    }
    expect(await page.evaluate(INVALID)).toEqual([])
    for (const select of await page.locator('.red-ui-notification').all())
      await select.evaluate((note) => note.remove())
    await deploy()
    // A type that is missing would be named, and keep the flows from starting.
    expect(red.log).not.toMatch(/missing types|\[error\]|not loaded/i)
    await page.goto(`${red.url}/dashboard/energy`, { waitUntil: 'domcontentloaded' })
    const words = () => page.locator('.nrdb-ui-widget').allTextContents()
    await expect
      .poll(async () => (await words()).join(' '), { timeout: 20_000 })
      .toMatch(/\d W \((estimated|measured)\)/)
    expect((await words()).join(' ')).not.toMatch(/[{}]|NaN|undefined/)
    await picture(page, 'dashboard')
  })
})
