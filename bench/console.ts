import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, CDPSession } from 'playwright-core'
import { requestJson } from '../api/client/http.ts'
import type { LinkObject } from '../api/link/messages.ts'
import { buildConsole } from '../console/build.ts'
import { startBrowser } from '../test/harness/browser.ts'
import { temporaryFolder } from '../test/harness/folder.ts'
import { Part } from '../test/harness/part.ts'
import { DEVICES, invitation, openView, startFleet, VIEWS } from './console/fleet.ts'
import { scrolled } from './console/scrolling.ts'
import { type FarSide, startFarSide } from './far-side/process.ts'
import { type BenchOptions, type Figure, machineMs, percentile, processorSeconds } from './harness.ts'
import type { RunningCloud } from './twin-path.ts'

const bench = 'console'
/** One device of each gateway every ten seconds, all of its values: as many changes a second as there are gateways. */
const CHANGES = { properties: 10, atOnce: 1, everyMs: 10_000 }
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
      ...(await clicks(browser, quick ? 60 : 300)),
      ...(await fleet(browser, quick ? 100 : 1000, quick ? 10 : 60)),
    ]
  } finally {
    await browser.close()
  }
}

async function fleet(browser: Browser, count: number, seconds: number): Promise<Figure[]> {
  await using live = await startFleet({ gateways: count, ...CHANGES, seconds: 3 * seconds + 300 })
  const { cloud } = live
  await pause(CHANGES.everyMs)
  const alone = await processorShare(cloud.pid, seconds)
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 860 } })
  const page = await context.newPage()
  const session = await context.newCDPSession(page)
  const figures = await firstPaint(browser, cloud, seconds < 60 ? 3 : 7)
  await page.goto(await invitation(cloud))
  await page.locator('.rows .row').first().waitFor()
  const of = (what: string) => `${count} gateways x ${DEVICES}: ${what}`
  const times = new Map<string, number[]>(Object.keys(VIEWS).map((name) => [name, []]))
  for (let round = 0; round < 8; round++) {
    for (const [name, [path, selector]] of Object.entries(VIEWS)) {
      times.get(name)!.push(await openView(page, path, selector))
      // The view before is not left standing while the next one is measured.
      await openView(page, '#/discovery', 'main h1')
    }
  }
  for (const [name, sample] of times)
    figures.push(within(of(`opening the view: ${name}, p90`), percentile(sample, 0.9), 'ms', 300))
  await openView(page, '#/devices', '.rows .c-values')
  const scrolling = await scrolled(browser, page, session)
  const wheel = (what: string) => of(`scrolled by wheel, ${what}`)
  figures.push(
    told(wheel('time of a frame as drawn without a graphics card, p50'), scrolling.frameP50Ms, 'ms'),
    told(wheel('time of a frame as drawn without a graphics card, p95'), scrolling.frameP95Ms, 'ms'),
    told(wheel('rows passed in four seconds'), scrolling.rows, 'rows'),
    told(wheel('frames that took more than one and a half of 60 a second'), scrolling.missed * 100, '%'),
    within(wheel('processor time of scripts, styles and layout a frame'), scrolling.oursMs, 'ms', 8),
    told(wheel('processor time of a task of the main thread, painting and all, p99'), scrolling.taskP99Ms, 'ms'),
  )
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
  await using far: FarSide = await startFarSide(new URL('./far-side/registers.ts', import.meta.url))
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
  const { socket } = await agent.start()
  const { url } = await requestJson<{ url: string }>(
    { kind: 'socket', path: String(socket) },
    { method: 'POST', path: '/v1/console', body: { port: 0 }, signal: AbortSignal.timeout(10_000) },
  )
  const page = await browser.newPage()
  await page.goto(url)
  await page.locator('main h1').waitFor()
  await openView(page, '#/device/default/drive-1', '.widget [role="switch"]')
  const sample: number[] = []
  for (let round = 0; round < rounds + 10; round++) {
    const written = far.next((message) => message['value'] !== undefined, 5_000)
    // The clock of the page and that of the machine differ by a constant, which is read at both ends.
    const offsetMs = performance.timeOrigin + performance.now() - machineMs()
    const clickedMs = await page.evaluate<number>(`(() => {
      const atMs = performance.timeOrigin + performance.now()
      document.querySelector('.widget [role="switch"]').click()
      return atMs
    })()`)
    const tookMs = Number((await written)['atMs']) - (clickedMs - offsetMs)
    if (round >= 10) sample.push(tookMs)
    await page.locator('.standing .badge.ok').waitFor()
    await pause(20 + (round % 10))
  }
  await page.close()
  return [
    told('click to bytes on the line, p50', percentile(sample, 0.5), 'ms'),
    within('click to bytes on the line, p99', percentile(sample, 0.99), 'ms', 40),
  ]
}
