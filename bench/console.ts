import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, CDPSession, Page } from 'playwright-core'
import { requestJson } from '../api/client/http.ts'
import type { LinkObject } from '../api/link/messages.ts'
import { buildConsole } from '../console/build.ts'
import { startBrowser } from '../test/harness/browser.ts'
import { temporaryFolder } from '../test/harness/folder.ts'
import { Part } from '../test/harness/part.ts'
import { DEVICES, invitation, openView, startFleet, VIEWS } from './console/fleet.ts'
import { type Scrolled, scrolled, stillPages } from './console/scrolling.ts'
import { step } from './console/step.ts'
import { type FarSide, startFarSide } from './far-side/process.ts'
import { type BenchOptions, type Figure, machineMs, percentile, processorSeconds, significant } from './harness.ts'
import type { RunningCloud } from './twin-path.ts'

const bench = 'console'
/** One device of each gateway every ten seconds, all of its values: as many changes a second as there are gateways. */
const CHANGES = { properties: 10, atOnce: 1, everyMs: 10_000 }
/** The same number of changes a second, of fewer gateways. */
const QUICK_CHANGES = { ...CHANGES, everyMs: 4_000 }
const ROOT = fileURLToPath(new URL('..', import.meta.url))

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const within = (figure: string, value: number, unit: string, most: number, words = `<= ${most} ${unit}`): Figure => ({
  ...{ bench, figure, value, unit, budget: words },
  ok: value <= most,
})
const told = (figure: string, value: number, unit: string): Figure => ({ bench, figure, value, unit, ok: true })

/**
 * The console in a real Chromium: what it weighs, how soon a view of a large fleet is there, what looking at it costs the
 * server and the page, and how long a click takes to become bytes on the line.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const built = await buildConsole(join(ROOT, 'console/dist'))
  const browser = await startBrowser()
  try {
    return [
      within('what loads before anything is seen, brotli', built.firstBytes / 1024, 'KiB', 150),
      told('all of it, brotli', built.allBytes / 1024, 'KiB'),
      ...(await clicks(browser, quick ? 20 : 300)),
      ...(await fleet(browser, quick)),
    ]
  } finally {
    await browser.close()
  }
}

/** What a machine that does nothing else needs a tenth of. */
const START_MS = 300_000
const SIGN_IN_MS = 30_000
const PAINTS_MS = 90_000
const SCROLL_MS = 60_000

async function fleet(browser: Browser, quick: boolean): Promise<Figure[]> {
  const count = quick ? 50 : 1000
  const seconds = quick ? 4 : 60
  const changes = quick ? QUICK_CHANGES : CHANGES
  const started = startFleet({ gateways: count, ...changes, seconds: 3 * seconds + 300 })
  await using live = await step(`starting ${count} gateways`, START_MS, started)
  const { cloud } = live
  await pause(changes.everyMs)
  const alone = await processorShare(cloud.pid, seconds)
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 860 } })
  const page = await context.newPage()
  const session = await context.newCDPSession(page)
  const figures = await step('first paints', PAINTS_MS, firstPaint(browser, cloud, quick ? 2 : 7))
  await page.goto(await step('an invitation', SIGN_IN_MS, invitation(cloud)))
  await page.locator('.rows .row').first().waitFor({ timeout: SIGN_IN_MS })
  const of = (what: string) => `${count} gateways x ${DEVICES}: ${what}`
  const times = new Map<string, number[]>(Object.keys(VIEWS).map((name) => [name, []]))
  for (let round = 0; round < (quick ? 4 : 8); round++) {
    for (const [name, [path, selector]] of Object.entries(VIEWS)) {
      times.get(name)!.push(await openView(page, path, selector))
      // The view before is not left standing while the next one is measured.
      await openView(page, '#/discovery', 'main h1')
    }
  }
  for (const [name, sample] of times)
    figures.push(within(of(`opening the view: ${name}, p90`), percentile(sample, 0.9), 'ms', 300))
  await openView(page, '#/devices', '.rows .c-values')
  for (const figure of await wheel(browser, page, quick ? 60 : 240)) {
    figures.push({ ...figure, figure: of(`scrolled by wheel, ${figure.figure}`) })
  }
  const before = await heapMiB(session)
  const watched = await processorShare(cloud.pid, seconds)
  figures.push(
    within(of('server, a viewer of all devices'), Math.max(0, watched - alone) * 100, '% of a core', 5),
    told(of('server without a viewer'), alone * 100, '% of a core'),
    told(of('page memory'), before, 'MiB'),
    within(of(`page memory, growth in ${seconds} s`), (await heapMiB(session)) - before, 'MiB', 2),
  )
  await context.close()
  return figures
}

/** The table, the same rows without a script, and nothing at all: turn by turn, by the same wheel in the same browser. */
async function wheel(browser: Browser, page: Page, steps: number): Promise<Figure[]> {
  await using beside = await step('pages to compare with', SCROLL_MS, stillPages(page, steps))
  const turn = (name: string, which: Page) => step(`scrolling ${name}`, SCROLL_MS, scrolled(browser, which, steps))
  const empty = await turn('an empty page', beside.empty)
  const still = await turn('the same rows without a script', beside.still)
  const ours = await turn('the devices', page)
  await page.bringToFront()
  const toStill = (
    figure: string,
    of: (run: Scrolled) => number,
    unit: string,
    budget: string,
    keeps: (ratio: number) => boolean,
  ) => {
    const ratio = of(ours) / of(still)
    const peer = `the same rows without a script: ${significant(of(still))} ${unit}; an empty page: ${significant(of(empty))} ${unit}`
    return { bench, figure, value: of(ours), unit, peer, ratio, budget, ok: keeps(ratio) }
  }
  return [
    toStill(
      'pictures drawn a second',
      ({ drawnPerSecond }) => drawnPerSecond,
      '1/s',
      '>= 0.9 of peer',
      (r) => r >= 0.9,
    ),
    toStill(
      'processor time of the browser for each',
      ({ browserMs }) => browserMs,
      'ms',
      '<= 1.2 of peer',
      (r) => r <= 1.2,
    ),
    told('time of a frame as drawn without a graphics card, p50', ours.frameP50Ms, 'ms'),
    told('time of a frame as drawn without a graphics card, p95', ours.frameP95Ms, 'ms'),
    told(`rows passed in ${steps / 60} s`, ours.rows, 'rows'),
    told('frames that took more than one and a half of 60 a second', ours.missed * 100, '%'),
    within('processor time of scripts, styles and layout a frame', ours.oursMs, 'ms', 8),
    told('processor time of a task of the main thread, painting and all, p99', ours.taskP99Ms, 'ms'),
  ]
}

async function processorShare(pid: number, seconds: number): Promise<number> {
  const before = await processorSeconds(pid)
  await pause(seconds * 1000)
  return ((await processorSeconds(pid)) - before) / seconds
}

const EMPTY_PAGE = '<!doctype html><title>empty</title><h1>Empty</h1>'

/**
 * With a processor six times slower than this one, as a Raspberry Pi 3 is to a laptop. An empty page of the same server
 * tells what of it is the browser's own: without a graphics card it paints with the processor that is slowed down.
 */
async function firstPaint(browser: Browser, cloud: RunningCloud, rounds: number): Promise<Figure[]> {
  const once = async (empty: boolean): Promise<number> => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 860 } })
    const page = await context.newPage()
    if (empty) {
      await page.route(`${cloud.hubUrl}/`, (route) => route.fulfill({ body: EMPTY_PAGE, contentType: 'text/html' }))
    }
    const session = await context.newCDPSession(page)
    await session.send('Emulation.setCPUThrottlingRate', { rate: 6 })
    await page.goto(cloud.hubUrl)
    await page.locator(empty ? 'h1' : '#code').waitFor()
    await page.waitForFunction("performance.getEntriesByName('first-contentful-paint').length > 0")
    const ms = await page.evaluate<number>("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    await context.close()
    return ms
  }
  const ours: number[] = []
  const none: number[] = []
  for (let round = 0; round < rounds; round++) {
    none.push(await once(true))
    ours.push(await once(false))
  }
  const what = 'first paint, processor six times slower'
  return [
    within(`${what}, p50`, percentile(ours, 0.5), 'ms', 1000),
    told(`${what}, of an empty page, p50`, percentile(none, 0.5), 'ms'),
  ]
}

async function heapMiB(session: CDPSession): Promise<number> {
  await session.send('HeapProfiler.collectGarbage')
  return (await session.send('Runtime.getHeapUsage')).usedSize / 1024 / 1024
}

/** From the click on a switch in the gateway's own console to the bytes of the write at the device's socket. */
async function clicks(browser: Browser, rounds: number): Promise<Figure[]> {
  using folder = temporaryFolder('bench-console')
  const registers = startFarSide(new URL('./far-side/registers.ts', import.meta.url))
  await using far: FarSide = await step('starting the device', SIGN_IN_MS, registers)
  const objects: LinkObject[] = [
    {
      ...{ kind: 'DeviceModel', key: 'default/drive', rev: '1' },
      object: {
        ...{ uid: 'm', generation: 1 },
        spec: {
          properties: [
            { name: 'enable', type: 'bool', access: 'readwrite', modbus: { holding: 2000, bit: 0 } },
            { name: 'current', type: 'int', modbus: { holding: 10 } },
          ],
        },
      },
    },
    {
      ...{ kind: 'Device', key: 'default/drive-1', rev: '1' },
      object: {
        ...{ uid: 'd', generation: 1, desired: {} },
        spec: {
          ...{ model: 'drive', nodeName: 'gw-1', poll: { every: '500ms' } },
          modbus: { tcp: { host: '127.0.0.1', port: Number(far.ready['port']) }, unit: 1 },
        },
      },
    },
  ]
  const file = join(folder.path, 'objects.json')
  writeFileSync(file, JSON.stringify(objects))
  const program = join(ROOT, 'agent/main.ts')
  await using agent = new Part('agent', program, () => [
    '--data',
    folder.path,
    '--gateway',
    'gw-1',
    '--objects',
    file,
    '--discover',
    'off',
  ])
  const { socket } = await step('starting the agent', SIGN_IN_MS, agent.start())
  const { url } = await requestJson<{ url: string }>(
    { kind: 'socket', path: String(socket) },
    { method: 'POST', path: '/v1/console', body: { port: 0 }, signal: AbortSignal.timeout(10_000) },
  )
  const page = await browser.newPage()
  await page.goto(url)
  await page.locator('main h1').waitFor({ timeout: SIGN_IN_MS })
  await openView(page, '#/device/default/drive-1', '.widget [role="switch"]')
  const sample: number[] = []
  const warmUp = Math.min(10, rounds / 4)
  for (let round = 0; round < rounds + warmUp; round++) {
    const written = far.next((message) => message['value'] !== undefined, 5_000)
    // The clock of the page and that of the machine differ by a constant, which is read at both ends.
    const offsetMs = performance.timeOrigin + performance.now() - machineMs()
    const clickedMs = await page.evaluate<number>(`(() => {
      const atMs = performance.timeOrigin + performance.now()
      document.querySelector('.widget [role="switch"]').click()
      return atMs
    })()`)
    const tookMs = Number((await written)['atMs']) - (clickedMs - offsetMs)
    if (round >= warmUp) sample.push(tookMs)
    await page.locator('.standing .badge.ok').waitFor()
    await pause(20 + (round % 10))
  }
  await page.close()
  return [
    told('click to bytes on the line, p50', percentile(sample, 0.5), 'ms'),
    within('click to bytes on the line, p99', percentile(sample, 0.99), 'ms', 40),
  ]
}
